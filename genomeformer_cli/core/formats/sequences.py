"""Records of FASTA and FASTQ files as base codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.fasta import FastaReader, whole_records
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import SOFT_BIT, Codes

_BASE_BITS = np.uint8(SOFT_BIT - 1)


@dataclass(frozen=True, slots=True)
class TileContext:
    """Stretch of a record in which a tile is read."""

    codes: Codes  # Base codes of the stretch, on the strand of the tile.
    start: int  # First base of the tile.
    stop: int  # End of the tile.


@dataclass(frozen=True, slots=True)
class Query:
    """Sequence to compute on."""

    id: str  # First word of the header, or name of the region.
    codes: Codes  # Base codes (see `core.sequence`).
    problem: str = ""  # Reason that a region has no sequence; empty codes.
    region: Region | None = None  # Place on a genome; None for a whole record.
    genome: int = 0  # Index of the source that holds the record.
    context: TileContext | None = None  # Bases around a tile that are read with it; None: none.


def query_regions(queries: Iterable[Query]) -> Iterator[Region]:
    """Yield the region of every query.

    Raises:
        ValueError: A query is a whole record, without a region.
    """
    for query in queries:
        if query.region is None:
            raise ValueError(f"`{query.id}` has no region")
        yield query.region


def read_sequences(
    path: Path, *, display_name: str | None = None, reporter: Reporter | None = None
) -> Iterator[Query]:
    """Yield every record in order, including empty ones, one at a time in memory.

    Args:
        path: FASTA or FASTQ file, plain or compressed.
        display_name: Name of the file in errors; the path by default.
        reporter: Receives the changes made while reading, after the last record.

    Raises:
        FormatError: The file is missing, empty, truncated, damaged, not text, or not FASTA.
        AlphabetError: A character is not a nucleotide code.
        MissingExtraError: The file is zstd, and `zstandard` is not installed.
    """
    reader = FastaReader(path, display_name=display_name)
    for name, _, marked in whole_records(reader):
        yield Query(name, marked & _BASE_BITS)
    if reporter is not None:
        reader.changes.report(reader.text.display_name, reporter)
