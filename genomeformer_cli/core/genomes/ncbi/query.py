"""From what the user named to the assemblies that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from genomeformer_cli.core.errors import NothingMatchedError
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, check_accession, version_of
from genomeformer_cli.core.genomes.ncbi.catalogue import AskPage, Catalogue
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata, Page, Taxon, taxon_at
from genomeformer_cli.core.genomes.ncbi.query_dir import AssemblyQuery, Failure, QueryDir
from genomeformer_cli.core.genomes.ncbi.selection import Selection, keep_best, keep_first, select
from genomeformer_cli.core.reporting import Reporter

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The assemblies that are wanted.

    Attributes:
        assemblies: These, best first.
        failures: What was named and does not exist.
        left_out: Assemblies that each filter left out.
    """

    assemblies: tuple[Assembly, ...] = ()
    failures: tuple[Failure, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuerySource:
    """Whom to ask, and how.

    Attributes:
        metadata: Whom.
        folder: What is remembered of the question.
        reporter: Follows the work.
        offline: Ask nobody but what is remembered.
        refresh: Ask again, however fresh the last answer.
    """

    metadata: Metadata
    folder: QueryDir
    reporter: Reporter
    offline: bool = False
    refresh: bool = False

    def listing(self, question: object, ask: AskPage) -> list[Assembly]:
        """The complete listing of a question."""
        catalogue = Catalogue(self.folder.catalogue(question))
        if not self.offline or catalogue.age() is None:
            catalogue.fill(ask, refresh=self.refresh, reporter=self.reporter)
        return list(catalogue.assemblies())


def match_assemblies(inquiry: AssemblyQuery, source: QuerySource) -> Matches:
    """List what there is and choose what is wanted.

    Raises:
        NothingMatchedError: Nothing is.
    """
    chosen: dict[str, Assembly] = {}
    left_out: dict[str, int] = {}
    if inquiry.taxa:
        selection = _of_taxa(inquiry, source)
        chosen.update((assembly.accession, assembly) for assembly in selection.chosen)
        left_out = selection.left_out
    failures: tuple[Failure, ...] = ()
    if inquiry.accessions:
        named, failures = _of_accessions(inquiry.accessions, source)
        chosen.update((assembly.accession, assembly) for assembly in named)
    if not chosen:
        raise _nothing(inquiry, left_out)
    return Matches(assemblies=tuple(chosen.values()), failures=failures, left_out=left_out)


def _nothing(inquiry: AssemblyQuery, left_out: dict[str, int]) -> NothingMatchedError:
    if not inquiry.taxa:
        return NothingMatchedError(
            "NCBI knows none of the accessions", hint="check them; one looks like `GCF_000005845.2`"
        )
    if not left_out:
        return NothingMatchedError(
            "NCBI lists no such assemblies", hint="loosen the filters, or try `--source both`"
        )
    counted = ", ".join(f"{number} by {name}" for name, number in left_out.items())
    return NothingMatchedError(f"every assembly was left out: {counted}", hint="loosen the filters")


def _of_taxa(inquiry: AssemblyQuery, source: QuerySource) -> Selection:
    taxids, excluded_taxids = _resolve(inquiry, source)
    criteria, metadata = inquiry.criteria, source.metadata

    def ask(token: str | None) -> Page:
        return metadata.page(taxids, criteria, token)

    listed = source.listing({"taxids": taxids, "criteria": asdict(criteria)}, ask)
    excluded: frozenset[str] = frozenset()
    if excluded_taxids and listed:
        excluded = _members(excluded_taxids, inquiry, source)
    selection = select(listed, criteria, excluded=excluded)
    if inquiry.top_per is not None and selection.chosen:
        rank = inquiry.top_per.rank
        unknown = {a.taxid for a in selection.chosen if rank != "species" or a.species is None}
        lineages = metadata.lineages(unknown) if unknown and rank != "taxid" else {}

        def taxon_of(assembly: Assembly, rank: str) -> int | None:
            if rank == "species" and assembly.species is not None:
                return assembly.species
            return taxon_at(lineages.get(assembly.taxid, ()), rank)

        selection = keep_best(selection, inquiry.top_per, taxon_of)
    return selection if inquiry.limit is None else keep_first(selection, inquiry.limit)


def _members(taxids: Sequence[int], inquiry: AssemblyQuery, source: QuerySource) -> frozenset[str]:
    """Accessions of excluded taxa, remembered as a listing of their own."""
    criteria, metadata = inquiry.criteria, source.metadata

    def ask(token: str | None) -> Page:
        del token
        return Page(assemblies=tuple(map(_bare, metadata.members(taxids, criteria))))

    question = {"members": list(taxids), "criteria": asdict(criteria)}
    return frozenset(assembly.accession for assembly in source.listing(question, ask))


def _bare(accession: str) -> Assembly:
    return Assembly(accession=accession, taxid=0, organism="", name="", level="contig")


def _resolve(inquiry: AssemblyQuery, source: QuerySource) -> tuple[list[int], list[int]]:
    remembered = source.folder.read_taxa()
    found: dict[str, Taxon] = {}
    for word in (*inquiry.taxa, *inquiry.exclude_taxa):
        if word in remembered and not source.refresh:
            found[word] = remembered[word]
            continue
        found[word] = taxon = source.metadata.resolve(word)
        if taxon.merged_from is not None:
            source.reporter.warn(f"taxid {taxon.merged_from} has been merged into {taxon.label}")
        else:
            source.reporter.note(f"`{word}` is {taxon.label}")
    source.folder.write_taxa(found)
    wanted = dict.fromkeys(found[word].taxid for word in inquiry.taxa)
    return sorted(wanted), sorted({found[word].taxid for word in inquiry.exclude_taxa})


def _of_accessions(
    words: Sequence[str], source: QuerySource
) -> tuple[list[Assembly], tuple[Failure, ...]]:
    wanted = sorted({check_accession(word) for word in words})
    batches = [wanted[first : first + _BATCH] for first in range(0, len(wanted), _BATCH)]

    def ask(token: str | None) -> Page:
        number = int(token or 0)
        page = source.metadata.page_of(batches[number])
        following = str(number + 1) if number + 1 < len(batches) else None
        return Page(assemblies=page.assemblies, token=following)

    listed = {a.accession: a for a in source.listing({"accessions": wanted}, ask)}
    newest: dict[str, Assembly] = {}
    for assembly in listed.values():
        known = newest.get(assembly.base)
        if known is None or version_of(assembly.accession) > version_of(known.accession):
            newest[assembly.base] = assembly
    named: dict[str, Assembly] = {}
    failures = []
    for word in wanted:
        found = listed.get(word) if version_of(word) else newest.get(word)
        if found is None:
            failures.append(Failure(accession=word, reason="NCBI knows no such assembly"))
            continue
        named[found.accession] = found
        if found.status != "current":
            later = f"; {found.current} took its place" if found.current else ""
            source.reporter.warn(f"{found.accession} is {found.status}{later}")
    return list(named.values()), tuple(failures)
