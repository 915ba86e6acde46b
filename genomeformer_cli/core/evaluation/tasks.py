"""Labelled sequences: one file, or a folder of tasks as somebody else publishes them.

| layout             | recognised by                                                              |
|--------------------|----------------------------------------------------------------------------|
| our own            | `INDEX.tsv` with a column `task`, beside `TASK.tsv.gz`                     |
| GUE                | `train.csv`, `dev.csv`, `test.csv` with columns `sequence,label`           |
| Genomic Benchmarks | `train/CLASS/*.txt` and `test/CLASS/*.txt`, a sequence a file              |
| NT                 | `train.fna` and `test.fna` with headers `>NAME|LABEL`                      |
| one table          | TSV or CSV with `sequence` and `label`; if they have them, `id`, `split`   |
|                    | (train, val, test) and `group`. Without `sequence`: a FASTA file beside it |
| one FASTA          | headers with `label=X`, or ending in `|X`                                  |
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.text import text_chunks

SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_TABLES = (".tsv", ".csv", ".txt", ".tsv.gz", ".csv.gz")
_LABEL = re.compile(r"(?:^|[\s;|])label=(\S+)")
_LONGEST_CELL = 1 << 27


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled sequence.

    Attributes:
        id: Its name.
        sequence: Letters.
        label: Its class; where labels stand in several columns, all of them, with tabs between.
        split: `train`, `val` or `test`; empty if the source says nothing.
        group: Rows of one group never stand on both sides of a split; empty: no groups.
    """

    id: str
    sequence: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled sequences that belong together.

    Attributes:
        name: For the report.
        examples: Rows of at least two classes.
        all_classes: Classes of the task that these rows were taken from; empty: of the rows.
    """

    name: str
    examples: tuple[Example, ...]
    all_classes: tuple[str, ...] = ()

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


def read_task(path: Path, *, label: str = "label", name: str | None = None) -> Task:
    """Labelled sequences of one file.

    Args:
        path: TSV, CSV or FASTA, plain or gzip'd.
        label: The column of the labels.
        name: Of the task; None: the file's.

    Raises:
        InputError: It cannot be read as labelled sequences.
        FastaError: It is damaged FASTA.
    """
    return _task(name or task_name(path), read_examples(path, labels=(label,)), str(path))


def task_name(path: Path) -> str:
    """What a file calls its task."""
    return path.name.partition(".")[0]


def read_examples(
    path: Path, *, labels: Sequence[str] = ("label",), group: str = "group"
) -> list[Example]:
    """Labelled sequences of one file, whatever their labels.

    Args:
        path: TSV, CSV or FASTA, plain or gzip'd.
        labels: Columns of the labels; the cells of several are joined by tabs.
        group: Column of the groups, if there is one.

    Raises:
        InputError: It cannot be read as labelled sequences.
        FastaError: It is damaged FASTA.
    """
    is_table = path.name.lower().endswith(_TABLES)
    return list(_of_table(path, labels, group) if is_table else _of_fasta(path))


def _task(name: str, examples: Sequence[Example], shown: str) -> Task:
    if len({one.label for one in examples}) < 2:
        raise InputError(
            f"`{shown}` has {len(examples)} labelled sequences of fewer than two classes",
            hint="at least two labels are needed",
        )
    return Task(name=name, examples=tuple(examples))


def _of_table(path: Path, labels: Sequence[str], group: str = "group") -> Iterator[Example]:
    text = b"".join(text_chunks(path))
    try:
        lines = text.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise InputError(f"`{path}` is no UTF-8 text", hint="export the table again") from failure
    csv.field_size_limit(_LONGEST_CELL)
    delimiter = "\t" if "\t" in lines.partition("\n")[0] else ","
    rows = csv.DictReader(io.StringIO(lines), delimiter=delimiter)
    columns = list(rows.fieldnames or ())
    for label in labels:
        _check_column(label, columns, path, "the label")
    if group != "group":
        _check_column(group, columns, path, "the group")
    letters = None if "sequence" in columns else _fasta_beside(path)
    for number, row in enumerate(rows, start=1):
        identifier = row.get("id") or str(number)
        sequence = row["sequence"] if letters is None else letters.get(identifier)
        cells = [row[label] for label in labels]
        if sequence is None or None in cells:
            raise InputError(
                f"`{path}`: row {number} has no sequence or no `{'`, `'.join(labels)}`",
                hint="every row needs both; the table may be cut off",
            )
        yield Example(
            identifier,
            sequence,
            "\t".join(cells),
            _split(row.get("split") or "", str(path)),
            row.get(group) or "",
        )


def _check_column(name: str, columns: Sequence[str], path: Path, what: str) -> None:
    if name not in columns:
        raise InputError(
            f"`{path}` has no column `{name}`",
            hint=f"its columns are {', '.join(f'`{one}`' for one in columns)}; name that of {what}",
        )


def _split(name: str, shown: str) -> str:
    if name and name.lower() not in _SPLIT_NAMES:
        raise InputError(f"`{shown}` has a split `{name}`", hint="known: train, val (or dev), test")
    return _SPLIT_NAMES[name.lower()] if name else ""


def _fasta_beside(path: Path) -> dict[str, str]:
    stem = path.name.partition(".")[0]
    for suffix in (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz"):
        beside = path.with_name(stem + suffix)
        if beside.exists():
            return {record.id: record.sequence for record in read_records(beside)}
    raise InputError(
        f"`{path}` has no column `sequence`, and no `{stem}.fa` stands beside it",
        hint="add one of them; `genomeformer windows` writes both files",
    )


def _of_fasta(path: Path, split: str = "") -> Iterator[Example]:
    for record in read_records(path):
        header = f"{record.id} {record.description}".strip()
        named = _LABEL.search(header)
        label = named.group(1) if named else header.rpartition("|")[2] if "|" in header else ""
        if not label:
            raise InputError(
                f"`{path}`: record `{record.id}` has no label",
                hint="write `label=CLASS` into each header, or end it in `|CLASS`",
            )
        yield Example(record.id, record.sequence, label, split)


def read_suite(folder: Path, only: Sequence[str] = ()) -> Iterator[Task]:
    """Every task of a folder, one at a time in memory.

    Args:
        folder: Of any layout above; tasks may lie some folders below.
        only: Names, or beginnings of names, of the tasks that are wanted; none: all.

    Raises:
        InputError: It holds no task, or none of those that are wanted.
    """
    places = list(_places(folder))
    chosen = [
        (name, place)
        for name, place in places
        if not only or any(name.startswith(one) for one in only)
    ]
    if not chosen:
        known = ", ".join(f"`{name}`" for name, _ in places[:12])
        raise InputError(
            f"`{folder}` holds no task" + (" of that name" if places else ""),
            hint=f"it holds {known}"
            if places
            else "tables must be listed in its `INDEX.tsv`, or lie as GUE, Genomic Benchmarks or "
            "NT publish them: see the guide `evaluate`",
        )
    for name, place in chosen:
        yield _read_place(name, place)


def _places(folder: Path) -> Iterator[tuple[str, Path]]:
    index = folder / "INDEX.tsv"
    if index.is_file():
        with index.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                yield row["task"], folder / f"{row['task']}.tsv.gz"
        return
    if not folder.is_dir():
        return
    below = (path for path in folder.rglob("*") if path.is_dir())
    for place in sorted([folder, *below]):
        files = (place / "train.csv").is_file() or (place / "train.fna").is_file()
        folders = (place / "train").is_dir() and (place / "test").is_dir()
        if files or folders:
            yield _place_name(folder, place), place


def _place_name(folder: Path, place: Path) -> str:
    parts = place.relative_to(folder).parts
    return "_".join(parts) if parts else folder.name


def _read_place(name: str, place: Path) -> Task:
    if place.is_file():
        return read_task(place, name=name)
    examples: list[Example] = []
    for file_name, split in _SPLIT_NAMES.items():
        if (place / f"{file_name}.csv").is_file():
            rows = _of_table(place / f"{file_name}.csv", ("label",))
            examples += [
                Example(f"{split}:{row.id}", row.sequence, row.label, split) for row in rows
            ]
        elif (place / f"{file_name}.fna").is_file():
            examples += _of_fasta(place / f"{file_name}.fna", split)
        elif (place / file_name).is_dir():
            for path in sorted((place / file_name).glob("*/*.txt")):
                letters = path.read_text(encoding="ascii").strip()
                examples.append(Example(path.stem, letters, path.parent.name, split))
    return _task(name, examples, str(place))
