"""What a fetch tells a reporter as it goes."""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.reporting import Event


@dataclass(frozen=True, kw_only=True)
class GenomeFetched(Event):
    """A genome has come in, or could not.

    Attributes:
        accession: Which.
        organism: Whose.
        num_bytes: Bytes that came; 0 if it was there.
        reason: Why it could not be had; `None` if it could.
    """

    accession: str
    organism: str
    num_bytes: int = 0
    reason: str | None = None
