"""Tasks of labelled sequences: one file, or a folder of tasks as somebody else publishes them.

| layout             | recognised by                                                        |
|--------------------|----------------------------------------------------------------------|
| our own            | `INDEX.tsv` with a column `task`, beside `TASK.tsv.gz`               |
| GUE                | `train.csv`, `dev.csv`, `test.csv` with columns `sequence,label`     |
| NT                 | `train.fna` and `test.fna` with headers `>NAME|LABEL`                |
| Genomic Benchmarks | `train/CLASS/*.txt` and `test/CLASS/*.txt`, one sequence per file    |

Files are read by `core/formats/labelled`; a layout says which file holds which split and class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
_PACKINGS = ("", ".gz", ".bz2", ".xz", ".zst")
_OTHER_FILES = "files of a class folder that are not `.txt`"
Files = list[tuple[str, Path]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled sequences that belong together.

    Attributes:
        name: Name in reports.
        examples: Rows of at least two classes.
        all_classes: Classes of the task that these rows were taken from; empty: of the rows.
        count: Rows of the source.
        notes: Readings that a person may want to check.
    """

    name: str
    examples: tuple[Example, ...]
    all_classes: tuple[str, ...] = ()
    count: RowCount = field(default_factory=lambda: RowCount(read=0, used=0))
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, sorted."""
        return self.all_classes or tuple(sorted({one.label for one in self.examples}))

    def take(self, rows: Iterable[int]) -> Task:
        """Return a task of some of the rows, whose classes keep their numbers."""
        return Task(
            name=self.name,
            examples=tuple(self.examples[row] for row in rows),
            all_classes=self.classes,
        )

    @property
    def has_split(self) -> bool:
        """True where the source says what to train on and what to test on."""
        found = {one.split for one in self.examples}
        return {"train", "test"} <= found and "" not in found


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """Rows of a task as they were read, whatever their labels.

    Attributes:
        name: Name of the task.
        file: Rows and their count.
    """

    name: str
    file: LabelledFile


def read_task(
    path: Path,
    *,
    columns: LabelColumns | None = None,
    missing: Missing = Missing.REFUSE,
    name: str | None = None,
) -> Task:
    """Read the classes of one file.

    Args:
        path: Table or FASTA of any packing; `-` is standard input.
        columns: Columns of a table.
        missing: Treatment of rows without a label or a sequence.
        name: Name of the task; None: the file's.

    Raises:
        InputError: It cannot be read as sequences of at least two classes.
        FastaError: It is damaged FASTA.
    """
    file = read_labelled(path, columns)
    return class_task(NamedFile(name=name or task_name(path), file=file), missing, str(path))


def class_task(named: NamedFile, missing: Missing, shown: str | None = None) -> Task:
    """Return the rows of at least two classes.

    Raises:
        InputError: Labels are missing, of fewer than two classes, or not classes.
    """
    shown = shown or named.name
    file = without_missing(named.file, shown, missing, is_missing)
    labels = [one.label for one in file.examples]
    if len(set(labels)) < 2:
        raise InputError(
            f"`{shown}` has {len(labels):,} labelled sequences of fewer than two classes",
            hint="at least two labels are needed",
        )
    check_spelling(labels, shown, "write each class in one way; `evaluate` takes classes alone")
    check_classes(labels, shown, "`evaluate` takes classes alone; `finetune` learns numbers")
    return Task(name=named.name, examples=file.examples, count=file.count, notes=file.notes)


def _part_files(place: Path, suffix: str) -> Files:
    """Return the files of the splits of a folder, of any packing, by split."""
    found: Files = []
    for stem, split in SPLIT_NAMES.items():
        paths = [place / f"{stem}{suffix}{packing}" for packing in _PACKINGS]
        found += [(split, path) for path in paths if path.is_file()]
    for split in SPLITS:
        same = [path.name for owner, path in found if owner == split]
        if len(same) > 1:
            raise FormatError(
                f"`{place}` has several files of the split `{split}`: {', '.join(same)}",
                hint="remove all but one of them",
            )
    return found


def _has_train_file(place: Path, suffix: str) -> bool:
    return any((place / f"train{suffix}{packing}").is_file() for packing in _PACKINGS)


def _read_parts(place: Path, suffix: str) -> LabelledFile:
    return _joined(
        [
            _renamed(read_labelled(path, split=split), f"{split}:" if suffix == ".csv" else "")
            for split, path in _part_files(place, suffix)
        ]
    )


def _is_index(place: Path) -> bool:
    return (place / "INDEX.tsv").is_file()


def _is_csv_parts(place: Path) -> bool:
    return _has_train_file(place, ".csv")


def _read_csv_parts(place: Path) -> LabelledFile:
    return _read_parts(place, ".csv")


def _is_fasta_parts(place: Path) -> bool:
    return _has_train_file(place, ".fna")


def _read_fasta_parts(place: Path) -> LabelledFile:
    return _read_parts(place, ".fna")


def _is_class_folders(place: Path) -> bool:
    return (place / "train").is_dir() and (place / "test").is_dir()


def _read_class_folders(place: Path) -> LabelledFile:
    examples: list[Example] = []
    num_others = 0
    for stem, split in SPLIT_NAMES.items():
        for path in sorted((place / stem).glob("*/*")):
            if path.name.startswith(".") or path.is_dir():
                continue
            if path.suffix != ".txt":
                num_others += 1
                continue
            letters = "".join(line.text.strip() for line in read_lines(path))
            row = len(examples) + num_others + 1
            examples.append(Example(path.stem, letters, path.parent.name, split, "", row))
    read = len(examples) + num_others
    count = RowCount(read=read, used=read).without(_OTHER_FILES, num_others)
    return LabelledFile(examples=tuple(examples), count=count)


def _renamed(file: LabelledFile, prefix: str) -> LabelledFile:
    if not prefix:
        return file
    examples = tuple(
        Example(prefix + one.id, one.sequence, one.label, one.split, one.group, one.row)
        for one in file.examples
    )
    return LabelledFile(examples=examples, count=file.count, notes=file.notes)


def _joined(files: Sequence[LabelledFile]) -> LabelledFile:
    count = RowCount(read=0, used=0)
    for file in files:
        count = count.plus(file.count)
    return LabelledFile(
        examples=tuple(one for file in files for one in file.examples),
        count=count,
        notes=tuple(note for file in files for note in file.notes),
    )


# Layouts of one task in one folder: recognise it, read it.
LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path], LabelledFile]], ...] = (
    (_is_csv_parts, _read_csv_parts),
    (_is_fasta_parts, _read_fasta_parts),
    (_is_class_folders, _read_class_folders),
)


def read_folder(folder: Path, only: Sequence[str] = ()) -> Iterator[NamedFile]:
    """Read every task of a folder, one at a time in memory.

    Args:
        folder: Folder of any layout above; tasks may be some folders below.
        only: Names, or beginnings of names, of the tasks that are wanted; none: all.

    Raises:
        InputError: It holds no task, or none of those that are wanted.
    """
    places = list(_places(folder))
    wanted = [
        (name, place, read)
        for name, place, read in places
        if not only or any(name.startswith(one) for one in only)
    ]
    if not wanted:
        known = ", ".join(f"`{name}`" for name, _, _ in places[:12])
        raise InputError(
            f"`{folder}` holds no task" + (" of that name" if places else ""),
            hint=f"it holds {known}"
            if places
            else "tables must be listed in its `INDEX.tsv`, or lie as GUE, Genomic Benchmarks or "
            "NT publish them: see the guide `evaluate`",
        )
    for name, place, read in wanted:
        yield NamedFile(name=name, file=read(place))


def read_suite(
    folder: Path, only: Sequence[str] = (), *, missing: Missing = Missing.REFUSE
) -> Iterator[Task]:
    """Read the classes of every task of a folder as `read_folder` does.

    Raises:
        InputError: It holds no task, none of those that are wanted, or one without classes.
    """
    for named in read_folder(folder, only):
        yield class_task(named, missing)


def _places(folder: Path) -> Iterator[tuple[str, Path, Callable[[Path], LabelledFile]]]:
    if _is_index(folder):
        for name in _indexed(folder / "INDEX.tsv"):
            yield name, _indexed_file(folder, name), read_labelled
        return
    if not folder.is_dir():
        return
    below = (path for path in folder.rglob("*") if path.is_dir())
    for place in sorted([folder, *below]):
        read = next((read for recognise, read in LAYOUTS if recognise(place)), None)
        if read is not None:
            yield _place_name(folder, place), place, read


def _indexed(path: Path) -> Iterator[str]:
    table = read_table(path)
    place = table.index("task", "it names the tables of the tasks")
    for row in table.rows:
        yield table.cell(row, place)


def _indexed_file(folder: Path, name: str) -> Path:
    paths = [
        folder / f"{name}{kind}{packing}" for kind in (".tsv", ".csv") for packing in _PACKINGS
    ]
    return next((path for path in paths if path.is_file()), folder / f"{name}.tsv.gz")


def _place_name(folder: Path, place: Path) -> str:
    parts = place.relative_to(folder).parts
    return "_".join(parts) if parts else folder.name
