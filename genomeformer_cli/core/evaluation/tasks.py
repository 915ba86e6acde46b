"""Tasks of labelled sequences: one file, or a folder of tasks in a published layout.

`layouts` finds the tasks of a folder; `core/formats/labelled` reads files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.labels import (
    Missing,
    check_classes,
    check_spelling,
    is_missing,
    without_missing,
)
from genomeformer_cli.core.evaluation.layouts import task_sources
from genomeformer_cli.core.evaluation.task_source import TaskSource
from genomeformer_cli.core.formats.labelled import (
    Example,
    LabelColumns,
    LabelledFile,
    RowCount,
    read_labelled,
    task_name,
)
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.genomes.labelled_regions import read_labelled_regions
from genomeformer_cli.core.reporting import Reporter


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled sequences of one classification task."""

    name: str  # Name in reports.
    examples: tuple[Example, ...]  # Rows of at least two classes.
    # Classes of the full task that these rows were taken from; empty: of the rows.
    all_classes: tuple[str, ...] = ()
    count: RowCount = field(default_factory=lambda: RowCount(read=0, used=0))  # Rows of the source.
    notes: tuple[str, ...] = ()  # Interpretations that a user may want to check.
    suite: str = ""  # Suite whose layout the source has, as in `known_suites`; empty: none.

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
            suite=self.suite,
        )

    @property
    def has_split(self) -> bool:
        """True if the source defines training and test rows."""
        splits = {example.split for example in self.examples}
        return {"train", "test"} <= splits and "" not in splits


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """Rows of a task as read, with labels of any kind."""

    name: str  # Name of the task.
    file: LabelledFile  # Rows and their count.
    suite: str = ""  # Suite whose layout the folder has; empty: none.


def read_task(
    path: Path,
    *,
    columns: LabelColumns | None = None,
    missing: Missing = Missing.REFUSE,
    name: str | None = None,
    genome: NamedFile | None = None,
) -> Task:
    """Read the classes of one file.

    Args:
        path: Table or FASTA of any compression; `-` is standard input.
        columns: Columns of a table.
        missing: Treatment of rows without a label or a sequence.
        name: Name of the task; None: the name of the file.
        genome: FASTA file of the rows of a table with coordinates, or of BED.

    Raises:
        InputError: The file cannot be read as sequences of at least two classes.
        FastaError: The FASTA file is damaged.
    """
    if path.is_dir():
        raise InputError(
            f"`{path}` is a folder, not a table or FASTA file of one task",
            hint=f"name a file in it, or evaluate all its tasks: `--suite {path}`",
        )
    if genome is None:
        file = read_labelled(path, columns)
    else:
        file = read_labelled_regions(path, columns or LabelColumns(), genome)
    return class_task(TaskFile(name=name or task_name(path), file=file), missing, str(path))


def class_task(task_file: TaskFile, missing: Missing, display_name: str | None = None) -> Task:
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
    return Task(
        name=task_file.name,
        examples=file.examples,
        count=file.count,
        notes=file.notes,
        suite=task_file.suite,
    )


def special_sources(folders: Sequence[Path], prefixes: Sequence[str] = ()) -> list[TaskSource]:
    """Return the wanted tasks of folders that are variants or chains of genes."""
    return [
        source
        for folder in folders
        for source in task_sources(folder)
        if (source.variants or source.chains) and _is_wanted(source, prefixes)
    ]


def _is_wanted(source: TaskSource, prefixes: Sequence[str]) -> bool:
    return not prefixes or any(source.name.startswith(prefix) for prefix in prefixes)


def read_folder(
    folder: Path,
    prefixes: Sequence[str] = (),
    *,
    reporter: Reporter | None = None,
    has_genome: bool = False,
) -> Iterator[TaskFile]:
    """Read every task of a folder, one at a time in memory.

    Args:
        folder: Folder of any layout of `layouts`; tasks may be nested.
        prefixes: Prefixes of the names of the wanted tasks; empty: all tasks.
        reporter: Receives the tasks that are not evaluated, with the reason.
        has_genome: Labelled variants are evaluated elsewhere, and not reported.

    Raises:
        InputError: The folder holds no task, or none of the wanted tasks.
    """
    sources = list(task_sources(folder))
    selected = [source for source in sources if _is_wanted(source, prefixes)]
    elsewhere = [source for source in selected if has_genome and source.variants]
    unread = [source for source in selected if source.unread and source not in elsewhere]
    if not selected:
        names = ", ".join(f"`{source.name}`" for source in sources[:12])
        raise InputError(
            f"`{folder}` holds no task" + (" of that name" if sources else ""),
            hint=f"it holds {names}"
            if sources
            else "tables must be listed in its `INDEX.tsv`, or follow the layout of a suite: "
            "`genomeformer models --suites`",
        )
    if unread and len(unread) == len(selected):
        raise InputError(
            f"`{folder}` holds no task that is read: "
            + "; ".join(f"`{source.name}`: {source.unread}" for source in unread[:12]),
            hint="`genomeformer models --suites` names the tasks that are read",
        )
    for source in unread:
        if reporter is not None:
            reporter.warn(f"the task `{source.name}` is not evaluated: {source.unread}")
    for source in selected:
        if not source.unread:
            yield TaskFile(name=source.name, file=source.read(), suite=source.suite)


def read_suite(
    folder: Path,
    prefixes: Sequence[str] = (),
    *,
    missing: Missing = Missing.REFUSE,
    reporter: Reporter | None = None,
    has_genome: bool = False,
) -> Iterator[Task]:
    """Read the classes of every task of a folder as `read_folder` does.

    Raises:
        InputError: The folder holds no task, none of the wanted tasks, or a task without classes.
    """
    for task_file in read_folder(folder, prefixes, reporter=reporter, has_genome=has_genome):
        yield class_task(task_file, missing)
