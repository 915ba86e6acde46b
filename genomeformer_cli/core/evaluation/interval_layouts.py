"""Tasks whose sequences are intervals of genomes in the folder: BEND, Genomic Benchmarks.

Genomes are the FASTA files of the task's folder, of the suite's folder, and of `genomes/` and
`data/genomes/` in it. Intervals are 0-based and half-open, on the strand of a column `strand`.

| layout             | files                                                                   |
|--------------------|-------------------------------------------------------------------------|
| BEND               | `TASK.bed` with a header: `chromosome`, `start`, `end`, `split`, `label` |
| Genomic Benchmarks | `train/CLASS.csv`, `test/CLASS.csv`: `id,region,start,end,strand`        |

Cells of BEND with several labels, such as `0,4`, are one task per label. Labels in `TASK.hdf5`, one
per base or bin of each interval, are rows of the bases around: one per bin, or per window of bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from genomeformer_cli.core.errors import FormatError, InputError
from genomeformer_cli.core.evaluation.task_source import VARIANTS_REASON, TaskSource, concatenate
from genomeformer_cli.core.formats.hdf5 import labels_along, open_archive
from genomeformer_cli.core.formats.labelled import (
    EMPTY_ROWS,
    FASTA_SUFFIXES,
    SPLIT_NAMES,
    Example,
    LabelledFile,
    RowCount,
)
from genomeformer_cli.core.formats.tables import TableRow, TextTable, has_column, read_table
from genomeformer_cli.core.genomes.labelled_regions import make_region
from genomeformer_cli.core.genomes.regions import RegionRow, queries_of_files
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.sequence import decode_bases

_COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".zst")
_DATA = "data"
_GENOME_FOLDERS = ("", "genomes", "data/genomes")
_BED_COLUMNS = ("chromosome", "start", "end")
_INTERVAL_COLUMNS = ("region", "start", "end", "strand")
_NO_BASES = "without bases in the genome"
_SEPARATOR = ","
_HDF5 = ".hdf5"
WINDOW = 512
_UNEVEN = "of intervals outside of the genome, or not divided by their labels"
_BETWEEN = f"of bases between the windows of {WINDOW}"


@dataclass(kw_only=True)
class _Intervals:
    """Table of intervals; the bases are cut once, for all tasks of the table."""

    table: TextTable
    record: str  # Column of the records.
    task_folder: Path
    root: Path
    _cut: list[tuple[str, str]] = field(default_factory=list)

    def cell(self, row: TableRow, column: str) -> str:
        """Return the cell of an optional column; empty without one."""
        place = self.table.find(column)
        return "" if place is None or place >= len(row.cells) else self.table.cell(row, place)

    def bases(self) -> list[tuple[str, str]]:
        """Return the letters of every row, or the reason for their absence."""
        if not self._cut:
            source = self.table.display_name
            regions = [self._region(row) for row in self.table.rows]
            queries = queries_of_files(
                regions, _genomes(self.task_folder, self.root, source), source=source
            )
            self._cut = [(decode_bases(query.codes), query.problem) for query in queries]
        return self._cut

    def _region(self, row: TableRow) -> RegionRow:
        record, start, end = (
            self.table.cell(row, self.table.index(column))
            for column in (self.record, "start", "end")
        )
        strand = self.cell(row, "strand")
        return make_region(record, start, end, strand, where=self.table.where(row))


def _genomes(task_folder: Path, root: Path, source: str) -> list[Path]:
    folders = dict.fromkeys([task_folder, *(root / name for name in _GENOME_FOLDERS)])
    endings = tuple(
        suffix + compression for suffix in FASTA_SUFFIXES for compression in _COMPRESSIONS
    )
    paths = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.name.endswith(endings) and path.is_file()
    ]
    if not paths:
        raise InputError(
            f"`{source}` names intervals of a genome, and `{root}` holds no FASTA file",
            hint="place the genome of the suite in that folder, or in `genomes/` in it",
        )
    return paths


def _read_intervals(intervals: _Intervals, labels: Sequence[str], split: str) -> LabelledFile:
    """Return the rows with bases; the others are counted.

    Args:
        intervals: Table.
        labels: Label of every row.
        split: Split of rows without one.
    """
    table = intervals.table
    examples: list[Example] = []
    problems: list[str] = []
    for row, label, (letters, problem) in zip(table.rows, labels, intervals.bases(), strict=True):
        if problem:
            problems.append(f"{table.where(row)}: {problem}")
            continue
        name = intervals.cell(row, "split").casefold()
        if name and name not in SPLIT_NAMES:
            raise FormatError(
                f"{table.where(row)} has a split `{name}`", hint="known: train, val, valid, test"
            )
        identifier = intervals.cell(row, "id") or str(row.number)
        row_split = SPLIT_NAMES[name] if name else split
        examples.append(Example(identifier, letters, label, row_split, "", row.number))
    count = RowCount(read=table.num_rows, used=table.num_rows)
    number = count_noun(len(problems), "row")
    notes = (f"{number} {_NO_BASES}, the first {problems[0]}",) if problems else ()
    return LabelledFile(
        examples=tuple(examples),
        count=count.without(EMPTY_ROWS, table.num_empty).without(_NO_BASES, len(problems)),
        notes=notes,
    )


def bed_tasks(task_folder: Path, _name: str, root: Path) -> list[TaskSource]:
    """Recognise BED files with a header; one task per file and label."""
    sources: list[TaskSource] = []
    for path in sorted(task_folder.glob("*.bed*")):
        stem, _, ending = path.name.partition(".bed")
        if not path.is_file() or ending not in _COMPRESSIONS:
            continue
        if not all(has_column(path, column) for column in _BED_COLUMNS):
            continue
        # The files of a task have its folder's name, or begin with it.
        parts = list(task_folder.relative_to(root).parts)
        if parts and stem.startswith(parts[-1]):
            parts.pop()
        task = "_".join([*(part for part in parts if part != _DATA), stem])
        sources += _tasks_of_bed(path, task, root)
    return sources


def _tasks_of_bed(path: Path, name: str, root: Path) -> list[TaskSource]:
    table = read_table(path)
    unread = partial(TaskSource, name=name, suite="bend")
    if table.find("ref") is not None or table.find("alt") is not None:
        return [unread(unread=VARIANTS_REASON, variants=path)]
    column = table.find("label")
    if column is None:
        archive = path.with_name(path.name.partition(".bed")[0] + _HDF5)
        if not archive.is_file():
            return [unread(unread=f"its labels are in `{archive.name}`, which is not beside it")]
        intervals = _Intervals(table=table, record="chromosome", task_folder=path.parent, root=root)
        read = partial(_read_along, intervals, archive)
        return [TaskSource(name=name, suite="bend", read=read)]
    intervals = _Intervals(table=table, record="chromosome", task_folder=path.parent, root=root)
    cells = [intervals.cell(row, "label") for row in table.rows]
    if not any(_SEPARATOR in cell for cell in cells):
        read = partial(_read_intervals, intervals, cells, "")
        return [TaskSource(name=name, suite="bend", read=read)]
    sets = [{label.strip() for label in cell.split(_SEPARATOR)} - {""} for cell in cells]
    labels = sorted(set().union(*sets), key=lambda label: (len(label), label))
    return [
        TaskSource(
            name=f"{name}_{label}",
            suite="bend",
            read=partial(_read_intervals, intervals, [str(int(label in row)) for row in sets], ""),
        )
        for label in labels
    ]


def _read_along(intervals: _Intervals, archive: Path) -> LabelledFile:
    """Return one row per label along the intervals, or per window of bases for labels of bases."""
    table = intervals.table
    examples: list[Example] = []
    num_read = num_between = num_missing = 0
    with open_archive(archive) as file:
        labels_NM = labels_along(file, archive, table.num_rows - table.num_empty)
        num_labels = labels_NM.shape[1]
        for number, (row, (letters, problem)) in enumerate(
            zip(table.rows, intervals.bases(), strict=True)
        ):
            num_read += num_labels
            if problem or len(letters) % num_labels:
                num_missing += num_labels
                continue
            bases = len(letters) // num_labels
            step = 1 if bases > 1 else WINDOW
            name = intervals.cell(row, "split").casefold()
            if name not in SPLIT_NAMES:
                raise FormatError(
                    f"{table.where(row)} has a split `{name}`",
                    hint="known: train, val, valid, test",
                )
            places = range(step // 2, num_labels, step)
            num_between += num_labels - len(places)
            for place, label in zip(places, labels_NM[number, step // 2 :: step], strict=True):
                centre = place * bases + bases // 2
                examples.append(
                    Example(
                        f"{row.number}:{centre + 1}",
                        letters[max(0, centre - WINDOW // 2) : centre + WINDOW // 2],
                        str(int(label)),
                        SPLIT_NAMES[name],
                        str(row.number),
                        row.number,
                    )
                )
    count = RowCount(read=num_read, used=num_read)
    return LabelledFile(
        examples=tuple(examples),
        count=count.without(_BETWEEN, num_between).without(_UNEVEN, num_missing),
    )


def class_intervals(task_folder: Path, name: str, root: Path) -> list[TaskSource]:
    """Recognise tables of intervals, one per split and class."""
    paths = [
        (split, path)
        for stem, split in SPLIT_NAMES.items()
        for path in sorted((task_folder / stem).glob("*.csv*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    if {"train", "test"} - {split for split, _ in paths}:
        return []
    if not all(has_column(path, column) for _, path in paths for column in _INTERVAL_COLUMNS):
        return []
    read = partial(_read_class_intervals, paths, task_folder, root)
    return [TaskSource(name=name, suite="genomic-benchmarks", read=read)]


def _read_class_intervals(
    paths: Sequence[tuple[str, Path]], task_folder: Path, root: Path
) -> LabelledFile:
    files = []
    for split, path in paths:
        intervals = _Intervals(
            table=read_table(path), record="region", task_folder=task_folder, root=root
        )
        labels = [path.name.partition(".")[0]] * len(intervals.table.rows)
        files.append(_read_intervals(intervals, labels, split))
    return concatenate(files)
