"""Labelled sequences: a text or parquet table, a table with a FASTA file, or FASTA with labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats.bed import is_bed
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.parquet import is_parquet, parquet_table
from genomeformer_cli.core.formats.tables import TableRow, TextTable, read_table
from genomeformer_cli.core.formats.text import STDIN, local_copy, read_lines, require_text
from genomeformer_cli.core.formats.vcf import is_vcf
from genomeformer_cli.core.proposals import count_noun

SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
COLUMN = "\t"
SEQUENCE = "sequence"
_MISSING_SEQUENCE = frozenset({"", "nan", "<na>", "na", "n/a", "#n/a", "null", "none", "-", "."})
EMPTY_ROWS = "empty rows"
_LABEL = re.compile(r"(?:^|[\s;|])label=(\S+)")
FASTA_SUFFIXES = (".fa", ".fasta", ".fna", ".fas", ".fq", ".fastq")
_PACKINGS = ("", ".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True, slots=True)
class Example:
    """Labelled sequence."""

    id: str  # Name.
    sequence: str  # Letters; empty if the file has none.
    label: str  # Class or value; empty if the file has none; cells of columns joined by tabs.
    split: str = ""  # `train`, `val` or `test`; empty if undefined.
    group: str = ""  # Group of related rows, which a split never separates; empty without groups.
    row: int = 0  # Number of the row or record in the file, from 1.
    problem: str = ""  # Reason for an absent sequence, if known.


@dataclass(frozen=True, kw_only=True)
class RowCount:
    """Counts of rows: read, used, and left out by reason."""

    read: int  # Number of rows in the file.
    used: int  # Number of rows used.
    left_out: Mapping[str, int] = field(default_factory=dict)  # Number of other rows, by reason.

    def __post_init__(self) -> None:
        assert self.read == self.used + sum(self.left_out.values()), "a row is not accounted for"

    def without(self, reason: str, number: int) -> RowCount:
        """Return the counts after leaving out used rows."""
        if not number:
            return self
        left_out = {**self.left_out, reason: self.left_out.get(reason, 0) + number}
        return RowCount(read=self.read, used=self.used - number, left_out=left_out)

    def plus(self, addend: RowCount) -> RowCount:
        """Return the sum of two counts."""
        reasons = dict.fromkeys([*self.left_out, *addend.left_out])
        return RowCount(
            read=self.read + addend.read,
            used=self.used + addend.used,
            left_out={
                reason: self.left_out.get(reason, 0) + addend.left_out.get(reason, 0)
                for reason in reasons
            },
        )

    def sentence(self, noun: str = "row") -> str:
        """Return the counts of a noun as text."""
        reasons = "; ".join(f"{number:,} {reason}" for reason, number in self.left_out.items())
        text = f"{count_noun(self.read, noun)} read, {self.used:,} used"
        return f"{text}, {self.read - self.used:,} left out ({reasons})" if reasons else text


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Columns of a table to read."""

    labels: tuple[str, ...] = ("label",)  # Columns of the labels.
    # Column of the sequences; by default `sequence`, or a FASTA file beside the table.
    sequence: str | None = None
    group: str | None = None  # Column of the groups; by default `group`, if present.


@dataclass(frozen=True, kw_only=True)
class LabelledFile:
    """Labelled sequences of one or several files."""

    examples: tuple[Example, ...]  # Non-empty rows, in file order.
    count: RowCount  # Counts of rows.
    notes: tuple[str, ...] = ()  # Interpretations that the user should check.


def read_labelled(
    path: Path, columns: LabelColumns | None = None, *, split: str = ""
) -> LabelledFile:
    """Read the labelled sequences of a file; `-` is standard input.

    Args:
        path: Table or FASTA, plain or compressed, or parquet, detected by content.
        columns: Columns of a table.
        split: Split of rows without one.

    Raises:
        FormatError: The file has no labelled sequences.
        MissingExtraError: The file is parquet or zstd, and the package that reads it is missing.
        FastaError: The file is damaged FASTA.
    """
    columns = columns or LabelColumns()
    with local_copy(str(path), command="finetune -") as (place, display_name):
        if is_parquet(place):
            table = parquet_table(place, display_name)
            return _of_table(table, columns, split, None if str(path) == STDIN else path)
        if is_fasta(place, display_name):
            examples = tuple(_of_fasta(place, display_name, split))
            return LabelledFile(
                examples=examples, count=RowCount(read=len(examples), used=len(examples))
            )
        if is_vcf(place, display_name=display_name):
            raise FormatError(
                f"`{display_name}` is VCF, and has no labelled sequences",
                hint="labelled variants are ranked by `genomeformer evaluate --variants`",
            )
        table = read_table(place, display_name=display_name)
        has_sequences = table.find(columns.sequence or SEQUENCE) is not None
        if not has_sequences and is_bed(place, display_name=display_name):
            raise FormatError(
                f"`{display_name}` is BED, and has no sequences",
                hint="name the genome of the regions with `--genome`",
            )
        return _of_table(table, columns, split, None if str(path) == STDIN else path)


def label_table(table: TextTable, columns: LabelColumns, *, split: str = "") -> LabelledFile:
    """Read the labelled sequences of a table in memory.

    Raises:
        FormatError: A column is missing, or a row is too short.
    """
    return _of_table(table, columns, split, None)


def is_fasta(path: Path, display_name: str) -> bool:
    """Return True for FASTA or FASTQ, by the first line that is not a `;` comment.

    Raises:
        FormatError: The file cannot be read, or is not text.
    """
    for line in read_lines(path, display_name=display_name):
        text = line.text.strip()
        if text and not text.startswith(";"):
            return text[0] in (">", "@")
    return False


