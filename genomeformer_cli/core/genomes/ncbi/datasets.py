"""NCBI Datasets v2 over REST: names to taxids, pages of reports. Metadata only.

Responses are parsed leniently: an absent list is an empty one (`{}` means no match) and numbers may
be strings. The API drops unknown accessions silently, so callers compare the request with the
response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import quote

from genomeformer_cli.core.documents import convert, parse_json
from genomeformer_cli.core.errors import NothingMatchedError, RefusedError
from genomeformer_cli.core.genomes.genome import Ancestor, Lineage
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, from_report, read_integer
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


class _Answer(TypedDict, total=False):
    reports: list[dict[str, Any]] | None
    next_page_token: str | None
    total_count: Any
    sci_name_and_ids: list[dict[str, Any]] | None
    assembly_links: list[dict[str, Any]] | None


class _Taxonomy(TypedDict, total=False):
    tax_id: Any
    organism_name: Any
    rank: Any
    secondary_tax_ids: list[Any] | None
    current_scientific_name: dict[str, Any] | None
    classification: dict[str, Any] | None
    parents: list[Any] | None


class _TaxonReport(TypedDict, total=False):
    taxonomy: _Taxonomy | None


class _TaxonomyAnswer(TypedDict, total=False):
    reports: list[_TaxonReport] | None


class Datasets:
    """Metadata from the REST API of NCBI."""

    name = "NCBI Datasets"

    def __init__(self, transport: Transport, base_url: str) -> None:
        self._transport = transport
        self._base = base_url.rstrip("/")

    def _request(
        self, path: str, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> _Answer:
        return self._transport.get(self._base + path, _read_answer, params=params, body=body)

    def resolve(self, text: str) -> Taxon:
        """Return the taxon of a name or taxid.

        Raises:
            AmbiguousTaxonError: The name belongs to several taxa.
            NothingMatchedError: The taxon is unknown or has no genomes.
        """
        name = read_taxon(text)
        if isinstance(name, int):
            return self._resolve_id(name)
        with_genomes = self._suggest(name, genomes_only=True, exact=True)
        if with_genomes:
            return choose(name, with_genomes, ())
        taxa = self._suggest(name, genomes_only=False, exact=True)
        if len(taxa) == 1:
            raise NothingMatchedError(
                f"NCBI has no genomes of {taxa[0].label}", hint="try a higher taxon"
            )
        return choose(name, taxa, self._suggest(name, genomes_only=True, exact=False))

    def _resolve_id(self, taxid: int) -> Taxon:
        for report in self._taxonomy([taxid]) or self._taxonomy([taxid]):
            current = read_integer(report.get("tax_id"))
            secondary = {read_integer(value) for value in report.get("secondary_tax_ids") or []}
            if current is not None and (current == taxid or taxid in secondary or not secondary):
                name = (report.get("current_scientific_name") or {}).get("name")
                return Taxon(
                    taxid=current,
                    name=str(name or report.get("organism_name") or current),
                    rank=str(report.get("rank", "")).lower(),
                    merged_from=None if current == taxid else taxid,
                )
        raise NothingMatchedError(f"NCBI has no taxid {taxid}", hint="look it up by its name")

    def _taxonomy(self, taxids: Sequence[int]) -> list[_Taxonomy]:
        ids = ",".join(map(str, taxids))
        try:
            response = self._transport.get(
                f"{self._base}/taxonomy/taxon/{ids}/dataset_report",
                _read_taxonomy,
                params={"page_size": str(_PAGE)},
            )
        except RefusedError as failure:
            if failure.status in _UNKNOWN:
                return []
            raise
        return [report.get("taxonomy") or {} for report in response.get("reports") or []]

    def _suggest(self, name: str, *, genomes_only: bool, exact: bool) -> list[Taxon]:
        resource = "GENOME" if genomes_only else "ALL"
        params = {
            "tax_rank_filter": "higher_taxon",
            "taxon_resource_filter": f"TAXON_RESOURCE_FILTER_{resource}",
            "exact_match": "true" if exact else "false",
        }
        try:
            response = self._request(f"/taxonomy/taxon_suggest/{quote(name, safe='')}", params)
        except RefusedError as failure:
            if failure.status not in _UNKNOWN:
                raise
            raise _unknown_name(name) from failure
        hits = response.get("sci_name_and_ids") or []
        if exact:
            hits = [hit for hit in hits if _names_of(hit) & {name.casefold()}] or hits
        taxa: dict[int, Taxon] = {}
        for hit in hits:
            taxid = read_integer(hit.get("tax_id"))
            if taxid is not None:
                label, rank = str(hit.get("sci_name", taxid)), str(hit.get("rank", "")).lower()
                taxa.setdefault(taxid, Taxon(taxid=taxid, name=label, rank=rank))
        return list(taxa.values())

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """Return a page of assemblies of taxa, filtered as far as the API can."""
        mag = {"only": True, "exclude": False}.get(criteria.mag)
        return _page(self._genomes(taxids, _filters(criteria), token), is_mag=mag)

    def _genomes(
        self, taxids: Sequence[int], filters: dict[str, str | list[str]], token: str | None
    ) -> _Answer:
        params: dict[str, Any] = {**filters, "page_size": str(_PAGE)}
        if token:
            params["page_token"] = token
        return self._request(f"/genome/taxon/{','.join(map(str, taxids))}/dataset_report", params)

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Return assemblies by accession, whatever their status."""
        body = {
            "accessions": list(accessions),
            "filters": {"assembly_version": "all_assemblies"},
            "page_size": _PAGE,
        }
        response = self._request("/genome/dataset_report", body=body)
        assemblies = list(_page(response).assemblies)
        while token := response.get("next_page_token"):
            response = self._request("/genome/dataset_report", body={**body, "page_token": token})
            assemblies += _page(response).assemblies
        return Page(assemblies=tuple(assemblies))

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Yield the accessions of taxa, page by page."""
        filters = {**_filters(criteria), "returned_content": "ASSM_ACC"}
        token: str | None = None
        while True:
            response = self._genomes(taxids, filters, token)
            for report in response.get("reports") or []:
                yield str(report.get("accession", ""))
            token = response.get("next_page_token")
            if not token:
                return

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """Return the ancestors of every known taxid."""
        lineages: dict[int, Lineage] = {}
        unique = sorted(set(taxids))
        for first in range(0, len(unique), _TAXA_PER_CALL):
            for report in self._taxonomy(unique[first : first + _TAXA_PER_CALL]):
                lineage = _lineage(report)
                for value in [report.get("tax_id"), *(report.get("secondary_tax_ids") or [])]:
                    if (taxid := read_integer(value)) is not None:
                        lineages[taxid] = lineage
        return lineages

    def directory(self, accession: str) -> str | None:
        """Return the directory that the API links to."""
        try:
            response = self._request(
                f"/genome/accession/{accession}/links", {"assembly_link_types": _FTP_LINK}
            )
        except RefusedError:
            return None
        for link in response.get("assembly_links") or []:
            if link.get("accession") == accession and link.get("assembly_link_type") == _FTP_LINK:
                url = link.get("resource_link")
                return str(url).rstrip("/") if url else None
        return None


def _read_object(content: bytes, kind: Any) -> Any:
    value: dict[str, Any] = parse_json(content, dict[str, Any], source="answer")
    if "error" in value and "code" in value:
        raise ValueError(str(value.get("message") or value["error"]))
    return convert(value, kind, source="answer")


def _read_answer(content: bytes) -> _Answer:
    answer: _Answer = _read_object(content, _Answer)
    return answer


def _read_taxonomy(content: bytes) -> _TaxonomyAnswer:
    answer: _TaxonomyAnswer = _read_object(content, _TaxonomyAnswer)
    return answer


def _unknown_name(name: str) -> NothingMatchedError:
    """Build the error for a name that the API rejects."""
    if "/" in name:
        return NothingMatchedError(
            f"NCBI found no taxon by the name `{name}`: it cannot look up every name with `/`",
            hint="give the taxid, as in `--taxon 562`; NCBI's taxonomy browser finds it by name",
        )
    return NothingMatchedError(
        f"NCBI has no taxon `{name}`", hint="check the spelling, or give a taxid"
    )


def _lineage(report: _Taxonomy) -> Lineage:
    """Order the ancestors: unranked ones first (the API gives only their ids), then by rank."""
    ancestors: dict[int, Ancestor] = {}
    for rank, node in (report.get("classification") or {}).items():
        taxid = read_integer(node.get("id")) if isinstance(node, dict) else None
        if taxid is not None:
            ancestors[taxid] = Ancestor(
                taxid=taxid, name=str(node.get("name", "")), rank=rank.lower()
            )
    ranked = sorted(ancestors.values(), key=lambda taxon: _rank_index(taxon.rank))
    parents = [read_integer(value) for value in report.get("parents") or []]
    unranked = [
        Ancestor(taxid=p) for p in parents if p is not None and p != _ROOT and p not in ancestors
    ]
    own = read_integer(report.get("tax_id"))
    if own is not None and own not in ancestors:
        name = (report.get("current_scientific_name") or {}).get("name")
        rank = str(report.get("rank", "")).lower()
        ranked.append(Ancestor(taxid=own, name=str(name or ""), rank=rank))
    return (*unranked, *ranked)


def _rank_index(rank: str) -> int:
    return _RANKS.index(rank) if rank in _RANKS else 0


def _names_of(hit: Mapping[str, Any]) -> set[str]:
    keys = ("sci_name", "common_name", "matched_term")
    return {str(hit[key]).casefold() for key in keys if hit.get(key)}


def _page(response: _Answer, *, is_mag: bool | None = None) -> Page:
    assemblies: list[Assembly] = []
    for report in response.get("reports") or []:
        try:
            assemblies.append(from_report(report, is_mag=is_mag))
        except ValueError:
            continue
    return Page(
        assemblies=tuple(assemblies),
        token=response.get("next_page_token") or None,
        total=read_integer(response.get("total_count")),
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
    filters.update({name: "true" for name, is_set in flags.items() if is_set})
    dates = {
        "filters.first_release_date": criteria.released_after,
        "filters.last_release_date": criteria.released_before,
    }
    filters.update({name: date for name, date in dates.items() if date})
    return filters
