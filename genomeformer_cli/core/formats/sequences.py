"""Query sequences: the records of a FASTA or FASTQ file of any packing, as base codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.compression import text_chunks
from genomeformer_cli.core.formats.fasta_blocks import BlockReader
from genomeformer_cli.core.sequence import SOFT_BIT, Codes

_BASE_BITS = np.uint8(SOFT_BIT - 1)


@dataclass(frozen=True, slots=True)
class Query:
    """One sequence to work on.

    Attributes:
        id: First word of its header, or what its region is called.
        codes: Base codes (see `core.sequence`).
        problem: Why it cannot be had, where a region names what is not there; its codes are empty.
    """

    id: str
    codes: Codes
    problem: str = ""


def read_queries(path: Path, *, shown: str | None = None) -> Iterator[Query]:
    """Every record, in order, one at a time in memory; empty ones too.

    Args:
        path: FASTA or FASTQ: plain, or gzip, bzip2, xz or zstd.
        shown: The name used in errors, if not the path.

    Raises:
        FastaError: Missing, empty, truncated, damaged, or not FASTA.
        AlphabetError: A record holds something that is no nucleotide.
        MissingExtraError: It is zstd, and `zstandard` is not installed.
    """
    name = shown or str(path)
    open_id: str | None = None
    parts: list[Codes] = []
    for block in BlockReader(path, shown=name, chunks=text_chunks(path, shown=name)).blocks():
        codes = block.marked & _BASE_BITS
        done = 0
        for at, next_id in block.starts:
            parts.append(codes[done:at])
            if open_id is not None:
                yield Query(open_id, _joined(parts))
            open_id, parts, done = next_id, [], at
        parts.append(codes[done:])
    if open_id is not None:
        yield Query(open_id, _joined(parts))


def _joined(parts: list[Codes]) -> Codes:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
