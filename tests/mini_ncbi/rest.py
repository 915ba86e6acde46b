"""The REST side: answers in the shapes that were recorded from NCBI, enum asymmetries and all."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from tests.mini_ncbi.world import MERGED, SYNONYMS, TAXA, FakeAssembly, World

PREFIX = "/datasets/v2"
Query = Mapping[str, Sequence[str]]


def answer(
    world: World, path: str, query: Query, body: Mapping[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a REST request."""
    parts = [unquote(part) for part in path.removeprefix(PREFIX).strip("/").split("/")]
    match parts:
        case ["genome", "taxon", taxa, "dataset_report"]:
            return 200, _by_taxon(world, [int(t) for t in taxa.split(",")], query)
        case ["genome", "dataset_report"] if body is not None:
            return 200, _by_accession(world, body)
        case ["genome", "accession", accession, "links"]:
            return 200, _links(world, accession)
        case ["taxonomy", "taxon_suggest", word]:
            return 200, _suggest(world, word, query)
        case ["taxonomy", "taxon", taxa, "dataset_report"]:
            return 200, _taxonomy(taxa.split(","))
        case _:
            return 404, {
                "error": "Not Found",
                "code": 404,
                "message": "Your request is invalid. (For more help, see the NCBI Datasets pages)",
            }


def _one(query: Query, name: str) -> str:
    return next(iter(query.get(name, ())), "")


def report(assembly: FakeAssembly) -> dict[str, Any]:
    """A report: absent keys are absent, 64-bit integers are strings, levels have capitals."""
    info: dict[str, Any] = {
        "assembly_level": assembly.level,
        "assembly_name": assembly.name,
        "assembly_status": assembly.status,
        "assembly_type": "haploid",
        "release_date": assembly.released,
    }
    if assembly.reference:
        info["refseq_category"] = "reference genome"
    if assembly.atypical:
        info["atypical"] = {"is_atypical": True, "warnings": ["genome length too large"]}
    if assembly.mag:
        info["genome_notes"] = ["derived from metagenome"]
    if assembly.num_attributes:
        rows = [
            {"name": f"attribute {n}", "value": "x" * 20} for n in range(assembly.num_attributes)
        ]
        info["biosample"] = {"accession": "SAMN0", "attributes": rows}
    if assembly.paired:
        info["paired_assembly"] = {"accession": assembly.paired, "status": "current"}
    refseq = assembly.accession.startswith("GCF_")
    value: dict[str, Any] = {
        "accession": assembly.accession,
        "current_accession": assembly.current or assembly.accession,
        "source_database": f"SOURCE_DATABASE_{'REFSEQ' if refseq else 'GENBANK'}",
        "organism": {"tax_id": assembly.taxid, "organism_name": TAXA[assembly.taxid][2]},
        "assembly_info": info,
        "assembly_stats": {
            "total_sequence_length": str(assembly.num_bases),
            "total_ungapped_length": str(assembly.num_bases),
            "number_of_contigs": len(assembly.records),
            "contig_n50": assembly.num_bases,
        },
    }
    if assembly.paired:
        value["paired_accession"] = assembly.paired
    if assembly.type_material:
        value["type_material"] = {"type_label": "TYPE_MATERIAL"}
    if assembly.completeness is not None:
        value["checkm_info"] = {
            "completeness": assembly.completeness,
            "contamination": assembly.contamination,
        }
    return value


def _passes(world: World, a: FakeAssembly, query: Query) -> bool:
    source = _one(query, "filters.assembly_source")
    levels = query.get("filters.assembly_level", ())
    mag = _one(query, "filters.is_metagenome_derived")
    paired = _one(query, "filters.exclude_paired_reports") == "true" and a.paired
    first, last = (
        _one(query, "filters.first_release_date"),
        _one(query, "filters.last_release_date"),
    )
    return (
        # As seen live, `current` does not keep a suppressed assembly out.
        a.status in ("current", "suppressed")
        and (source in ("", "all") or a.accession.startswith({"refseq": "GCF"}.get(source, "GCA")))
        and (not levels or a.level.lower().replace(" ", "_") in levels)
        and (not mag or a.mag == mag.endswith("_only"))
        and (_one(query, "filters.reference_only") != "true" or a.reference)
        and (_one(query, "filters.is_type_material") != "true" or a.type_material)
        and (_one(query, "filters.exclude_atypical") != "true" or not a.atypical)
        and (not first or a.released >= first)
        and (not last or a.released <= last)
        and not (paired and a.accession.startswith("GCA"))
    )


