"""Fetching from the small NCBI: what is chosen, what arrives, what a second run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import (
    AmbiguousTaxonError,
    GenomeformerError,
    InputError,
    NetworkError,
    NothingMatchedError,
    PartialError,
    UsageError,
)
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.genomes.genome import load_genome
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from tests.mini_ncbi.client import COLI, assembly, fasta_bytes, fetch_from, leftovers, names, truth
from tests.mini_ncbi.faults import Fault
from tests.mini_ncbi.server import MiniNcbi


class Notes(SilentReporter):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.said.append(message)


def planned(ncbi: MiniNcbi, store: Store, **options: Any) -> list[str]:
    """Return the accessions that would be fetched, sorted."""
    result = fetch_from(ncbi, store, dry_run=True, **options)
    assert result.plan is not None
    assert not store.entries()
    return sorted(result.plan.accessions)


@pytest.mark.parametrize("word", ["Escherichia coli", "escherichia COLI", "562", "E. coli"])
def test_a_taxon_brings_its_descendants_byte_for_byte(
    ncbi: MiniNcbi, store: Store, word: str
) -> None:
    result = fetch_from(ncbi, store, taxa=(word,))
    assert not result.failures
    assert names(result) == COLI
    assert all(fetched.new for fetched in result.genomes)
    assert fasta_bytes(store) == truth(ncbi, COLI)
    assert leftovers(store.root) == []


def test_every_record_is_kept_and_described(ncbi: MiniNcbi, store: Store) -> None:
    (fetched,) = fetch_from(ncbi, store, accessions=("GCF_000008865.2",)).genomes
    genome, fake = fetched.genome, assembly(ncbi, "GCF_000008865.2")
    path = store.path(Kind.GENOMES, genome.name) / genome.fasta
    assert [(r.id, r.sequence) for r in read_records(path)] == [
        (header.split()[0], sequence) for header, sequence in fake.records
    ]
    assert (genome.num_records, genome.num_bases) == (2, fake.num_bases)
    assert genome.taxid == 83334
    assert genome.organism == "Escherichia coli O157:H7"
    assert genome.accession == "GCF_000008865.2"
    assert genome.level == "complete"
    assert genome.files[0].attested
    assert load_genome(store.entry(Kind.GENOMES, genome.name)) == genome


def test_a_second_run_requests_no_file(ncbi: MiniNcbi, store: Store) -> None:
    first = fetch_from(ncbi, store, taxa=("562",), formats="fasta,gff")
    ncbi.log.clear()
    second = fetch_from(ncbi, store, taxa=("562",), formats="fasta,gff")
    assert ncbi.log == []
    assert names(second) == names(first)
    assert not any(fetched.new for fetched in second.genomes)
    ncbi.log.clear()
    fetch_from(ncbi, store, taxa=("562",), formats="fasta,gff", refresh=True)
    assert {asked.path.startswith("/datasets") for asked in ncbi.log} == {True}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"source": "genbank"}, ["GCA_000005845.2", "GCA_900000009.1"]),
        ({"source": "both"}, sorted([*COLI, "GCA_900000009.1"])),
        ({"reference": True}, ["GCF_000005845.2"]),
        ({"level": "contig"}, ["GCF_900000001.1", "GCF_900000007.1"]),
        ({"level": "chromosome,scaffold"}, ["GCF_900000002.1", "GCF_900000005.2"]),
        ({"mag": "only"}, ["GCF_900000002.1"]),
        ({"mag": "exclude"}, [n for n in COLI if n != "GCF_900000002.1"]),
        ({"released_after": "2024-01-01"}, ["GCF_900000008.1"]),
        ({"released_before": "2014-01-01"}, ["GCF_000005845.2"]),
        ({"min_completeness": 90.0, "level": "scaffold,complete"}, COLI[:2]),
        ({"max_contamination": 0.1, "limit": 3}, []),
        ({"max_contigs": 1, "level": "complete"}, ["GCF_000005845.2"]),
        ({"exclude_atypical": False}, sorted([*COLI, "GCF_900000003.1"])),
        ({"exclude_taxa": ("83334", "511145")}, COLI[2:]),
        ({"limit": 1}, ["GCF_000005845.2"]),
        ({"top_per": "species:1"}, ["GCF_000005845.2"]),
        ({"top_per": "taxid:1"}, ["GCF_000005845.2", "GCF_000008865.2", "GCF_900000008.1"]),
    ],
)
@pytest.mark.parametrize("api", [True, False], ids=["rest", "summaries"])
def test_filters_over_both_routes(
    ncbi: MiniNcbi, store: Store, *, options: dict[str, Any], expected: list[str], api: bool
) -> None:
    ncbi.api_down = not api
    if not api and {"min_completeness", "max_contamination"} & set(options):
        with pytest.raises(NetworkError, match="need NCBI Datasets"):
            planned(ncbi, store, taxa=("562",), **options)
        return
    if not expected:
        with pytest.raises(NothingMatchedError, match="left out"):
            planned(ncbi, store, taxa=("562",), **options)
        return
    assert planned(ncbi, store, taxa=("562",), **options) == expected


@pytest.mark.parametrize("api", [True, False], ids=["rest", "summaries"])
def test_higher_ranks_and_type_material(ncbi: MiniNcbi, store: Store, *, api: bool) -> None:
    ncbi.api_down = not api
    assert planned(ncbi, store, taxa=("Enterobacteriaceae",), top_per="genus:1") == [
        "GCF_000005845.2",
        "GCF_000006925.2",
    ]
    assert planned(ncbi, store, taxa=("561",), type_material=True) == ["GCF_900000006.1"]
    both = planned(ncbi, store, taxa=("Shigella", "1423"))
    assert both == ["GCF_000006925.2", "GCF_000009045.1"]


@pytest.mark.parametrize("api", [True, False], ids=["rest", "summaries"])
def test_ambiguous_and_unknown_names_are_refused(
    ncbi: MiniNcbi, store: Store, *, api: bool
) -> None:
    ncbi.api_down = not api
    with pytest.raises(AmbiguousTaxonError) as caught:
        planned(ncbi, store, taxa=("Bacillus",))
    assert caught.value.exit_code == 2
    assert "taxid 1386" in caught.value.message
    assert "taxid 55087" in caught.value.message
    with pytest.raises(NothingMatchedError, match="has no taxon") as missing:
        planned(ncbi, store, taxa=("Escherichia col",))
    assert "Escherichia coli (species, taxid 562)" in str(missing.value.hint)
    with pytest.raises(NothingMatchedError):
        planned(ncbi, store, taxa=("424242",))


def test_a_taxon_without_genomes(ncbi: MiniNcbi, store: Store) -> None:
    with pytest.raises(NothingMatchedError, match="no genomes of Escherichia nowhere"):
        planned(ncbi, store, taxa=("Escherichia nowhere",))
    with pytest.raises(NothingMatchedError, match="lists no such"):
        planned(ncbi, store, taxa=("9999",))


@pytest.mark.parametrize("api", [True, False], ids=["rest", "summaries"])
def test_a_merged_taxid_is_followed_and_reported(
    ncbi: MiniNcbi, store: Store, *, api: bool
) -> None:
    ncbi.api_down = not api
    notes = Notes()
    result = fetch_from(ncbi, store, taxa=("469598",), dry_run=True, reporter=notes)
    assert result.plan is not None
    assert sorted(result.plan.accessions) == COLI
    assert any("469598 has been merged into Escherichia coli" in said for said in notes.said)


@pytest.mark.parametrize("api", [True, False], ids=["rest", "summaries"])
def test_accessions_of_every_fate(
    ncbi: MiniNcbi, store: Store, tmp_path: Path, *, api: bool
) -> None:
    ncbi.api_down = not api
    listed = tmp_path / "list.txt"
    listed.write_text("# mine\nGCF_900000004.1\nGCF_900000005.1, # old\n\n", encoding="utf-8")
    notes = Notes()
    result = fetch_from(
        ncbi,
        store,
        accessions=("gcf_000005845", "GCF_123456789.1"),
        accession_file=str(listed),
        reporter=notes,
    )
    assert names(result) == ["GCF_000005845.2", "GCF_900000004.1", "GCF_900000005.1"]
    assert [failure.accession for failure in result.failures] == ["GCF_123456789.1"]
    assert any("GCF_900000004.1 is suppressed" in said for said in notes.said)
    assert any("GCF_900000005.1 is previous" in said for said in notes.said)
    with pytest.raises(PartialError) as caught:
        result.raise_for_failures()
    assert caught.value.exit_code == 3
    assert "GCF_123456789.1" in (store.root / "requests").glob(
        "*/failures.tsv"
    ).__next__().read_text(encoding="utf-8")


def test_annotation_is_stored_beside_and_its_absence_is_recorded(
    ncbi: MiniNcbi, store: Store
) -> None:
    fetch_from(ncbi, store, accessions=("GCF_000008865.2", "GCF_900000001.1"))
    ncbi.log.clear()
    result = fetch_from(
        ncbi, store, accessions=("GCF_000008865.2", "GCF_900000001.1"), formats="gff,gbff"
    )
    assert not ncbi.bodies(), "the FASTA is there already"
    with_annotation, without = (fetched.genome for fetched in result.genomes)
    assert [file.format for file in with_annotation.files] == ["fasta", "gff", "gbff"]
    folder = store.path(Kind.GENOMES, with_annotation.name)
    fake = assembly(ncbi, with_annotation.name)
    assert (folder / with_annotation.files[1].file).read_bytes() == fake.gff()
    assert (folder / with_annotation.files[2].file).read_bytes() == fake.gbff()
    assert without.absent == ("gbff", "gff")
    assert fasta_bytes(store) == truth(ncbi, [with_annotation.name, without.name])
    assert leftovers(store.root) == []


def test_a_renamed_directory_is_found(ncbi: MiniNcbi, store: Store) -> None:
    result = fetch_from(ncbi, store, accessions=("GCF_900000006.1",))
    assert "_renamed/" in result.genomes[0].genome.source
    ncbi.api_down = True
    fetch_from(ncbi, Store(store.root / "other"), accessions=("GCF_900000006.1",))


def test_without_checksums_the_bases_are_counted(ncbi: MiniNcbi, store: Store) -> None:
    (fetched,) = fetch_from(ncbi, store, accessions=("GCF_900000007.1",)).genomes
    assert not fetched.genome.files[0].attested
    other = Store(store.root / "other")
    path = assembly(ncbi, "GCF_900000007.1").fasta_path
    ncbi.files[path] = assembly(ncbi, "GCF_900000001.1").fasta()
    assembly(ncbi, "GCF_900000007.1").records[0] = ("longer", "A" * 99_999)
    result = fetch_from(ncbi, other, accessions=("GCF_900000007.1",), refresh=True)
    assert not result.genomes
    assert "holds" in result.failures[0].reason
    assert leftovers(other.root) == []


def test_odd_listings_are_set_right(ncbi: MiniNcbi, store: Store) -> None:
    ncbi.scripts.add(
        "genome/taxon/562/dataset_report", [Fault.EMPTY_PAGE, Fault.REPEATED, Fault.NO_TOKEN]
    )
    assert planned(ncbi, store, taxa=("562",)) == COLI


def test_a_listing_resumes_where_it_was_cut(ncbi: MiniNcbi, store: Store) -> None:
    ncbi.scripts.add("genome/taxon/562/dataset_report", [Fault.OK, *[Fault.ERROR_500] * 3])
    with pytest.raises(GenomeformerError):
        planned(ncbi, store, taxa=("562",), retries=2, ftp_url="http://127.0.0.1:9")
    ncbi.scripts.clear()
    ncbi.log.clear()
    assert planned(ncbi, store, taxa=("562",)) == COLI
    pages = [asked.query.get("page_token") for asked in ncbi.log if "/genome/taxon" in asked.path]
    assert pages
    assert all(pages), "the first page is not asked for again"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reference": True},
        {"lock": Path("x"), "taxa": ("562",)},
        {"lock": Path("x"), "limit": 3},
        {"accessions": ("GCF_000005845.2",), "level": "complete"},
        {"accessions": ("NC_000913.3",)},
        {"taxa": ("562",), "offline": True, "refresh": True},
        {"taxa": ("562",), "jobs": 0},
        {"taxa": ("562",), "limit": 0},
        {"taxa": ("562",), "rate": 0.0},
        {"taxa": ("562",), "source": "ena"},
        {"taxa": ("562",), "formats": "embl"},
        {"taxa": ("562",), "released_after": "soon"},
        {"lock": Path("nowhere.jsonl")},
        {"taxa": ("562",), "base_url": "gopher://x"},
    ],
)
def test_contradictions_are_usage_errors(
    ncbi: MiniNcbi, store: Store, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        fetch_from(ncbi, store, **options)


def test_accession_files_that_name_nothing(ncbi: MiniNcbi, store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("# nothing\n", encoding="utf-8")
    for source in (empty, tmp_path / "missing.txt"):
        with pytest.raises(InputError):
            fetch_from(ncbi, store, accession_file=str(source))
    with pytest.raises(NothingMatchedError):
        fetch_from(ncbi, store, accessions=("GCF_111111111.1",))
