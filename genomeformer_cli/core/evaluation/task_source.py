"""Tasks of a folder before they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genomeformer_cli.core.formats.labelled import LabelledFile, RowCount

NO_ROWS = LabelledFile(examples=(), count=RowCount(read=0, used=0))


def read_nothing() -> LabelledFile:
    """Return no rows: the reader of a task that is not evaluated."""
    return NO_ROWS


@dataclass(frozen=True, kw_only=True)
class TaskSource:
    """Task of a folder, which `read` reads."""

    name: str  # Name of the task.
    read: Callable[[], LabelledFile] = read_nothing
    suite: str = ""  # Suite whose layout the folder has, as in `known_suites`; empty: none.
    unread: str = ""  # Reason for which the task is not evaluated; empty if it is.


def concatenate(files: Sequence[LabelledFile]) -> LabelledFile:
    """Return the rows of several files as of one."""
    count = RowCount(read=0, used=0)
    for file in files:
        count = count.plus(file.count)
    return LabelledFile(
        examples=tuple(example for file in files for example in file.examples),
        count=count,
        notes=tuple(note for file in files for note in file.notes),
    )
