"""Colours of classes, distinct for colour-blind readers and in brightness."""

from __future__ import annotations

PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee9944", "#774488",
)  # fmt: skip


def class_color(index: int) -> str:
    """Return the hexadecimal colour of a class by its number; colours repeat after eight."""
    return PALETTE[index % len(PALETTE)]


def rgb_text(color: str) -> str:
    """Return a hexadecimal colour as the three decimal numbers of a BED file."""
    return ",".join(str(int(color[place : place + 2], 16)) for place in (1, 3, 5))
