"""BED: one interval per row, in file order, 0-based and half-open.

Columns are separated by tabs, or by blanks in a row without tabs. A row that cannot be split into
record, start and end is an error with its line; a row whose numbers do not form an interval is kept
with the reason, so that every row of the file has a row of output.

| column          | read as                                                                  |
|-----------------|--------------------------------------------------------------------------|
| 1 to 3          | record, start, end                                                       |
| 4 name          | the whole cell, blanks included; empty or `.`: none                      |
| 6 strand        | `+`, `-` or `.`; anything else is read as + and counted in a warning     |
| 5, or 4 of four | a strand if column 6 has none, and counted in a warning                  |
| 10 to 12 blocks | ignored: the whole interval is used, and counted in a warning            |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.text import REPLACEMENT, read_lines, require_text
from genomeformer_cli.core.proposals import count_noun

_NUMBER = re.compile(r"-?[0-9]{1,15}")
_HEADERS = ("track", "browser")
_MINUS = ("-", "\N{MINUS SIGN}", "\N{EN DASH}")
_STRANDS = ("+", *_MINUS)
_UNSTRANDED = ("", ".", "*")
_NUM_COLUMNS = 3
_BLOCK_COUNT = 9
_SHOWN = 40
_COLUMNS_HINT = "a row is record, start, end, and perhaps name, score, strand, separated by tabs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Interval of a record, 0-based and half-open.

    Raises:
        ValueError: The interval is empty or starts before the record.
    """

    record: str  # Id of the record.
    start: int  # First base.
    stop: int  # End (exclusive).
    reverse: bool = False  # True for the reverse strand.

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"invalid interval {self.start} to {self.stop} of `{self.record}`")


@dataclass(frozen=True, slots=True, kw_only=True)
class BedRow:
    """Row of a BED file."""

    line: int  # Line of the file.
    record: str  # First column.
    start: int  # Second column.
    stop: int  # Third column.
    name: str  # Fourth column; empty if absent.
    interval: Interval | None  # Interval; None if the numbers are invalid.
    sign: str = "."  # `+`, `-`, or `.` without a strand.
    problem: str = ""  # Reason for an invalid interval; empty if valid.
    remark: str = ""  # Deviation from the specification in the row; empty if none.

    @property
    def id(self) -> str:
        """Name of the row, or `record:start-stop`."""
        return self.name or f"{self.record}:{self.start}-{self.stop}"


def read_bed(path: Path, *, display_name: str | None = None) -> Iterator[BedRow]:
    """Yield every row of a BED file, in order.

    Args:
        path: BED file, plain or compressed.
        display_name: Name of the file in errors; the path by default.

    Raises:
        InputError: The file cannot be read, or a row is invalid.
    """
    for number, line in read_lines(path, display_name=display_name):
        if line.strip() and not line.lstrip().startswith("#") and not _is_header(line):
            yield _row(line, number, f"`{display_name or path}`, line {number}")


def is_bed(path: Path, *, display_name: str | None = None) -> bool:
    """Return True if the first row after comments and `track` lines is a row of a BED file.

    Raises:
        FormatError: The file cannot be read, or is not text.
    """
    for _, line in read_lines(path, display_name=display_name):
        if line.strip() and not line.lstrip().startswith("#") and not _is_header(line):
            return _has_numbers(_cells(line))
    return False


def remarks_of(rows: Sequence[BedRow], display_name: str) -> list[str]:
    """Return one sentence per deviation from the specification, with its number of rows."""
    counts = Counter(row.remark for row in rows if row.remark)
    return [
        f"`{display_name}`: {count_noun(number, 'row')} (the first in line "
        f"{next(row.line for row in rows if row.remark == remark)}): {remark}"
        for remark, number in counts.items()
    ]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _is_header(line: str) -> bool:
    """Return True for a `track` or `browser` line, False for a row on a record with such a name."""
    cells = _cells(line)
    first_word = cells[0].partition(" ")[0]
    return first_word in _HEADERS and not _has_numbers(cells)


def _has_numbers(cells: Sequence[str]) -> bool:
    return len(cells) >= _NUM_COLUMNS and all(map(_NUMBER.fullmatch, cells[1:3]))


def _row(line: str, number: int, where: str) -> BedRow:
    cells = _cells(line)
    if len(cells) < _NUM_COLUMNS or not cells[0]:
        raise InputError(f"{where}: not a BED row, {_misshape(line, cells)}", hint=_COLUMNS_HINT)
    for name, cell in (("start", cells[1]), ("end", cells[2])):
        if not _NUMBER.fullmatch(cell):
            raise InputError(
                f"{where}: not a BED row, the {name} `{cell[:_SHOWN]}` is not a whole number",
                hint=f"{_COLUMNS_HINT}; begin a line of column names with `#`"
                if number == 1
                else "write digits alone, without commas, points or exponents",
            )
    require_text(cells[0], f"{where}, column 1")
    start, stop = int(cells[1]), int(cells[2])
    sign, name, remark = _strand(cells)
    problem = _problem(start, stop)
    return BedRow(
        line=number,
        record=cells[0],
        start=start,
        stop=stop,
        name=name,
        interval=None
        if problem
        else Interval(record=cells[0], start=start, stop=stop, reverse=sign == "-"),
        sign=sign,
        problem=problem,
        remark=remark or _blocks(cells) or _decoding_remark(name),
    )


def _misshape(line: str, cells: list[str]) -> str:
    if len(cells) >= _NUM_COLUMNS:
        return "the record is empty"
    if "\t" in line and len(line.split()) >= _NUM_COLUMNS:
        return "tabs and blanks mixed"
    return f"{len(cells)} of 3 columns"


def _problem(start: int, stop: int) -> str:
    if start < 0:
        return f"invalid interval: the start {start} is negative"
    if start == stop:
        return f"empty interval: start and end are both {start}"
    if start > stop:
        return f"invalid interval: the start {start} is after the end {stop}"
    return ""


def _strand(cells: list[str]) -> tuple[str, str, str]:
    """Return `+`, `-` or `.`, the name, and a remark on an unusual strand."""
    cells = [*cells, "", "", ""]
    name, score, strand = cells[3:6]
    name = "" if name == "." else name
    if strand in _STRANDS:
        return _sign(strand), name, ""
    if score in _STRANDS:
        if strand == ".":
            return ".", name, "strand in column 5, but `.` in column 6: read as +"
        return _sign(score), name, "strand taken from column 5, the column of scores"
    if name in _STRANDS and not score and not strand:
        return _sign(name), "", "strand taken from column 4, the column of names"
    if strand not in _UNSTRANDED:
        return ".", name, "column 6 is neither `+`, `-` nor `.`: read as +"
    return ".", name, ""


def _sign(strand: str) -> str:
    return "-" if strand in _MINUS else "+"


def _blocks(cells: list[str]) -> str:
    counts = cells[_BLOCK_COUNT : _BLOCK_COUNT + 1]
    has_blocks = len(cells) > _BLOCK_COUNT + 2 and counts[0].isdecimal() and counts[0] not in "01"
    return "blocks (BED12): the whole interval is taken, not its blocks" if has_blocks else ""


def _decoding_remark(name: str) -> str:
    return f"the name is not UTF-8: read with `{REPLACEMENT}`" if REPLACEMENT in name else ""
