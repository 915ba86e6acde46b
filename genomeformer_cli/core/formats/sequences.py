"""Records of FASTA and FASTQ files as base codes, put together from blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.fasta import FastaReader, whole_records
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import SOFT_BIT, Codes

_BASE_BITS = np.uint8(SOFT_BIT - 1)


@dataclass(frozen=True, slots=True)
class Query:
    """One sequence to compute on.

    Attributes:
        id: First word of its header, or the name of its region.
        codes: Base codes (see `core.sequence`).
        problem: Reason why a region has no sequence; the codes are empty then.
    """

    id: str
    codes: Codes
    problem: str = ""


def read_sequences(
    path: Path, *, shown: str | None = None, reporter: Reporter | None = None
) -> Iterator[Query]:
    """Yield every record in order, one at a time in memory; empty ones too.

    Args:
        path: FASTA or FASTQ of any packing.
        shown: Name in errors; None: the path.
        reporter: Receives what reading changed, once all records were taken.

    Raises:
        FormatError: Missing, empty, truncated, damaged, not text, or not FASTA.
        AlphabetError: A record holds something that is not a nucleotide.
        MissingExtraError: The file is zstd, and `zstandard` is not installed.
    """
    reader = FastaReader(path, shown=shown)
    for name, _, marked in whole_records(reader):
        yield Query(name, marked & _BASE_BITS)
    if reporter is not None:
        reader.changes.report(reader.text.shown, reporter)
