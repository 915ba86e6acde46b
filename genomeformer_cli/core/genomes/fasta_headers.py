"""What the headers of a FASTA file say of its records: the organisms of a file of several genomes.

`genome.json` describes a file as a whole, and of one that a user put together it knows no organism.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.formats.fasta import FastaReader


@dataclass(frozen=True, kw_only=True)
class DescribedRecord:
    """A record.

    Attributes:
        id: First word of its header.
        description: The rest of it.
        num_bases: Letters of it.
    """

    id: str
    description: str
    num_bases: int


def described_records(path: Path, *, shown: str) -> Iterator[DescribedRecord]:
    """All records of a file, in order.

    Args:
        path: FASTA or FASTQ, plain or gzip'd.
        shown: The name used in errors.

    Raises:
        FastaError: Missing, empty, truncated, damaged, or not FASTA.
        AlphabetError: A record holds something that is no nucleotide.
    """
    record: DescribedRecord | None = None
    for block in FastaReader(path, shown=shown).blocks():
        done = 0
        for (at, name), description in zip(block.starts, block.descriptions, strict=True):
            if record is not None:
                yield replace(record, num_bases=record.num_bases + at - done)
            record = DescribedRecord(id=name, description=description, num_bases=0)
            done = at
        if record is not None:
            record = replace(record, num_bases=record.num_bases + block.marked.size - done)
    if record is not None:
        yield record
