"""The file side: genomes, their checksums, assembly summaries, the taxonomy dump."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator

from tests.mini_ncbi.world import MERGED, SYNONYMS, TAXA, FakeAssembly, World

TAXDUMP = "/pub/taxonomy/new_taxdump/new_taxdump.tar.gz"
COLUMNS = [
    "assembly_accession",
    "bioproject",
    "biosample",
    "wgs_master",
    "refseq_category",
    "taxid",
    "species_taxid",
    "organism_name",
    "infraspecific_name",
    "isolate",
    "version_status",
    "assembly_level",
    "release_type",
    "genome_rep",
    "seq_rel_date",
    "asm_name",
    "asm_submitter",
    "gbrs_paired_asm",
    "paired_asm_comp",
    "ftp_path",
    "excluded_from_refseq",
    "relation_to_type_material",
    "asm_not_live_date",
    "assembly_type",
    "group",
    "genome_size",
    "genome_size_ungapped",
    "gc_percent",
    "replicon_count",
    "scaffold_count",
    "contig_count",
    "annotation_provider",
    "annotation_name",
    "annotation_date",
    "total_gene_count",
    "protein_coding_gene_count",
    "non_coding_gene_count",
    "pubmed_id",
]


def tree(world: World, *, host: str = "") -> dict[str, bytes]:
    """Every file by its path; with a `host`, summaries name it and are tame."""
    files: dict[str, bytes] = {}
    for assembly in world.assemblies:
        files.update(_assembly_files(assembly))
    for source, prefix in (("refseq", "GCF"), ("genbank", "GCA")):
        mine = [a for a in world.assemblies if a.accession.startswith(prefix)]
        name = f"/genomes/{source}/assembly_summary_{source}"
        now = [a for a in mine if a.status == "current"]
        files[f"{name}.txt"] = summary(world, now, host=host).encode()
        files[f"/genomes/{source}/bacteria/assembly_summary.txt"] = files[f"{name}.txt"]
        past = [a for a in mine if a.status != "current"]
        files[f"{name}_historical.txt"] = summary(world, past, host=host).encode()
    files[TAXDUMP] = taxdump()
    digest = hashlib.md5(files[TAXDUMP]).hexdigest()
    files[TAXDUMP + ".md5"] = f"{digest}  new_taxdump.tar.gz\n".encode()
    return files


def _assembly_files(assembly: FakeAssembly) -> Iterator[tuple[str, bytes]]:
    stem, folder = assembly.stem, assembly.folder
    files = {f"{stem}_genomic.fna.gz": assembly.fasta()}
    if assembly.annotated:
        files[f"{stem}_genomic.gff.gz"] = assembly.gff()
        files[f"{stem}_genomic.gbff.gz"] = assembly.gbff()
        # These only look like the genome.
        files[f"{stem}_cds_from_genomic.fna.gz"] = assembly.gff()
        files[f"{stem}_rna_from_genomic.fna.gz"] = assembly.gbff()
    for name, content in files.items():
        yield f"{folder}/{name}", content
    if assembly.has_md5s:
        listed = sorted(files.items())
        lines = [f"{hashlib.md5(content).hexdigest()}  ./{name}\n" for name, content in listed]
        inner = f"./{stem}_assembly_structure/Primary_Assembly/component_localID2acc"
        lines.append(f"{'0' * 32}  {inner}\n")
        yield f"{folder}/md5checksums.txt", "".join(lines).encode()


def summary(
    world: World, assemblies: list[FakeAssembly], *, columns: int = 38, host: str = ""
) -> str:
    """An assembly summary, with the oddities of real ones."""
    lines = [
        "##  See ftp://ftp.ncbi.nlm.nih.gov/genomes/README_assembly_summary.txt for a description"
        " of the columns in this file.\n",
        "#" + "\t".join(COLUMNS[:columns]) + "\n",
    ]
    for number, a in enumerate(assemblies):
        lineage = world.lineage(a.taxid)
        species = next((t for t in lineage if TAXA[t][1] == "species"), a.taxid)
        excluded = ["derived from metagenome"] * a.mag + ["genome length too large"] * a.atypical
        slash = "/" if number % 2 else ""
        scheme = "ftp" if number % 3 == 1 else "https"
        home = host or f"{scheme}://ftp.ncbi.nlm.nih.gov"
        row = {
            "assembly_accession": a.accession,
            "refseq_category": "reference genome" if a.reference else "na",
            "taxid": str(a.taxid),
            "species_taxid": str(species),
            "organism_name": TAXA[a.taxid][2],
            "version_status": {"current": "latest", "previous": "replaced"}.get(a.status, a.status),
            "assembly_level": a.level,
            "seq_rel_date": a.released.replace("-", "/" if number % 2 else "-"),
            "asm_name": a.name,
            "asm_submitter": "Universität Tübingen"
            + ("\tDept. of Tabs" if number == 2 and not host else ""),
            "gbrs_paired_asm": a.paired or "na",
            "ftp_path": f"{home}{a.folder}{slash}",
            "excluded_from_refseq": "; ".join(excluded) or "na",
            "relation_to_type_material": "assembly from type material" * a.type_material or "na",
            "genome_size": str(a.num_bases),
            "contig_count": str(len(a.records)),
        }
        lines.append("\t".join(row.get(column, "na") for column in COLUMNS[:columns]) + "\n")
    return "".join(lines)


def taxdump() -> bytes:
    """`new_taxdump.tar.gz`."""

    def rows(values: list[list[object]]) -> bytes:
        return "".join("\t|\t".join(map(str, row)) + "\t|\n" for row in values).encode()

    names: list[list[object]] = []
    for taxid, (_, rank, name) in TAXA.items():
        unique = f"{name} <{rank}>" if name == "Bacillus" else ""
        names.append([taxid, name, unique, "scientific name"])
    names += [[taxid, name, "", "synonym"] for name, taxid in SYNONYMS.items()]
    names.append([562, "Escherichia coli Migula 1895", "", "authority"])
    tables = {
        "delnodes.dmp": rows([[12]]),
        "names.dmp": rows(names),
        "nodes.dmp": rows([[t, parent, rank, "", 0, 1] for t, (parent, rank, _) in TAXA.items()]),
        "merged.dmp": rows([[old, new] for old, new in MERGED.items()]),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in tables.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
