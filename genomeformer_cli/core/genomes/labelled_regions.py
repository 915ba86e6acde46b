"""Labelled regions of a genome: a table with coordinates, or BED whose names are the labels.

Columns of a table are `chrom`, `start`, `end` (0-based, half-open) and, if given, `strand`, beside
those of every labelled table. A row without bases in the genome has no sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats.bed import Interval, is_bed, read_bed, remarks_of
from genomeformer_cli.core.formats.labelled import (
    SEQUENCE,
    LabelColumns,
    LabelledFile,
    is_fasta,
    label_table,
    read_labelled,
)
from genomeformer_cli.core.formats.parquet import is_parquet, parquet_table
from genomeformer_cli.core.formats.tables import TableRow, TextTable, read_table
from genomeformer_cli.core.formats.text import NamedFile, local_copy
from genomeformer_cli.core.genomes.regions import (
    RegionRow,
    bed_regions,
    reasons,
    region_queries,
)
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.sequence import decode_bases

_RECORD_COLUMNS = ("chrom", "chromosome", "chr", "record", "seqid")
_STOP_COLUMNS = ("end", "stop")
_FORWARD = frozenset(("+", "1", "1.0", "+1", "", ".", "*", "0", "na", "nan", "none", "?"))
_REVERSE = frozenset(("-", "-1", "-1.0", "\N{MINUS SIGN}", "\N{EN DASH}"))


def read_labelled_regions(path: Path, columns: LabelColumns, genome: NamedFile) -> LabelledFile:
    """Read labelled regions, with their bases; sequences of a file that has them are read instead.

    Args:
        path: Table or BED file of any compression, or parquet; `-` is standard input.
        columns: Columns of a table; of BED, the name is the label.
        genome: FASTA file.

    Raises:
        FormatError: The file has no labelled regions, or a coordinate is invalid.
        InputError: All regions are on records that the genome does not have.
        MissingExtraError: The file is parquet or zstd, and the package that reads it is missing.
    """
    with local_copy(str(path), command="finetune - --genome FASTA") as (place, display_name):
        if not is_parquet(place) and is_fasta(place, display_name):
            return _with_own_sequences(read_labelled(place, columns), display_name)
        table = _read_table(place, display_name, columns)
        remarks: list[str] = []
        if table is None:
            table, regions, remarks = _bed_table(place, display_name)
        elif columns.sequence is not None or table.find(SEQUENCE) is not None:
            return _with_own_sequences(label_table(table, columns), display_name)
        else:
            regions = _regions(table)
        queries = region_queries(
            regions, genome.path, source=display_name, display_name=genome.display_name
        )
        file = label_table(
            _with_columns(table, regions, [decode_bases(query.codes) for query in queries]), columns
        )
        problems = [query.problem for query in queries]
        notes = [*file.notes, *remarks]
        if any(problems):
            absent = [problem for problem in problems if problem]
            text = f"{count_noun(len(absent), 'row')} without bases in the genome"
            notes.append(f"`{display_name}`: {text} ({reasons(absent)})")
        examples = tuple(
            replace(example, problem=problem)
            for example, problem in zip(file.examples, problems, strict=True)
        )
        return replace(file, examples=examples, notes=tuple(notes))


def _with_own_sequences(file: LabelledFile, name: str) -> LabelledFile:
    note = f"`{name}` has sequences, so that nothing is read from the genome for it"
    return replace(file, notes=(*file.notes, note))


def _find(table: TextTable, names: Sequence[str]) -> int | None:
    return next((place for name in names if (place := table.find(name)) is not None), None)


def _read_table(path: Path, display_name: str, columns: LabelColumns) -> TextTable | None:
    """Read a table; None for BED, as it is without a header that names the labels.

    The header may begin with `#`, as that of tables made of BED files does.
    """
    if is_parquet(path):
        return parquet_table(path, display_name)
    may_be_bed = is_bed(path, display_name=display_name)
    try:
        table = read_table(path, display_name=display_name)
    except FormatError:
        if may_be_bed:
            return None
        raise
    names = (table.columns[0].removeprefix("#").strip(), *table.columns[1:])
    table = replace(table, columns=names)
    has_header = _find(table, _RECORD_COLUMNS) is not None and table.find("start") is not None
    has_labels = all(table.find(name) is not None for name in columns.labels)
    return None if may_be_bed and not (has_header and has_labels) else table


def _bed_table(path: Path, display_name: str) -> tuple[TextTable, list[RegionRow], list[str]]:
    """Return the labels, the regions, and the remarks on the rows."""
    rows = list(read_bed(path, display_name=display_name))
    if not any(row.name for row in rows):
        raise FormatError(
            f"`{display_name}` is BED without labels: no row has a name, the fourth column",
            hint="write the label as the name (`+` and `-` there are read as strands), or begin "
            "with a line of column names: `chrom`, `start`, `end`, `label`",
        )
    cells = [(row.name,) for row in rows]
    regions = [
        replace(region, id=f"{row.record}:{row.start}-{row.stop}")
        for row, region in zip(rows, bed_regions(rows), strict=True)
    ]
    table = TextTable(
        display_name=display_name,
        separator="\t",
        columns=("label",),
        rows=tuple(
            TableRow(number, row.line, cell)
            for number, (row, cell) in enumerate(zip(rows, cells, strict=True), start=1)
        ),
        num_empty=0,
    )
    return table, regions, remarks_of(rows, display_name)


def _regions(table: TextTable) -> list[RegionRow]:
    record = _find(table, _RECORD_COLUMNS)
    stop = _find(table, _STOP_COLUMNS)
    if record is None or stop is None:
        absent = _RECORD_COLUMNS[0] if record is None else _STOP_COLUMNS[0]
        table.index(absent, "`chrom`, `start`, `end` name the bases of a row in the genome")
    assert record is not None
    assert stop is not None
    start, strand = table.index("start"), table.find("strand")
    regions = []
    for row in table.rows:
        name, first, last = (table.cell(row, place) for place in (record, start, stop))
        sign = "" if strand is None or strand >= len(row.cells) else table.cell(row, strand)
        regions.append(make_region(name, first, last, sign, where=table.where(row)))
    return regions


def make_region(record: str, start: str, stop: str, strand: str, *, where: str) -> RegionRow:
    """Return the region that the cells of a row name.

    Raises:
        FormatError: A coordinate is not a number, or the strand is unknown.
    """
    if not (start.isdecimal() and stop.isdecimal()):
        raise FormatError(
            f"{where}: `{start}` and `{stop}` are not positions",
            hint="`start` and `end` are whole numbers, 0-based and half-open",
        )
    sign = strand.casefold()
    if sign not in _FORWARD and sign not in _REVERSE:
        raise FormatError(
            f"{where}: `{strand}` is not a strand",
            hint="write `+`, `-`, or `.` for an unknown strand, which is read as `+`",
        )
    name = f"{record}:{start}-{stop}"
    if int(start) >= int(stop):
        return RegionRow(id=name, record=record, problem="empty interval")
    interval = Interval(record=record, start=int(start), stop=int(stop), reverse=sign in _REVERSE)
    return RegionRow(id=name, record=record, interval=interval)


def _with_columns(
    table: TextTable, regions: Sequence[RegionRow], sequences: Sequence[str]
) -> TextTable:
    """Return a table with a column of sequences, and of ids if it has none, before the others."""
    names = (SEQUENCE,) if table.find("id") is not None else (SEQUENCE, "id")
    rows = [
        TableRow(row.number, row.line, (*(sequence, region.id)[: len(names)], *row.cells))
        for row, region, sequence in zip(table.rows, regions, sequences, strict=True)
    ]
    return replace(table, columns=(*names, *table.columns), rows=tuple(rows))
