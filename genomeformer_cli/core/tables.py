"""A table of text, written once and rendered as Markdown, HTML or terminal output."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from genomeformer_cli.core.escaping import markdown


@dataclass(frozen=True, kw_only=True)
class Table:
    """Table of text; every cell is unescaped."""

    headings: tuple[str, ...]  # Headings of the columns; the first column is left-aligned.
    rows: tuple[tuple[str, ...], ...]  # Cells, one tuple per row.
    title: str = ""
    notes: tuple[str, ...] = ()  # Sentences below the table.

    def __post_init__(self) -> None:
        """Refuse other values than text, which a JSON file from outside may hold.

        Raises:
            TypeError: A cell is not text.
        """
        for cell in (self.title, *self.headings, *self.notes, *itertools.chain(*self.rows)):
            if not isinstance(cell, str):
                raise TypeError(f"not text: {cell!r}")


def markdown_table(table: Table) -> str:
    """Return headings and rows as a Markdown table with escaped cells."""
    lines = [
        table.headings,
        ("---",) * len(table.headings),
        *(tuple(map(markdown, row)) for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
