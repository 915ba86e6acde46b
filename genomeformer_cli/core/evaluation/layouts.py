"""Layouts of folders of tasks, as their authors publish them.

| layout             | recognised by                                                               |
|--------------------|-----------------------------------------------------------------------------|
| genomeformer       | `INDEX.tsv` with a column `task`, beside `TASK.tsv.gz`                      |
| GUE, LAMBDA        | `train`, `dev`, `test` as `.csv` or `.tsv` with columns `sequence`, `label` |
| NT                 | `train.fna` and `test.fna` with headers `>NAME|LABEL`; or `.parquet`        |
| Genomic Benchmarks | `train/CLASS/*.txt`, one sequence per file; `train/CLASS.csv`, intervals    |
| the Hub's          | `train-00000-of-00001.parquet` with `sequence` (or `seq`) and `label`       |
| LAMBDA, tests      | `genome_wide/2k/*.csv` beside `train_val_test/2k`: see `segment_layouts`    |
| BacBench           | parquet, one genome per row with lists of genes: see `gene_layouts`         |
| BEND               | `TASK.bed` with a header, beside genomes: see `interval_layouts`            |
| TraitGym           | parquet of variants, which are scored with their genome                     |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.evaluation.gene_layouts import chain_reader, gene_reader
from genomeformer_cli.core.evaluation.interval_layouts import bed_tasks, class_intervals
from genomeformer_cli.core.evaluation.segment_layouts import segment_tasks
from genomeformer_cli.core.evaluation.task_source import VARIANTS_REASON, TaskSource, concatenate
from genomeformer_cli.core.formats.labelled import (
    SEQUENCE,
    SPLIT_NAMES,
    Example,
    LabelColumns,
    LabelledFile,
    RowCount,
    read_labelled,
)
from genomeformer_cli.core.formats.parquet import is_parquet, parquet_columns
from genomeformer_cli.core.formats.tables import has_column, read_table
from genomeformer_cli.core.formats.text import read_lines

COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".zst")
_INDEX = "INDEX.tsv"
_OTHER_FILES = "files of a class folder that are not `.txt`"
# A file of the same folder: not hidden, and no path.
_TASK_NAME = re.compile(r"(?!\.)[^/\\\0]+")
_MAX_NAME_BYTES = 200
# Files of the Hub: one per split, or numbered shards with a hash.
_SHARD = re.compile(r"([a-z]+)(?:-[0-9]{5}-of-[0-9]{5})?(?:-[0-9a-f]+)?\.parquet")
_HUB_FOLDER = "data"
_LAMBDA_FOLDERS = ("fragmentclassification", "phage_fragments")
_VARIANTS = {"chrom", "pos", "ref", "alt"}
Files = list[tuple[str, Path]]


def task_sources(folder: Path) -> Iterator[TaskSource]:
    """Yield the tasks of a folder of any layout above; tasks may be nested."""
    if (folder / _INDEX).is_file():
        for name in _indexed_names(folder / _INDEX):
            yield TaskSource(name=name, read=partial(read_labelled, _indexed_file(folder, name)))
        return
    if not folder.is_dir():
        return
    below = (
        path
        for path in folder.rglob("*")
        if path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    for task_folder in sorted([folder, *below]):
        name = _folder_name(folder, task_folder)
        for layout in LAYOUTS:
            sources = layout(task_folder, name, folder)
            if sources:
                yield from sources
                break


def _split_files(task_folder: Path, suffix: str) -> Files:
    """Return the files of the splits of a folder, of any compression."""
    files: Files = []
    for stem, split in SPLIT_NAMES.items():
        paths = [task_folder / f"{stem}{suffix}{compression}" for compression in COMPRESSIONS]
        files += [(split, path) for path in paths if path.is_file()]
    for split in set(SPLIT_NAMES.values()):
        names = [path.name for owner, path in files if owner == split]
        if len(names) > 1:
            raise FormatError(
                f"`{task_folder}` has several files of the split `{split}`: {', '.join(names)}",
                hint="remove all but one of them",
            )
    return files


def _parquet_files(task_folder: Path) -> Files:
    """Return the parquet files of the splits of a folder, shards in order."""
    files: Files = []
    for path in sorted(task_folder.glob("*.parquet")):
        match = _SHARD.fullmatch(path.name)
        if match is not None and match.group(1) in SPLIT_NAMES and path.is_file():
            files.append((SPLIT_NAMES[match.group(1)], path))
    return files


def _tables(suffix: str, task_folder: Path, name: str, _root: Path) -> list[TaskSource]:
    """Recognise `train`, `dev` and `test` files of one suffix."""
    files = _split_files(task_folder, suffix)
    if "train" not in (split for split, _ in files):
        return []
    suite = "nt" if suffix == ".fna" else _suite_of_table(files[0][1])
    read_names = {path.name for _, path in files}
    unused = [
        path.name for path in sorted(task_folder.glob("train.*")) if path.name not in read_names
    ]
    notes = (
        (f"`{name}`: `{suffix}` files are read, `{', '.join(unused)}` beside them is not",)
        if unused
        else ()
    )
    prefixed = suffix != ".fna"
    return [
        TaskSource(
            name=name,
            suite=suite,
            read=partial(_read_splits, files, prefixed=prefixed, notes=notes),
        )
    ]


def _suite_of_table(path: Path) -> str:
    if has_column(path, "segment_id") or path.parent.name.casefold() in _LAMBDA_FOLDERS:
        return "lambda"
    return "genomic-benchmarks" if _sequence_column(path) == "seq" else "gue"


def _hub_files(task_folder: Path, name: str, _root: Path) -> list[TaskSource]:
    """Recognise parquet files of splits: sequences, genomes with genes, or variants."""
    files = _parquet_files(task_folder)
    columns = set(parquet_columns(files[0][1])) if files else set()
    if not files:
        return []
    if columns >= _VARIANTS:
        return [
            TaskSource(name=name, suite="traitgym", unread=VARIANTS_REASON, variants=files[0][1])
        ]
    genes = gene_reader(files, columns)
    if genes is not None:
        chains = chain_reader(files, columns)
        return [TaskSource(name=name, suite="bacbench", read=genes, chains=chains)]
    if "label" not in columns:
        reason = "its table has no labels of sequences"
        return [TaskSource(name=name, unread=reason)] if "train" in dict(files) else []
    suite = "genomic-benchmarks" if "seq" in columns and SEQUENCE not in columns else "nt"
    if not {"name", "task", "seq"} & columns:
        suite = "lambda" if task_folder.name.casefold() in _LAMBDA_FOLDERS else ""
    read = partial(_read_splits, files, prefixed=True, notes=())
    return [TaskSource(name=name, suite=suite, read=read)]


def _read_splits(files: Files, *, prefixed: bool, notes: Sequence[str]) -> LabelledFile:
    read = []
    for split, path in files:
        columns = LabelColumns(sequence=_sequence_column(path))
        file = read_labelled(path, columns, split=split)
        read.append(_prefix_ids(file, f"{split}:" if prefixed else ""))
    whole = concatenate(read)
    return LabelledFile(examples=whole.examples, count=whole.count, notes=(*whole.notes, *notes))


def _sequence_column(path: Path) -> str | None:
    """Return `seq` for a table that has it and no column `sequence`."""
    if is_parquet(path):
        names = {name.casefold() for name in parquet_columns(path)}
        return "seq" if "seq" in names and SEQUENCE not in names else None
    if path.name.partition(".")[2].startswith("fna"):
        return None
    return "seq" if has_column(path, "seq") and not has_column(path, SEQUENCE) else None


def _class_folders(task_folder: Path, name: str, _root: Path) -> list[TaskSource]:
    if not all((task_folder / split).is_dir() for split in ("train", "test")):
        return []
    read = partial(_read_class_folders, task_folder)
    return [TaskSource(name=name, suite="genomic-benchmarks", read=read)]


def _read_class_folders(task_folder: Path) -> LabelledFile:
    examples: list[Example] = []
    num_skipped = 0
    for stem, split in SPLIT_NAMES.items():
        for path in sorted((task_folder / stem).glob("*/*")):
            if path.name.startswith(".") or path.is_dir():
                continue
            if path.suffix != ".txt":
                num_skipped += 1
                continue
            letters = "".join(line.text.strip() for line in read_lines(path))
            row = len(examples) + num_skipped + 1
            examples.append(Example(path.stem, letters, path.parent.name, split, "", row))
    read = len(examples) + num_skipped
    count = RowCount(read=read, used=read).without(_OTHER_FILES, num_skipped)
    return LabelledFile(examples=tuple(examples), count=count)


def _prefix_ids(file: LabelledFile, prefix: str) -> LabelledFile:
    if not prefix:
        return file
    examples = tuple(replace(example, id=prefix + example.id) for example in file.examples)
    return LabelledFile(examples=examples, count=file.count, notes=file.notes)


# Layouts of the tasks of one folder, by folder, task name and suite folder; the first that finds a
# task is taken.
Layout = Callable[[Path, str, Path], list[TaskSource]]
LAYOUTS: tuple[Layout, ...] = (
    segment_tasks,
    partial(_tables, ".csv"),
    partial(_tables, ".tsv"),
    partial(_tables, ".fna"),
    _hub_files,
    class_intervals,
    _class_folders,
    bed_tasks,
)


def _indexed_names(path: Path) -> Iterator[str]:
    table = read_table(path)
    column = table.index("task", "it names the tables of the tasks")
    for row in table.rows:
        name = table.cell(row, column)
        if not _TASK_NAME.fullmatch(name) or len(name.encode()) > _MAX_NAME_BYTES:
            raise FormatError(
                f"{table.where(row)}: `{name}` does not name a table beside `{path.name}`",
                hint="write the file name without `.tsv` or `.csv`, and without a folder",
            )
        yield name


def _indexed_file(folder: Path, name: str) -> Path:
    paths = [
        folder / f"{name}{kind}{compression}"
        for kind in (".tsv", ".csv")
        for compression in COMPRESSIONS
    ]
    paths.append(folder / f"{name}.parquet")
    return next((path for path in paths if path.is_file()), folder / f"{name}.tsv.gz")


def _folder_name(folder: Path, task_folder: Path) -> str:
    names = [*task_folder.relative_to(folder).parts]
    if names and names[-1] == _HUB_FOLDER:
        names.pop()
    return "_".join(names) if names else folder.resolve().name
