"""Resolve a query to the assemblies that match it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from genomeformer_cli.core.errors import NothingMatchedError
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, check_accession, version_of
from genomeformer_cli.core.genomes.ncbi.catalogue import Catalogue, FetchPage
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata, Page, Taxon, taxon_at
from genomeformer_cli.core.genomes.ncbi.query_dir import AssemblyQuery, Failure, QueryDir
from genomeformer_cli.core.genomes.ncbi.selection import Selection, keep_best, keep_first, select
from genomeformer_cli.core.reporting import Reporter

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Assemblies that match a query.

    Attributes:
        left_out: Number of assemblies excluded by each filter.
    """

    assemblies: tuple[Assembly, ...] = ()  # Assemblies, best first.
    failures: tuple[Failure, ...] = ()  # Named accessions that do not exist.
    excluded: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuerySource:
    """Metadata source with its local cache."""

    metadata: Metadata  # Source of the metadata.
    folder: QueryDir  # Stored results of earlier queries.
    reporter: Reporter  # Receives progress and warnings.
    offline: bool = False  # Use stored results only.
    refresh: bool = False  # Repeat the query, however recent the stored result.

    def listing(self, parameters: object, fetch_page: FetchPage) -> list[Assembly]:
        """Return the complete listing of a query."""
        catalogue = Catalogue(self.folder.catalogue(parameters))
        if not self.offline or catalogue.age() is None:
            catalogue.fill(fetch_page, refresh=self.refresh, reporter=self.reporter)
        return list(catalogue.assemblies())


def match_assemblies(query: AssemblyQuery, source: QuerySource) -> Matches:
    """List the assemblies and select those that match the query.

    Raises:
        NothingMatchedError: No assembly matches.
    """
    matches: dict[str, Assembly] = {}
    excluded: dict[str, int] = {}
    if query.taxa:
        selection = _of_taxa(query, source)
        matches.update((assembly.accession, assembly) for assembly in selection.assemblies)
        excluded = selection.excluded
    failures: tuple[Failure, ...] = ()
    if query.accessions:
        assemblies, failures = _of_accessions(query.accessions, source)
        matches.update((assembly.accession, assembly) for assembly in assemblies)
    if not matches:
        raise _no_match_error(query, excluded)
    return Matches(assemblies=tuple(matches.values()), failures=failures, excluded=excluded)


def _no_match_error(query: AssemblyQuery, excluded: dict[str, int]) -> NothingMatchedError:
    if not query.taxa:
        return NothingMatchedError(
            "NCBI has none of the accessions", hint="check them; an example is `GCF_000005845.2`"
        )
    if not excluded:
        return NothingMatchedError(
            "NCBI lists no such assemblies", hint="loosen the filters, or try `--source both`"
        )
    reasons = ", ".join(f"{number} by {name}" for name, number in excluded.items())
    return NothingMatchedError(f"every assembly was left out: {reasons}", hint="loosen the filters")


def _of_taxa(query: AssemblyQuery, source: QuerySource) -> Selection:
    taxids, excluded_taxids = _resolve(query, source)
    criteria, metadata = query.criteria, source.metadata

    def fetch_page(token: str | None) -> Page:
        return metadata.page(taxids, criteria, token)

    listing = source.listing({"taxids": taxids, "criteria": asdict(criteria)}, fetch_page)
    excluded: frozenset[str] = frozenset()
    if excluded_taxids and listing:
        excluded = _members(excluded_taxids, query, source)
    selection = select(listing, criteria, excluded_accessions=excluded)
    if query.top_per is not None and selection.assemblies:
        rank = query.top_per.rank
        unknown = {a.taxid for a in selection.assemblies if rank != "species" or a.species is None}
        lineages = metadata.lineages(unknown) if unknown and rank != "taxid" else {}

        def taxon_of(assembly: Assembly, rank: str) -> int | None:
            if rank == "species" and assembly.species is not None:
                return assembly.species
            return taxon_at(lineages.get(assembly.taxid, ()), rank)

        selection = keep_best(selection, query.top_per, taxon_of)
    return selection if query.limit is None else keep_first(selection, query.limit)


def _members(taxids: Sequence[int], query: AssemblyQuery, source: QuerySource) -> frozenset[str]:
    """Return the accessions of excluded taxa, cached as a separate listing."""
    criteria, metadata = query.criteria, source.metadata

    def fetch_page(token: str | None) -> Page:
        del token
        return Page(assemblies=tuple(map(_bare, metadata.members(taxids, criteria))))

    parameters = {"members": list(taxids), "criteria": asdict(criteria)}
    return frozenset(assembly.accession for assembly in source.listing(parameters, fetch_page))


def _bare(accession: str) -> Assembly:
    return Assembly(accession=accession, taxid=0, organism="", name="", level="contig")


def _resolve(query: AssemblyQuery, source: QuerySource) -> tuple[list[int], list[int]]:
    stored = source.folder.read_taxa()
    taxa: dict[str, Taxon] = {}
    for name in (*query.taxa, *query.exclude_taxa):
        if name in stored and not source.refresh:
            taxa[name] = stored[name]
            continue
        taxa[name] = taxon = source.metadata.resolve(name)
        if taxon.merged_from is not None:
            source.reporter.warn(f"taxid {taxon.merged_from} has been merged into {taxon.label}")
        else:
            source.reporter.note(f"`{name}` is {taxon.label}")
    source.folder.write_taxa(taxa)
    taxids = dict.fromkeys(taxa[name].taxid for name in query.taxa)
    return sorted(taxids), sorted({taxa[name].taxid for name in query.exclude_taxa})


def _of_accessions(
    accessions: Sequence[str], source: QuerySource
) -> tuple[list[Assembly], tuple[Failure, ...]]:
    unique = sorted({check_accession(accession) for accession in accessions})
    batches = [unique[first : first + _BATCH] for first in range(0, len(unique), _BATCH)]

    def fetch_page(token: str | None) -> Page:
        number = int(token or 0)
        page = source.metadata.page_of(batches[number])
        following = str(number + 1) if number + 1 < len(batches) else None
        return Page(assemblies=page.assemblies, token=following)

    by_accession = {a.accession: a for a in source.listing({"accessions": unique}, fetch_page)}
    newest: dict[str, Assembly] = {}
    for assembly in by_accession.values():
        previous = newest.get(assembly.base)
        if previous is None or version_of(assembly.accession) > version_of(previous.accession):
            newest[assembly.base] = assembly
    matches: dict[str, Assembly] = {}
    failures = []
    for accession in unique:
        match = by_accession.get(accession) if version_of(accession) else newest.get(accession)
        if match is None:
            failures.append(Failure(accession=accession, reason="NCBI has no such assembly"))
            continue
        matches[match.accession] = match
        if match.status != "current":
            later = f"; {match.current} took its place" if match.current else ""
            source.reporter.warn(f"{match.accession} is {match.status}{later}")
    return list(matches.values()), tuple(failures)
