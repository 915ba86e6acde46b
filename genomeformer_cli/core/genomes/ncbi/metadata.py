"""What any source of metadata must answer: `Datasets` over REST, `Summaries` from files."""

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
    """A taxon that a user's word turned out to mean.

    Attributes:
        taxid: Its id now.
        name: Scientific name.
        rank: `species`, `genus`, ...; empty if unknown.
        merged_from: The id that was asked for, if it has been merged into this one.
    """

    taxid: int
    name: str
    rank: str = ""
    merged_from: int | None = None

    @property
    def label(self) -> str:
        """Name, rank and id, for people."""
        return f"{self.name} ({f'{self.rank}, ' if self.rank else ''}taxid {self.taxid})"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some answers of many.

    Attributes:
        assemblies: These.
        token: Asks for the next page; `None` on the last.
        total: How many there are in all, if the source says.
    """

    assemblies: tuple[Assembly, ...]
    token: str | None = None
    total: int | None = None


class Metadata(Protocol):
    """A source of metadata."""

    @property
    def name(self) -> str:
        """What to call it."""

    def resolve(self, text: str) -> Taxon:
        """The taxon of a name or id."""

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """Assemblies of taxa and all their descendants; more than `criteria` allow may come."""

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Assemblies by accession; unknown ones are left out without a word."""

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Accessions of taxa and all their descendants."""

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """For each taxid that is known, its ancestors, the highest first, itself last."""

    def directory(self, accession: str) -> str | None:
        """Where the files of an assembly lie, as the source says now."""


def taxon_at(lineage: Lineage, rank: str) -> int | None:
    """The id of a rank in a lineage."""
    return next((taxon.taxid for taxon in reversed(lineage) if taxon.rank == rank), None)


def read_taxon(text: str) -> int | str:
    """Return the taxid or the name that a word stands for, surplus blanks removed.

    Raises:
        UsageError: The word is empty.
        NothingMatchedError: No taxid is so large.
    """
    word = " ".join(text.split())
    if not word:
        raise UsageError("an empty name of a taxon", hint="give a name or a taxid")
    if not (word.isascii() and word.isdigit()):
        return word
    if len(word) > _MOST_DIGITS:
        raise NothingMatchedError(f"NCBI knows no taxid {word[:20]}", hint="look it up by its name")
    return int(word)


def choose(text: str, candidates: Sequence[Taxon], suggestions: Sequence[Taxon]) -> Taxon:
    """The one candidate.

    Raises:
        AmbiguousTaxonError: There are several.
        NothingMatchedError: There is none.
    """
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        shown = "; ".join(taxon.label for taxon in candidates[:_MAX_SHOWN])
        raise AmbiguousTaxonError(
            f"`{text}` is the name of {len(candidates)} taxa: {shown}",
            hint=f"give a taxid, as in `--taxon {candidates[0].taxid}`",
        )
    near = "; ".join(taxon.label for taxon in suggestions[:_MAX_SHOWN])
    hint = f"did you mean {near}" if near else "check the spelling, or give a taxid"
    raise NothingMatchedError(f"NCBI knows no taxon `{text}`", hint=hint)
