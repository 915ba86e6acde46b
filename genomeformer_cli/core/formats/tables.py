"""Text tables separated by tabs, commas or semicolons, with a header, one row per line.

Tab-separated tables have no quoting, as in `cut` and `awk`. Comma- and semicolon-separated cells
may be quoted; a quoted cell ends on its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats.text import Line, read_lines, require_text

_SEPARATORS = ("\t", ",", ";")
_SEPARATOR_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon"}
_DECLARED = re.compile(r"sep=([\t,;])", re.IGNORECASE)
_LOOKS_LIKE_BASES = re.compile(r"[ACGTUN]{5,}", re.IGNORECASE)
_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class TableRow:
    """Row of a table."""

    number: int  # Number of the row, from 1.
    line: int  # Line number in the file; 0: the file has no lines.
    cells: tuple[str, ...]  # Cells without surrounding blanks.


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Table."""

    display_name: str  # Name in messages.
    separator: str  # Character between cells; empty: the file has none.
    columns: tuple[str, ...]  # Column names as written.
    rows: tuple[TableRow, ...]  # Non-empty rows.
    num_empty: int  # Number of rows with only empty cells, which are left out.

    @property
    def num_rows(self) -> int:
        """Number of rows in the file."""
        return len(self.rows) + self.num_empty

    def where(self, row: TableRow) -> str:
        """Return file, row and line for a message."""
        line = f" (line {row.line})" if row.line else ""
        return f"`{self.display_name}`, row {row.number}{line}"

    def index(self, name: str, role: str = "") -> int:
        """Return the index of a column, case-insensitive.

        Args:
            name: Name of the column.
            role: Purpose of the column and its option, for the hint.

        Raises:
            FormatError: The column is absent or not unique.
        """
        position = self.find(name)
        if position is not None:
            return position
        if any(_LOOKS_LIKE_BASES.fullmatch(cell) for cell in self.columns):
            raise FormatError(
                f"`{self.display_name}` has no header: its first line holds a sequence",
                hint="add a first line with the names of the columns, such as "
                f"`sequence{self.separator if self.separator != chr(9) else '<tab>'}label`",
            )
        names = [name for name in self.columns if name]
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        listing = ", ".join(f"`{name[:60]}`" for name in names[:_MAX_NAMED])
        if self.separator == "\t" and any(cell.strip('"') == name.strip() for cell in names):
            raise FormatError(
                f"`{self.display_name}` has no column `{name}`, but a quoted one",
                hint="tab-separated cells are not quoted: write commas, or no quotes, as R's "
                "`write.table(quote = FALSE)` does",
            )
        separator = _SEPARATOR_NAMES.get(self.separator)
        raise FormatError(
            f"`{self.display_name}` has no column `{name}`",
            hint=(f"read as {separator}-separated, its" if separator else "its")
            + f" columns are {listing or '(without names)'}{more}"
            + (f"; {role}" if role else ""),
        )

    def find(self, name: str) -> int | None:
        """Return the index of a column, or None.

        Raises:
            FormatError: The column is not unique.
        """
        stripped = name.strip()
        exact = [place for place, column in enumerate(self.columns) if column == stripped]
        exact = exact or [
            place
            for place, column in enumerate(self.columns)
            if column.casefold() == stripped.casefold()
        ]
        if len(exact) > 1:
            raise FormatError(
                f"`{self.display_name}` has {len(exact)} columns `{stripped}`",
                hint="rename or remove all but one of them",
            )
        return exact[0] if exact else None

    def cell(self, row: TableRow, place: int) -> str:
        """Return a required cell.

        Raises:
            FormatError: The row is too short, or the cell is not UTF-8.
        """
        where = f"{self.where(row)}, column `{self.columns[place]}`"
        if place >= len(row.cells):
            raise FormatError(
                f"{where}: the row has only {len(row.cells)} of {len(self.columns)} cells",
                hint="every row needs this cell; the table may be cut off",
            )
        return require_text(row.cells[place], where)


