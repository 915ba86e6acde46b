"""Read the labelled sequences of one task: a file, or one task of a folder."""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import read_folder
from genomeformer_cli.core.finetuning.dataset import Table
from genomeformer_cli.core.formats.labelled import (
    LabelColumns,
    LabelledFile,
    read_labelled,
    task_name,
)


def read_table_of(data: Path, columns: LabelColumns, *, only: str | None = None) -> Table:
    """Read the table of a file or folder.

    Args:
        data: Table or FASTA of any packing, `-` for standard input, or a folder of tasks.
        columns: Columns of a table.
        only: Beginning of the name of the task of a folder.

    Raises:
        InputError: It cannot be read as labelled sequences, or is a folder of several tasks.
        FastaError: It is damaged FASTA.
    """
    if not data.is_dir():
        return _table(task_name(data), read_labelled(data, columns), columns)
    if columns != LabelColumns():
        raise InputError(
            "`--target`, `--group` and `--sequence-column` are options of one table, and "
            f"`{data}` is a folder",
            hint="give the task's own file",
        )
    tasks = read_folder(data, (only,) if only else ())
    first = next(tasks)
    other = next(tasks, None)
    if other is not None:
        raise InputError(
            f"`{data}` holds several tasks, such as `{first.name}` and `{other.name}`",
            hint="name one with `--only`",
        )
    return _table(first.name, first.file, columns)


def _table(name: str, file: LabelledFile, columns: LabelColumns) -> Table:
    return Table(
        name=name,
        examples=file.examples,
        columns=columns.labels,
        count=file.count,
        notes=file.notes,
    )