def _by_taxon(world: World, taxids: list[int], query: Query) -> dict[str, Any]:
    below = set().union(*(world.children(MERGED.get(t, t)) for t in taxids))
    found = [a for a in world.assemblies if a.taxid in below and _passes(world, a, query)]
    if not found:
        return {}
    token = _one(query, "page_token")
    start = int(base64.urlsafe_b64decode(token)) if token else 0
    size = min(int(_one(query, "page_size") or 20), world.page_size)
    slim = _one(query, "returned_content") == "ASSM_ACC"
    page = found[start : start + size]
    value: dict[str, Any] = {
        "reports": [{"accession": a.accession} if slim else report(a) for a in page],
        "total_count": len(found),
    }
    if start + size < len(found):
        value["next_page_token"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return value


def _by_accession(world: World, body: Mapping[str, Any]) -> dict[str, Any]:
    words = set(body["accessions"])
    found = [
        a for a in world.assemblies if a.accession in words or a.accession.split(".")[0] in words
    ]
    return {"reports": [report(a) for a in found], "total_count": len(found)} if found else {}


def _links(world: World, accession: str) -> dict[str, Any]:
    assembly = world.assembly(accession)
    if assembly is None:
        return {}
    link = f"{world.links_scheme}://ftp.ncbi.nlm.nih.gov{assembly.folder}"
    return {
        "assembly_links": [
            {
                "accession": accession,
                "assembly_link_type": "FTP_LINK",
                "resource_link": link,
            }
        ]
    }


def _suggest(world: World, word: str, query: Query) -> dict[str, Any]:
    exact = _one(query, "exact_match") == "true"
    genomes = _one(query, "taxon_resource_filter").endswith("GENOME")
    low = word.lower()
    hits = []
    for taxid, (_, rank, name) in TAXA.items():
        terms = [name, *(s for s, t in SYNONYMS.items() if t == taxid), str(taxid)]
        term = next((t for t in terms if t.lower() == low or (not exact and low in t.lower())), "")
        has_genomes = any(a.taxid in world.children(taxid) for a in world.assemblies)
        if term and (has_genomes or not genomes or taxid == 55087):
            hits.append(
                {
                    "sci_name": name,
                    "tax_id": str(taxid),
                    "matched_term": term,
                    "rank": rank.upper(),
                }
            )
    return {"sci_name_and_ids": hits} if hits else {}


def _taxonomy(words: list[str]) -> dict[str, Any]:
    reports, errors = [], []
    for word in words:
        taxid = MERGED.get(int(word), int(word))
        if taxid not in TAXA:
            errors.append({"reason": "The taxonomy id is not recognized", "query": [word]})
            continue
        lineage = World(assemblies=[]).lineage(taxid)
        taxonomy: dict[str, Any] = {
            "tax_id": taxid,
            "rank": TAXA[taxid][1].upper(),
            "current_scientific_name": {"name": TAXA[taxid][2]},
            "classification": {
                TAXA[t][1]: {"id": t, "name": TAXA[t][2]}
                for t in lineage
                if TAXA[t][1] in ("domain", "kingdom", "family", "genus", "species")
            },
            "parents": lineage[:0:-1],
        }
        secondary = [old for old, new in MERGED.items() if new == taxid]
        if secondary:
            taxonomy["secondary_tax_ids"] = secondary
        reports.append({"taxonomy": taxonomy, "query": [word]})
    return {"reports": reports} if reports else {"errors": errors}


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