def is_missing_sequence(cell: str) -> bool:
    """Return True for a cell without a sequence; `nan` would otherwise be read as N, A, N."""
    return cell.lower() in _MISSING_SEQUENCE


def task_name(path: Path) -> str:
    """Return the task name of a file."""
    return "stdin" if str(path) == STDIN else path.name.partition(".")[0] or path.name


def _of_table(
    table: TextTable, columns: LabelColumns, split: str, path: Path | None
) -> LabelledFile:
    labels = [
        table.index(name, "`--target` or `--label` name the label") for name in columns.labels
    ]
    groups = table.find("group")
    if columns.group is not None:
        groups = table.index(columns.group, "`--group` names the groups")
    places = {"id": table.find("id"), "split": table.find("split"), "group": groups}
    sequences = _sequences(table, columns.sequence, path)
    used = [place for place in (*labels, sequences.place) if place is not None]
    if len(set(used)) < len(used):
        raise FormatError(
            f"`{table.display_name}`: one column is named twice, as label or sequence",
            hint="upper and lower case are alike; give each label a column of its own",
        )
    examples = []
    for row in table.rows:
        cells = {
            name: "" if place is None or place >= len(row.cells) else table.cell(row, place)
            for name, place in places.items()
        }
        label = COLUMN.join(" ".join(table.cell(row, place).split()) for place in labels)
        examples.append(
            Example(
                cells["id"] or str(row.number),
                sequences.of(row, cells["id"]),
                label,
                _split(cells["split"], table.where(row)) or split,
                cells["group"],
                row.number,
            )
        )
    return LabelledFile(
        examples=tuple(examples),
        count=RowCount(read=table.num_rows, used=table.num_rows).without(
            EMPTY_ROWS, table.num_empty
        ),
        notes=(*sequences.notes(examples), *_group_notes(table, examples)),
    )


def _group_notes(table: TextTable, examples: Sequence[Example]) -> Iterator[str]:
    """Report rows without a group in a table whose other rows have one."""
    empty = sum(not example.group for example in examples)
    if 0 < empty < len(examples):
        yield f"`{table.display_name}`: {empty:,} rows have no group: each is a group of its own"


@dataclass(frozen=True, kw_only=True)
class _Sequences:
    """Sequences of the rows: a column of the table, or the records of a FASTA file."""

    table: TextTable
    place: int | None = None
    fasta: Path | None = None
    records: Mapping[str, str] = field(default_factory=dict)

    def of(self, row: TableRow, identifier: str) -> str:
        if self.place is not None:
            return self.table.cell(row, self.place)
        if identifier not in self.records:
            raise FormatError(
                f"{self.table.where(row)}: `{self.fasta}` has no record `{identifier}`",
                hint="the ids of the table and of its FASTA file must be the same",
            )
        return self.records[identifier]

    def notes(self, examples: Sequence[Example]) -> Iterator[str]:
        if self.fasta is None:
            return
        yield f"`{self.table.display_name}` has no column `sequence`: sequences are from "
        f"`{self.fasta}`"
        unused = len(self.records) - len({example.id for example in examples})
        if unused:
            yield f"{unused:,} records of `{self.fasta}` have no row in the table"


def _sequences(table: TextTable, name: str | None, path: Path | None) -> _Sequences:
    if name is not None:
        place = table.index(name, "`--sequence-column` names the sequence")
        return _Sequences(table=table, place=place)
    index = table.find(SEQUENCE)
    if index is not None:
        return _Sequences(table=table, place=index)
    fasta = None if path is None else _fasta_beside(path)
    if fasta is None:
        table_stem = task_name(path) if path is not None else ""
        try:
            table.index(SEQUENCE, "`--sequence-column` names the sequence")
        except FormatError as failure:
            if not table_stem or "header" in failure.message:
                raise
            raise FormatError(
                f"{failure.message}, and there is no `{table_stem}.fa` beside it", hint=failure.hint
            ) from None
    assert fasta is not None
    table.index("id", "it names the record of a row in the FASTA file")
    records: dict[str, str] = {}
    for record in read_records(fasta):
        if record.id in records:
            raise FormatError(
                f"`{fasta}` has two records `{record.id}`",
                hint="each row needs a record of its own",
            )
        records[record.id] = record.sequence
    return _Sequences(table=table, fasta=fasta, records=records)


def _fasta_beside(path: Path) -> Path | None:
    names = (
        task_name(path) + suffix + packing for suffix in FASTA_SUFFIXES for packing in _PACKINGS
    )
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def _split(name: str, where: str) -> str:
    if name and name.lower() not in SPLIT_NAMES:
        raise FormatError(f"{where} has a split `{name}`", hint="known: train, val (or dev), test")
    return SPLIT_NAMES[name.lower()] if name else ""


def _of_fasta(path: Path, display_name: str, split: str) -> Iterator[Example]:
    labelled = False
    for number, record in enumerate(read_records(path, display_name=display_name), start=1):
        header = f"{record.id} {record.description}".strip()
        where = f"`{display_name}`: record `{record.id}`"
        match = _LABEL.search(header)
        label = match.group(1) if match else header.rpartition("|")[2] if "|" in header else ""
        label = require_text(label.strip(), where)
        labelled = labelled or bool(label)
        yield Example(record.id, record.sequence, label, split, "", number)
    if not labelled:
        raise FormatError(
            f"`{display_name}`: no header has a label",
            hint="write `label=CLASS` into each header, or end it in `|CLASS`",
        )
