"""Tasks of labelled sequences: one file, or a folder of tasks in a published layout.

| layout             | recognised by                                                        |
|--------------------|----------------------------------------------------------------------|
| genomeformer       | `INDEX.tsv` with a column `task`, beside `TASK.tsv.gz`               |
| GUE                | `train.csv`, `dev.csv`, `test.csv` with columns `sequence,label`     |
| NT                 | `train.fna` and `test.fna` with headers `>NAME|LABEL`                |
| Genomic Benchmarks | `train/CLASS/*.txt` and `test/CLASS/*.txt`, one sequence per file    |

`core/formats/labelled` reads the files; a layout maps files to splits and classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from genomeformer_cli.core.errors import FormatError, InputError
from genomeformer_cli.core.evaluation.labels import (
    Missing,
    check_classes,
    check_spelling,
    is_missing,
    without_missing,
)
from genomeformer_cli.core.formats.labelled import (
    SPLIT_NAMES,
    Example,
    LabelColumns,
    LabelledFile,
    RowCount,
    read_labelled,
    task_name,
)
from genomeformer_cli.core.formats.tables import read_table
from genomeformer_cli.core.formats.text import read_lines

SPLITS = ("train", "val", "test")
_COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".zst")
_OTHER_FILES = "files of a class folder that are not `.txt`"
# A file of the same folder: not hidden, and no path.
_TASK_NAME = re.compile(r"(?!\.)[^/\\\0]+")
_MAX_NAME_BYTES = 200
Files = list[tuple[str, Path]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled sequences of one classification task."""

    name: str  # Name in reports.
    examples: tuple[Example, ...]  # Rows of at least two classes.
    # Classes of the full task that these rows were taken from; empty: of the rows.
    all_classes: tuple[str, ...] = ()
    count: RowCount = field(default_factory=lambda: RowCount(read=0, used=0))  # Rows of the source.
    notes: tuple[str, ...] = ()  # Interpretations that a user may want to check.

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, sorted."""
        return self.all_classes or tuple(sorted({example.label for example in self.examples}))

    def take(self, rows: Iterable[int]) -> Task:
        """Return a task of the selected rows; classes keep their numbers."""
        return Task(
            name=self.name,
            examples=tuple(self.examples[row] for row in rows),
            all_classes=self.classes,
        )

    @property
    def has_split(self) -> bool:
        """True if the source defines training and test rows."""
        splits = {example.split for example in self.examples}
        return {"train", "test"} <= splits and "" not in splits


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """Rows of a task as read, with labels of any kind."""

    name: str  # Name of the task.
    file: LabelledFile  # Rows and their count.


def read_task(
    path: Path,
    *,
    columns: LabelColumns | None = None,
    missing: Missing = Missing.REFUSE,
    name: str | None = None,
) -> Task:
    """Read the classes of one file.

    Args:
        path: Table or FASTA of any compression; `-` is standard input.
        columns: Columns of a table.
        missing: Treatment of rows without a label or a sequence.
        name: Name of the task; None: the name of the file.

    Raises:
        InputError: The file cannot be read as sequences of at least two classes.
        FastaError: The FASTA file is damaged.
    """
    if path.is_dir():
        raise InputError(
            f"`{path}` is a folder, not a table or FASTA file of one task",
            hint=f"name a file in it, or evaluate all its tasks: `--suite {path}`",
        )
    file = read_labelled(path, columns)
    return class_task(NamedFile(name=name or task_name(path), file=file), missing, str(path))


def class_task(task_file: NamedFile, missing: Missing, display_name: str | None = None) -> Task:
    """Return the rows as a task of at least two classes.

    Raises:
        InputError: Labels are missing, of fewer than two classes, or not classes.
    """
    display_name = display_name or task_file.name
    file = without_missing(task_file.file, display_name, missing, is_missing)
    labels = [example.label for example in file.examples]
    if len(set(labels)) < 2:
        raise InputError(
            f"`{display_name}` has {len(labels):,} labelled sequences of fewer than two classes",
            hint="at least two labels are needed",
        )
    check_spelling(
        labels, display_name, "write each class in one way; `evaluate` takes classes alone"
    )
    check_classes(labels, display_name, "`evaluate` takes classes alone; `finetune` learns numbers")
    return Task(name=task_file.name, examples=file.examples, count=file.count, notes=file.notes)


def _split_files(task_folder: Path, suffix: str) -> Files:
    """Return the files of the splits of a folder, of any compression."""
    files: Files = []
    for stem, split in SPLIT_NAMES.items():
        paths = [task_folder / f"{stem}{suffix}{compression}" for compression in _COMPRESSIONS]
        files += [(split, path) for path in paths if path.is_file()]
    for split in SPLITS:
        names = [path.name for owner, path in files if owner == split]
        if len(names) > 1:
            raise FormatError(
                f"`{task_folder}` has several files of the split `{split}`: {', '.join(names)}",
                hint="remove all but one of them",
            )
    return files


def _has_train_file(suffix: str, task_folder: Path) -> bool:
    return any(
        (task_folder / f"train{suffix}{compression}").is_file() for compression in _COMPRESSIONS
    )


def _read_splits(suffix: str, task_folder: Path) -> LabelledFile:
    return _concatenate(
        [
            _prefix_ids(read_labelled(path, split=split), f"{split}:" if suffix == ".csv" else "")
            for split, path in _split_files(task_folder, suffix)
        ]
    )


def _is_class_folders(task_folder: Path) -> bool:
    return (task_folder / "train").is_dir() and (task_folder / "test").is_dir()


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
    examples = tuple(
        Example(
            prefix + example.id,
            example.sequence,
            example.label,
            example.split,
            example.group,
            example.row,
        )
        for example in file.examples
    )
    return LabelledFile(examples=examples, count=file.count, notes=file.notes)


def _concatenate(files: Sequence[LabelledFile]) -> LabelledFile:
    count = RowCount(read=0, used=0)
    for file in files:
        count = count.plus(file.count)
    return LabelledFile(
        examples=tuple(example for file in files for example in file.examples),
        count=count,
        notes=tuple(note for file in files for note in file.notes),
    )


# Layouts of one task in one folder: recognise it, read it.
LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path], LabelledFile]], ...] = (
    (partial(_has_train_file, ".csv"), partial(_read_splits, ".csv")),
    (partial(_has_train_file, ".fna"), partial(_read_splits, ".fna")),
    (_is_class_folders, _read_class_folders),
)


def read_folder(folder: Path, prefixes: Sequence[str] = ()) -> Iterator[NamedFile]:
    """Read every task of a folder, one at a time in memory.

    Args:
        folder: Folder of any layout above; tasks may be nested.
        prefixes: Prefixes of the names of the wanted tasks; empty: all tasks.

    Raises:
        InputError: The folder holds no task, or none of the wanted tasks.
    """
    tasks = list(_task_folders(folder))
    selected = [
        (name, task_folder, read)
        for name, task_folder, read in tasks
        if not prefixes or any(name.startswith(prefix) for prefix in prefixes)
    ]
    if not selected:
        names = ", ".join(f"`{name}`" for name, _, _ in tasks[:12])
        raise InputError(
            f"`{folder}` holds no task" + (" of that name" if tasks else ""),
            hint=f"it holds {names}"
            if tasks
            else "tables must be listed in its `INDEX.tsv`, or follow the layout of GUE, Genomic "
            "Benchmarks or NT: see the guide `evaluate`",
        )
    for name, task_folder, read in selected:
        yield NamedFile(name=name, file=read(task_folder))


def read_suite(
    folder: Path, prefixes: Sequence[str] = (), *, missing: Missing = Missing.REFUSE
) -> Iterator[Task]:
    """Read the classes of every task of a folder as `read_folder` does.

    Raises:
        InputError: The folder holds no task, none of the wanted tasks, or a task without classes.
    """
    for task_file in read_folder(folder, prefixes):
        yield class_task(task_file, missing)


def _task_folders(folder: Path) -> Iterator[tuple[str, Path, Callable[[Path], LabelledFile]]]:
    if (folder / "INDEX.tsv").is_file():
        for name in _indexed_names(folder / "INDEX.tsv"):
            yield name, _indexed_file(folder, name), read_labelled
        return
    if not folder.is_dir():
        return
    below = (path for path in folder.rglob("*") if path.is_dir())
    for task_folder in sorted([folder, *below]):
        read = next((read for recognise, read in LAYOUTS if recognise(task_folder)), None)
        if read is not None:
            yield _folder_name(folder, task_folder), task_folder, read


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
        for compression in _COMPRESSIONS
    ]
    return next((path for path in paths if path.is_file()), folder / f"{name}.tsv.gz")


def _folder_name(folder: Path, task_folder: Path) -> str:
    names = task_folder.relative_to(folder).parts
    return "_".join(names) if names else folder.name
