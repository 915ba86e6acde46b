"""NCBI Datasets v2 over REST: names to taxids, pages of reports. Metadata only, never bytes.

Answers are read leniently and judged strictly: an absent list is an empty one (`{}` means no
match), numbers may be strings, unknown accessions are dropped without a word, so callers compare
what they asked for with what came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from genomeformer_cli.core.documents import parse_json
from genomeformer_cli.core.errors import NothingMatchedError, RefusedError
from genomeformer_cli.core.genomes.genome import Ancestor, Lineage
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, from_report
from genomeformer_cli.core.genomes.ncbi.metadata import Page, Taxon, choose, read_taxon
from genomeformer_cli.core.genomes.ncbi.selection import Criteria
from genomeformer_cli.core.genomes.transport import Params, Transport

_PAGE = 1000
_TAXA_PER_CALL = 100
_FTP_LINK = "FTP_LINK"
_ROOT = 1
_UNKNOWN = (400, 404)
_RANKS = (
    *("acellular root", "superkingdom", "domain", "realm", "kingdom"),
    *("phylum", "class", "order", "family", "genus", "species"),
)


class Datasets:
    """The REST side of NCBI."""

    name = "NCBI Datasets"

    def __init__(self, transport: Transport, base_url: str) -> None:
        self._transport = transport
        self._base = base_url.rstrip("/")

    def _ask(
        self, path: str, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return self._transport.get(self._base + path, _read_object, params=params, body=body)

    def resolve(self, text: str) -> Taxon:
        """The taxon of a name or id.

        Raises:
            AmbiguousTaxonError: Several taxa have the name.
            NothingMatchedError: No taxon has it, or no genomes are known of it.
        """
        word = read_taxon(text)
        if isinstance(word, int):
            return self._resolve_id(word)
        with_genomes = self._suggest(word, genomes_only=True, exact=True)
        if with_genomes:
            return choose(word, with_genomes, ())
        known = self._suggest(word, genomes_only=False, exact=True)
        if len(known) == 1:
            raise NothingMatchedError(
                f"NCBI has no genomes of {known[0].label}", hint="try a higher taxon"
            )
        return choose(word, known, self._suggest(word, genomes_only=True, exact=False))

    def _resolve_id(self, taxid: int) -> Taxon:
        for report in self._taxonomy([taxid]) or self._taxonomy([taxid]):
            now = _int(report.get("tax_id"))
            secondary = {_int(value) for value in report.get("secondary_tax_ids") or []}
            if now is not None and (now == taxid or taxid in secondary or not secondary):
                name = (report.get("current_scientific_name") or {}).get("name")
                return Taxon(
                    taxid=now,
                    name=str(name or report.get("organism_name") or now),
                    rank=str(report.get("rank", "")).lower(),
                    merged_from=None if now == taxid else taxid,
                )
        raise NothingMatchedError(f"NCBI knows no taxid {taxid}", hint="look it up by its name")

    def _taxonomy(self, taxids: Sequence[int]) -> list[dict[str, Any]]:
        ids = ",".join(map(str, taxids))
        try:
            answer = self._ask(f"/taxonomy/taxon/{ids}/dataset_report", {"page_size": str(_PAGE)})
        except RefusedError as failure:
            if failure.status in _UNKNOWN:
                return []
            raise
        return [report.get("taxonomy") or {} for report in answer.get("reports") or []]

    def _suggest(self, word: str, *, genomes_only: bool, exact: bool) -> list[Taxon]:
        resource = "GENOME" if genomes_only else "ALL"
        params = {
            "tax_rank_filter": "higher_taxon",
            "taxon_resource_filter": f"TAXON_RESOURCE_FILTER_{resource}",
            "exact_match": "true" if exact else "false",
        }
        try:
            answer = self._ask(f"/taxonomy/taxon_suggest/{quote(word, safe='')}", params)
        except RefusedError as failure:
            if failure.status not in _UNKNOWN:
                raise
            raise _unknown_name(word) from failure
        hits = answer.get("sci_name_and_ids") or []
        if exact:
            hits = [hit for hit in hits if _names(hit) & {word.casefold()}] or hits
        found: dict[int, Taxon] = {}
        for hit in hits:
            taxid = _int(hit.get("tax_id"))
            if taxid is not None:
                name, rank = str(hit.get("sci_name", taxid)), str(hit.get("rank", "")).lower()
                found.setdefault(taxid, Taxon(taxid=taxid, name=name, rank=rank))
        return list(found.values())

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """A page of assemblies of taxa, filtered as far as the API can."""
        mag = {"only": True, "exclude": False}.get(criteria.mag)
        return _page(self._genomes(taxids, _filters(criteria), token), is_mag=mag)

    def _genomes(
        self, taxids: Sequence[int], filters: dict[str, str | list[str]], token: str | None
    ) -> dict[str, Any]:
        params: dict[str, Any] = {**filters, "page_size": str(_PAGE)}
        if token:
            params["page_token"] = token
        return self._ask(f"/genome/taxon/{','.join(map(str, taxids))}/dataset_report", params)

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Assemblies by accession, whatever their status."""
        body = {
            "accessions": list(accessions),
            "filters": {"assembly_version": "all_assemblies"},
            "page_size": _PAGE,
        }
        answer = self._ask("/genome/dataset_report", body=body)
        assemblies = list(_page(answer).assemblies)
        while token := answer.get("next_page_token"):
            answer = self._ask("/genome/dataset_report", body={**body, "page_token": token})
            assemblies += _page(answer).assemblies
        return Page(assemblies=tuple(assemblies))

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Accessions of taxa, page by page."""
        filters = {**_filters(criteria), "returned_content": "ASSM_ACC"}
        token: str | None = None
        while True:
            answer = self._genomes(taxids, filters, token)
            for report in answer.get("reports") or []:
                yield str(report.get("accession", ""))
            token = answer.get("next_page_token")
            if not token:
                return

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """For each taxid that is known, its ancestors."""
        found: dict[int, Lineage] = {}
        wanted = sorted(set(taxids))
        for first in range(0, len(wanted), _TAXA_PER_CALL):
            for report in self._taxonomy(wanted[first : first + _TAXA_PER_CALL]):
                lineage = _lineage(report)
                for value in [report.get("tax_id"), *(report.get("secondary_tax_ids") or [])]:
                    if (known := _int(value)) is not None:
                        found[known] = lineage
        return found

    def directory(self, accession: str) -> str | None:
        """The directory that the API links to."""
        try:
            answer = self._ask(
                f"/genome/accession/{accession}/links", {"assembly_link_types": _FTP_LINK}
            )
        except RefusedError:
            return None
        for link in answer.get("assembly_links") or []:
            if link.get("accession") == accession and link.get("assembly_link_type") == _FTP_LINK:
                address = link.get("resource_link")
                return str(address).rstrip("/") if address else None
        return None


def _read_object(content: bytes) -> dict[str, Any]:
    value: dict[str, Any] = parse_json(content, dict[str, Any], source="answer")
    if "error" in value and "code" in value:
        raise ValueError(str(value.get("message") or value["error"]))
    return value


def _unknown_name(word: str) -> NothingMatchedError:
    """Build the error for a name that NCBI does not take as a question."""
    if "/" in word:
        return NothingMatchedError(
            f"NCBI found no taxon by the name `{word}`: it cannot look up every name with `/`",
            hint="give the taxid, as in `--taxon 562`; NCBI's taxonomy browser finds it by name",
        )
    return NothingMatchedError(
        f"NCBI knows no taxon `{word}`", hint="check the spelling, or give a taxid"
    )


def _lineage(report: Mapping[str, Any]) -> Lineage:
    """Ancestors without a rank of the table first (the API gives their ids alone), then by rank."""
    named: dict[int, Ancestor] = {}
    for rank, node in (report.get("classification") or {}).items():
        taxid = _int(node.get("id")) if isinstance(node, dict) else None
        if taxid is not None:
            named[taxid] = Ancestor(taxid=taxid, name=str(node.get("name", "")), rank=rank.lower())
    ordered = sorted(named.values(), key=lambda taxon: _place(taxon.rank))
    parents = [_int(value) for value in report.get("parents") or []]
    plain = [Ancestor(taxid=p) for p in parents if p is not None and p != _ROOT and p not in named]
    own = _int(report.get("tax_id"))
    if own is not None and own not in named:
        name = (report.get("current_scientific_name") or {}).get("name")
        rank = str(report.get("rank", "")).lower()
        ordered.append(Ancestor(taxid=own, name=str(name or ""), rank=rank))
    return (*plain, *ordered)


def _place(rank: str) -> int:
    return _RANKS.index(rank) if rank in _RANKS else 0


def _int(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() else None


def _names(hit: Mapping[str, Any]) -> set[str]:
    keys = ("sci_name", "common_name", "matched_term")
    return {str(hit[key]).casefold() for key in keys if hit.get(key)}


def _page(answer: Mapping[str, Any], *, is_mag: bool | None = None) -> Page:
    assemblies: list[Assembly] = []
    for report in answer.get("reports") or []:
        try:
            assemblies.append(from_report(report, is_mag=is_mag))
        except ValueError:
            continue
    return Page(
        assemblies=tuple(assemblies),
        token=answer.get("next_page_token") or None,
        total=_int(answer.get("total_count")),
    )


def _filters(criteria: Criteria) -> dict[str, str | list[str]]:
    filters: dict[str, str | list[str]] = {"filters.assembly_version": "current"}
    if criteria.source == "both":
        filters["filters.exclude_paired_reports"] = "true"
    else:
        filters["filters.assembly_source"] = criteria.source
    if criteria.levels:
        filters["filters.assembly_level"] = [level.filter_word for level in criteria.levels]
    if criteria.mag != "include":
        filters["filters.is_metagenome_derived"] = f"metagenome_derived_{criteria.mag}"
    flags = {
        "filters.reference_only": criteria.reference,
        "filters.is_type_material": criteria.type_material,
        "filters.exclude_atypical": criteria.exclude_atypical,
    }
    filters.update({name: "true" for name, wanted in flags.items() if wanted})
    dates = {
        "filters.first_release_date": criteria.released_after,
        "filters.last_release_date": criteria.released_before,
    }
    filters.update({name: date for name, date in dates.items() if date})
    return filters
