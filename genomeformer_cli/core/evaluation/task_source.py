"""Tasks of a folder before they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.formats.labelled import LabelledFile, RowCount

VARIANTS_REASON = "it holds labelled variants, which `evaluate` scores with `--genome FASTA`"
NO_ROWS = LabelledFile(examples=(), count=RowCount(read=0, used=0))


def read_nothing() -> LabelledFile:
    """Return no rows: the reader of a task that is not evaluated."""
    return NO_ROWS


@dataclass(frozen=True, kw_only=True)
class GeneChain:
    """Neighbouring genes of one contig; the labels are of its G genes and P = G - 1 pairs."""

    genome: str
    letters: tuple[str, ...]  # Each gene with the bases before it; empty outside of the contig.
    strands: tuple[bool | None, ...]  # True: the reverse strand; None: unknown.
    gaps: tuple[int, ...]  # Bases from the end of a gene to the start of the next one.
    is_operon: tuple[bool, ...]  # True for two genes of one operon.


@dataclass(frozen=True, kw_only=True)
class TaskSource:
    """Task of a folder, which `read` reads."""

    name: str  # Name of the task.
    read: Callable[[], LabelledFile] = read_nothing
    suite: str = ""  # Suite whose layout the folder has, as in `known_suites`; empty: none.
    unread: str = ""  # Reason for which the task is not evaluated; empty if it is.
    variants: Path | None = None  # Labelled variants, which are evaluated with their genome.
    # Reads chains of neighbouring genes, which are also compared without training.
    chains: Callable[[], tuple[GeneChain, ...]] | None = None


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
