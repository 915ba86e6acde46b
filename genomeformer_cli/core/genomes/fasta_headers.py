"""Headers of a FASTA file, including the organisms of a file with several genomes.

`genome.json` describes the file as a whole and has no organism for a file put together by a user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.formats.fasta import FastaReader


@dataclass(frozen=True, kw_only=True)
class DescribedRecord:
    """Header and length of a record."""

    id: str  # First word of the header.
    description: str  # Rest of the header.
    num_bases: int  # Number of letters.


def described_records(path: Path, *, display_name: str) -> Iterator[DescribedRecord]:
    """Yield the headers and lengths of all records of a file.

    Args:
        path: FASTA or FASTQ file, plain or compressed.
        display_name: Name of the file in errors.

    Raises:
        FastaError: The file is missing, empty, truncated, damaged, or not FASTA.
        AlphabetError: A character is not a nucleotide code.
    """
    record: DescribedRecord | None = None
    for block in FastaReader(path, display_name=display_name).blocks():
        start = 0
        for (stop, name), description in zip(block.starts, block.descriptions, strict=True):
            if record is not None:
                yield replace(record, num_bases=record.num_bases + stop - start)
            record = DescribedRecord(id=name, description=description, num_bases=0)
            start = stop
        if record is not None:
            record = replace(record, num_bases=record.num_bases + block.marked.size - start)
    if record is not None:
        yield record
