"""Embeddings as a picture: points on a plane, coloured by a column of a table."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.errors import InputError, MissingExtraError, UsageError
from genomeformer_cli.core.store.atomic import atomic_file, write_text
from genomeformer_cli.render.plots import can_plot

if TYPE_CHECKING:
    from genomeformer_cli.core.embedding.projection import Plane

_PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee9944", "#774488",
)  # fmt: skip
_OTHERS = "#999999"
_PICTURES = (".png", ".svg", ".pdf")
_SIDE, _MARGIN = 640, 40


@dataclass(frozen=True)
class Colors:
    """What each id is.

    Attributes:
        title: Name of the column.
        values: By id.
    """

    title: str
    values: dict[str, str]


def check_plot(path: Path | None, color_by: str | None) -> None:
    """Refuse a picture that cannot be drawn.

    Raises:
        UsageError: Of that name there is no kind of picture.
        MissingExtraError: matplotlib is not installed.
    """
    if path is None:
        if color_by:
            raise UsageError("colours without a picture", hint="add `--plot FILE.png`")
        return
    kind = path.suffix.lower()
    if kind not in (*_PICTURES, ".html"):
        raise UsageError(
            f"`{path}` is no kind of picture we draw",
            hint="end it with `.png`, `.svg`, `.pdf` or `.html`",
        )
    if kind in _PICTURES and not can_plot():
        raise MissingExtraError(
            f"`{kind}` pictures need matplotlib",
            hint="`pip install 'genomeformer[plots]'`, or draw `.html`",
        )


def read_colors(color_by: str | None) -> Colors | None:
    """The column `TSV[:COLUMN]`.

    Raises:
        InputError: The table cannot be read, or has no such column.
    """
    if color_by is None:
        return None
    name, _, column = color_by.rpartition(":") if ":" in color_by else (color_by, "", "")
    if not Path(name).is_file() and Path(color_by).is_file():
        name, column = color_by, ""
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise InputError(f"`{name}` cannot be read: {failure}", hint="check the path") from failure
    names = lines[0].split("\t") if lines else []
    column = column or (names[1] if len(names) > 1 else "")
    if column not in names[1:]:
        known = ", ".join(f"`{one}`" for one in names[1:]) or "none"
        raise InputError(f"`{name}` has no column `{column}`", hint=f"it has {known}")
    place = names.index(column)
    rows = (line.split("\t") for line in lines[1:])
    return Colors(column, {row[0]: row[place] for row in rows if len(row) > place})


def draw_plane(plane: Plane, ids: Sequence[str], path: Path, colors: Colors | None) -> None:
    """Draw the points; ids that the table lacks are grey.

    Raises:
        StoreError: The system refused the write.
    """
    groups = _groups(ids, colors)
    if path.suffix.lower() == ".html":
        write_text(path, _page(plane, ids, groups, colors.title if colors else ""))
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    size = max(2.0, min(24.0, 6000 / max(len(ids), 1)))
    for label, color, rows in groups:
        points = plane.points[rows]
        look: dict[str, Any] = {"color": color, "alpha": 0.75, "linewidths": 0, "label": label}
        axes.scatter(points[:, 0], points[:, 1], s=size, **look)
    axes.set(xlabel=plane.axes[0], ylabel=plane.axes[1])
    if colors:
        axes.legend(title=colors.title, frameon=False, fontsize=8)
    with atomic_file(path) as file:
        metadata = {"Software": None} if path.suffix.lower() == ".png" else None
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=150, metadata=metadata)
    plt.close(figure)


def _groups(ids: Sequence[str], colors: Colors | None) -> list[tuple[str, str, list[int]]]:
    """Label, colour and rows: the commonest values first, the rest together."""
    values = [colors.values.get(one, "") if colors else "" for one in ids]
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    named = sorted((value for value in rows if value), key=lambda one: (-len(rows[one]), one))
    shown, rest = named[: len(_PALETTE)], named[len(_PALETTE) :]
    groups = [(value, color, rows[value]) for value, color in zip(shown, _PALETTE, strict=False)]
    others = [row for value in (*rest, "") for row in rows.get(value, ())]
    if others:
        color = _OTHERS if colors else _PALETTE[0]
        groups.append(("others" if rest else "no value", color, sorted(others)))
    return groups


def _page(
    plane: Plane, ids: Sequence[str], groups: list[tuple[str, str, list[int]]], title: str
) -> str:
    """One page that needs nothing else: an SVG with the id under the pointer."""
    low, high = _bounds(plane)
    scale = [(_SIDE - 2 * _MARGIN) / ((high[k] - low[k]) or 1.0) for k in (0, 1)]
    marks, legend = [], []
    for number, (label, color, rows) in enumerate(groups):
        for row in rows:
            x, y = (float(value) for value in plane.points[row])
            if x != x:  # NaN: there is no vector
                continue
            at_x = _MARGIN + (x - low[0]) * scale[0]
            at_y = _SIDE - _MARGIN - (y - low[1]) * scale[1]
            shown = html.escape(ids[row] + (f" ({label})" if title else ""))
            marks.append(
                f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4" fill="{color}" '
                f'fill-opacity=".75"><title>{shown}</title></circle>'
            )
        if title:
            legend.append(
                f'<text x="{_SIDE}" y="{_MARGIN + 18 * (number + 1)}" fill="{color}">'
                f"{html.escape(label)}</text>"
            )
    x_axis, y_axis = (html.escape(axis) for axis in plane.axes)
    return (
        '<!doctype html>\n<meta charset="utf-8">\n<title>embeddings</title>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIDE + 200} {_SIDE}" '
        'font-family="sans-serif" font-size="13">\n'
        f'<text x="{_SIDE // 2}" y="{_SIDE - 8}" text-anchor="middle">{x_axis}</text>\n'
        f'<text x="14" y="{_SIDE // 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {_SIDE // 2})">{y_axis}</text>\n'
        f'<text x="{_SIDE}" y="{_MARGIN}" font-weight="bold">{html.escape(title)}</text>\n'
        + "\n".join([*legend, *marks])
        + "\n</svg>\n"
    )


def _bounds(plane: Plane) -> tuple[list[float], list[float]]:
    import numpy as np

    low, high = np.nanmin(plane.points, axis=0), np.nanmax(plane.points, axis=0)
    return low.tolist(), high.tolist()
