"""Events of a fetch."""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.reporting import Event


@dataclass(frozen=True, kw_only=True)
class GenomeFetched(Event):
    """A genome was installed, or failed.

    Attributes:
        accession: Accession of the assembly.
        organism: Scientific name of the organism.
        num_bytes: Number of bytes downloaded; 0 if the genome was cached.
        reason: Message of the error, or None.
    """

    accession: str
    organism: str
    num_bytes: int = 0
    reason: str | None = None
