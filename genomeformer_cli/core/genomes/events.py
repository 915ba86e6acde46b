"""Events of a fetch."""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.reporting import Event


@dataclass(frozen=True, kw_only=True)
class GenomeFetched(Event):
    """A genome was installed, or failed."""

    accession: str  # Accession of the assembly.
    organism: str  # Scientific name of the organism.
    num_bytes: int = 0  # Number of bytes downloaded; 0 if the genome was cached.
    reason: str | None = None  # Message of the error, or None.