def read_table(path: Path, *, display_name: str | None = None) -> TextTable:
    """Read a table.

    Args:
        path: Tab-, comma- or semicolon-separated text, plain or compressed.
        display_name: Name in messages; the path by default.

    Raises:
        FormatError: The file is unreadable, empty, not text, or has an invalid row.
    """
    name = display_name or str(path)
    lines = read_lines(path, display_name=name)
    separator, columns = _header(lines, name)
    rows: list[TableRow] = []
    num_rows = 0
    for line in lines:
        if not line.text.strip(" "):
            continue
        num_rows += 1
        where = f"`{name}`, row {num_rows} (line {line.number})"
        cells = tuple(_cells(line, separator, where))
        if any(cells[len(columns) :]):
            raise _too_many(where, columns, cells)
        if any(cells):
            rows.append(TableRow(num_rows, line.number, cells))
    return TextTable(
        display_name=name,
        separator=separator,
        columns=columns,
        rows=tuple(rows),
        num_empty=num_rows - len(rows),
    )


def has_column(path: Path, column: str, *, display_name: str | None = None) -> bool:
    """Return True for a table with a column of that name, case-insensitive.

    Raises:
        FormatError: The file is unreadable or not text.
    """
    name = display_name or str(path)
    lines = read_lines(path, display_name=name)
    header = next((line for line in lines if line.text.strip()), None)
    if header is None:
        return False
    try:
        _, columns = _header(chain([header], lines), name)
    except FormatError:
        return False
    return column.casefold() in (column_name.casefold() for column_name in columns)


def _header(lines: Iterator[Line], name: str) -> tuple[str, tuple[str, ...]]:
    """Consume the lines up to the header; return the separator and the column names."""
    header = next((line for line in lines if line.text.strip()), None)
    declared = _DECLARED.fullmatch(header.text.strip(" ")) if header is not None else None
    if declared is not None:
        header = next((line for line in lines if line.text.strip()), None)
    if header is None:
        raise FormatError(
            f"`{name}` is empty", hint="a table has a header such as `sequence,label`, then rows"
        )
    separator = declared.group(1) if declared else _separator(header.text)
    return separator, tuple(_cells(header, separator, f"`{name}`, header"))


def _separator(header: str) -> str:
    """Return the first of tab, comma and semicolon in the header; tab if none."""
    return next((separator for separator in _SEPARATORS if separator in header), "\t")


def _too_many(where: str, columns: Sequence[str], cells: Sequence[str]) -> FormatError:
    explanation = (
        "row names have no name in the header, as R writes them: `write.table(col.names = NA)`"
    )
    hint = "quote cells that hold the separator, or use tabs"
    return FormatError(
        f"{where} has {len(cells)} cells, the header {len(columns)}",
        hint=f"{hint}; or {explanation}" if len(cells) == len(columns) + 1 else hint,
    )


def _cells(line: Line, separator: str, where: str) -> Iterator[str]:
    text = line.text
    if separator == "\t" or '"' not in text:
        yield from (cell.strip() for cell in text.split(separator))
        return
    place = 0
    while True:
        start = place + len(text[place:]) - len(text[place:].lstrip(" "))
        if text[start : start + 1] != '"':
            end = text.find(separator, place)
            yield text[place : end if end >= 0 else None].strip()
        else:
            cell, end = _read_quoted(text, start + 1, separator, where)
            yield cell.strip()
        if end < 0:
            return
        place = end + 1


def _read_quoted(text: str, start: int, separator: str, where: str) -> tuple[str, int]:
    """Return the cell after an opening quote, and the position of the separator (-1 at the end)."""
    place = start
    while True:
        close = text.find('"', place)
        if close < 0:
            raise FormatError(
                f"{where}: a quote mark is not closed on its line",
                hint="a cell holds one line of text; write a quote mark within quotes twice, or "
                "separate by tabs, where it is a letter",
            )
        if text[close + 1 : close + 2] != '"':
            break
        place = close + 2
    after = text[close + 1 :].lstrip(" ")
    if after and not after.startswith(separator):
        raise FormatError(
            f"{where}: text after a closing quote mark: `{after[:20]}`",
            hint="quote the whole cell, and write a quote mark within it twice",
        )
    end = len(text) - len(after) if after else -1
    return text[start:close].replace('""', '"'), end
