"""Protocol of metadata sources: `Datasets` over REST, `Summaries` from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from genomeformer_cli.core.errors import AmbiguousTaxonError, NothingMatchedError, UsageError
from genomeformer_cli.core.genomes.genome import Lineage
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly
from genomeformer_cli.core.genomes.ncbi.selection import Criteria

_MAX_SHOWN = 10
_MOST_DIGITS = 10


@dataclass(frozen=True, kw_only=True)
class Taxon:
    """Taxon resolved from a name or taxid."""

    taxid: int  # Current taxid.
    name: str  # Scientific name.
    rank: str = ""  # `species`, `genus`, ...; empty if unknown.
    merged_from: int | None = None  # Requested taxid, if it has been merged into `taxid`.

    @property
    def label(self) -> str:
        """Name, rank and taxid, as shown to the user."""
        return f"{self.name} ({f'{self.rank}, ' if self.rank else ''}taxid {self.taxid})"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a listing."""

    assemblies: tuple[Assembly, ...]  # Assemblies of the page.
    token: str | None = None  # Token of the next page; None on the last.
    total: int | None = None  # Number of assemblies on all pages, if known.


class Metadata(Protocol):
    """Source of metadata."""

    @property
    def name(self) -> str:
        """Name of the source, as shown to the user."""

    def resolve(self, text: str) -> Taxon:
        """Return the taxon of a name or taxid."""

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """Return assemblies of taxa and their descendants; `criteria` may be applied in part."""

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Return assemblies by accession; unknown accessions are omitted."""

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Yield the accessions of taxa and their descendants."""

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """Return the lineage of every known taxid, from the highest ancestor to the taxon."""

    def directory(self, accession: str) -> str | None:
        """Return the current directory of an assembly's files."""


def taxon_at(lineage: Lineage, rank: str) -> int | None:
    """Return the taxid of a rank in a lineage."""
    return next((taxon.taxid for taxon in reversed(lineage) if taxon.rank == rank), None)


def read_taxon(text: str) -> int | str:
    """Return a taxid as int, or a name with whitespace normalised.

    Raises:
        UsageError: The text is empty.
        NothingMatchedError: The taxid is too large.
    """
    name = " ".join(text.split())
    if not name:
        raise UsageError("empty taxon name", hint="give a name or a taxid")
    if not (name.isascii() and name.isdigit()):
        return name
    if len(name) > _MOST_DIGITS:
        raise NothingMatchedError(f"NCBI has no taxid {name[:20]}", hint="look it up by its name")
    return int(name)


def choose(text: str, candidates: Sequence[Taxon], suggestions: Sequence[Taxon]) -> Taxon:
    """Return the only candidate.

    Raises:
        AmbiguousTaxonError: There are several candidates.
        NothingMatchedError: There is no candidate.
    """
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        labels = "; ".join(taxon.label for taxon in candidates[:_MAX_SHOWN])
        raise AmbiguousTaxonError(
            f"`{text}` is the name of {len(candidates)} taxa: {labels}",
            hint=f"give a taxid, as in `--taxon {candidates[0].taxid}`",
        )
    suggested = "; ".join(taxon.label for taxon in suggestions[:_MAX_SHOWN])
    hint = f"did you mean {suggested}" if suggested else "check the spelling, or give a taxid"
    raise NothingMatchedError(f"NCBI has no taxon `{text}`", hint=hint)
