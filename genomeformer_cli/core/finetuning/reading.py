"""Read the labelled sequences of one task: a file, or one task of a folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import read_folder
from genomeformer_cli.core.finetuning.dataset import LabelledTable
from genomeformer_cli.core.formats.labelled import (
    LabelColumns,
    LabelledFile,
    read_labelled,
    task_name,
)
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.genomes.labelled_regions import read_labelled_regions


def read_task_table(
    data: Path,
    columns: LabelColumns,
    *,
    prefix: str | None = None,
    genome: NamedFile | None = None,
) -> LabelledTable:
    """Read the table of a file or folder.

    Args:
        data: Table or FASTA of any compression, `-` for standard input, or a folder of tasks.
        columns: Columns of a table.
        prefix: Prefix of the name of the task of a folder.
        genome: FASTA file of the rows of a table with coordinates, or of BED.

    Raises:
        InputError: The data cannot be read as labelled sequences, or is a folder of several tasks.
        FastaError: The FASTA file is damaged.
    """
    if not data.is_dir():
        read = read_labelled if genome is None else partial(read_labelled_regions, genome=genome)
        return _make_table(task_name(data), read(data, columns), columns)
    if genome is not None:
        raise InputError(
            f"`--genome` is an option of one table, and `{data}` is a folder",
            hint="give the task's own file, or place the genome in the folder",
        )
    if columns != LabelColumns():
        raise InputError(
            "`--target`, `--group` and `--sequence-column` are options of one table, and "
            f"`{data}` is a folder",
            hint="give the task's own file",
        )
    tasks = read_folder(data, (prefix,) if prefix else ())
    first = next(tasks)
    second = next(tasks, None)
    if second is not None:
        raise InputError(
            f"`{data}` holds several tasks, such as `{first.name}` and `{second.name}`",
            hint="name one with `--only`",
        )
    return _make_table(first.name, first.file, columns)


def _make_table(name: str, file: LabelledFile, columns: LabelColumns) -> LabelledTable:
    return LabelledTable(
        name=name,
        examples=file.examples,
        columns=columns.labels,
        count=file.count,
        notes=file.notes,
    )
