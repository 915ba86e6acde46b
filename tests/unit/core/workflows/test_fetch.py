"""Fetching from the small NCBI: what is chosen, what arrives, what a second run does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import (
    AmbiguousTaxonError,
    ConfigError,
    GenomeformerError,
    InputError,
    NetworkError,
    NothingMatchedError,
    PartialError,
    StoreError,
    UsageError,
)
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.genomes.genome import load_genome
from genomeformer_cli.core.genomes.lockfile import read_lock
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.workflows.fetch import FetchResult
from tests.mini_ncbi.client import fasta_bytes, fetch_from, leftovers, truth
from tests.mini_ncbi.faults import Fault
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import FakeAssembly

COLI = [
    "GCF_000005845.2",
    "GCF_000008865.2",
    "GCF_900000001.1",
    "GCF_900000002.1",
    "GCF_900000005.2",
    "GCF_900000007.1",
    "GCF_900000008.1",
]


class Notes(SilentReporter):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def ncbi() -> Iterator[MiniNcbi]:
    with MiniNcbi() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def names(result: FetchResult) -> list[str]:
    return [fetched.genome.name for fetched in result.genomes]


def planned(ncbi: MiniNcbi, store: Store, **options: Any) -> list[str]:
    """Return the accessions that would be fetched, sorted."""
    result = fetch_from(ncbi, store, dry_run=True, **options)
    assert result.plan is not None
    assert not store.entries()
    return sorted(result.plan.accessions)


def assembly(ncbi: MiniNcbi, accession: str) -> FakeAssembly:
    found = ncbi.world.assembly(accession)
    assert found is not None
    return found


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


def test_a_lock_file_fetches_the_same_bytes_without_metadata(
    ncbi: MiniNcbi, store: Store, tmp_path: Path
) -> None:
    saved = tmp_path / "mine" / "genomes.lock.jsonl"
    first = fetch_from(ncbi, store, taxa=("562",), formats="fasta,gff", save_lock=saved, limit=4)
    assert first.lock is not None
    assert saved.read_bytes() == first.lock.read_bytes()
    for line in saved.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        needed = {
            "accession",
            "taxid",
            "organism",
            "status",
            "url",
            "md5",
            "bytes",
            "licence",
            "date",
        }
        assert needed <= set(row)
    ncbi.api_down = True
    ncbi.log.clear()
    other = Store(tmp_path / "other")
    again = tmp_path / "again.jsonl"
    result = fetch_from(ncbi, other, lock=saved, save_lock=again)
    assert names(result) == names(first)
    assert fasta_bytes(other) == fasta_bytes(store)
    assert again.read_bytes() == saved.read_bytes()
    assert not [a for a in ncbi.log if "datasets" in a.path or "md5checksums" in a.path]
    ncbi.log.clear()
    fetch_from(ncbi, other, lock=saved)
    assert ncbi.log == []


def test_a_lock_file_accepts_no_other_bytes(ncbi: MiniNcbi, store: Store, tmp_path: Path) -> None:
    saved = tmp_path / "lock.jsonl"
    fetch_from(ncbi, store, accessions=("GCF_000005845.2", "GCF_000008865.2"), save_lock=saved)
    path = assembly(ncbi, "GCF_000008865.2").fasta_path
    ncbi.files[path] = assembly(ncbi, "GCF_900000001.1").fasta()
    other = Store(tmp_path / "other")
    result = fetch_from(ncbi, other, lock=saved)
    assert names(result) == ["GCF_000005845.2"]
    assert "damaged in 3 downloads" in result.failures[0].reason
    assert len(read_lock(saved)) == 2


def test_an_update_lists_what_is_new_superseded_suppressed_and_prunes(
    ncbi: MiniNcbi, store: Store
) -> None:
    fetch_from(ncbi, store, taxa=("562",))
    gone = assembly(ncbi, "GCF_900000001.1")
    gone.status = "suppressed"
    old = assembly(ncbi, "GCF_900000005.2")
    old.status, old.current = "previous", "GCF_900000005.3"
    ncbi.world.assemblies.append(
        FakeAssembly(
            accession="GCF_900000005.3", taxid=562, name="ASM5v3", records=[("a", "ACGT" * 99)]
        )
    )
    assembly(ncbi, "GCF_900000008.1").atypical = True
    ncbi.changed()
    result = fetch_from(ncbi, store, taxa=("562",), refresh=True)
    update = result.update
    assert update is not None
    assert update.new == ("GCF_900000005.3",)
    assert update.superseded == (("GCF_900000005.2", "GCF_900000005.3"),)
    assert update.suppressed == ("GCF_900000001.1",)
    assert update.dropped == ("GCF_900000008.1",)
    assert store.has(Kind.GENOMES, "GCF_900000001.1")
    assert [fetched.genome.name for fetched in result.genomes if fetched.new] == ["GCF_900000005.3"]
    gone.status = "current"
    fetch_from(ncbi, store, taxa=("562",), refresh=True)
    gone.status = "suppressed"
    pruned = fetch_from(ncbi, store, taxa=("562",), refresh=True, prune=True).update
    assert pruned is not None
    assert pruned.pruned == ("GCF_900000001.1",)
    assert not store.has(Kind.GENOMES, "GCF_900000001.1")


def test_offline_uses_what_exists(ncbi: MiniNcbi, store: Store) -> None:
    with pytest.raises(NetworkError, match="is not in the cache"):
        fetch_from(ncbi, store, taxa=("562",), offline=True)
    fetch_from(ncbi, store, taxa=("562",))
    ncbi.log.clear()
    result = fetch_from(ncbi, store, taxa=("562",), offline=True)
    assert names(result) == COLI
    store.remove(store.entry(Kind.GENOMES, COLI[0]))
    partial = fetch_from(ncbi, store, taxa=("562",), offline=True)
    assert [failure.accession for failure in partial.failures] == COLI[:1]
    assert ncbi.log == []


def test_verify_finds_and_mends_damage(ncbi: MiniNcbi, store: Store) -> None:
    fetch_from(ncbi, store, taxa=("562",))
    folder = store.path(Kind.GENOMES, COLI[0])
    (path,) = folder.glob("*.fna.gz")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    ncbi.log.clear()
    fetch_from(ncbi, store, taxa=("562",))
    assert not ncbi.bodies()
    result = fetch_from(ncbi, store, taxa=("562",), verify=True)
    assert [asked.path for asked in ncbi.bodies()] == [assembly(ncbi, COLI[0]).fasta_path]
    assert names(result) == COLI
    assert fasta_bytes(store) == truth(ncbi, COLI)
    (folder / "genome.json").write_text("{", encoding="utf-8")
    fetch_from(ncbi, store, taxa=("562",))
    assert fasta_bytes(store) == truth(ncbi, COLI)


def test_one_bad_assembly_does_not_stop_the_rest(ncbi: MiniNcbi, store: Store) -> None:
    ncbi.scripts.add(f"{assembly(ncbi, COLI[1]).stem}_genomic.fna.gz", [Fault.NO_FILE] * 99)
    ncbi.scripts.add(f"{assembly(ncbi, COLI[2]).stem}_genomic.fna.gz", [Fault.FLIPPED] * 99)
    result = fetch_from(ncbi, store, taxa=("562",))
    assert [failure.accession for failure in result.failures] == COLI[1:3]
    assert names(result) == [COLI[0], *COLI[3:]]
    ncbi.scripts.clear()
    ncbi.log.clear()
    assert names(fetch_from(ncbi, store, taxa=("562",))) == COLI
    assert len(ncbi.bodies()) == 2


def test_a_lost_network_is_noticed(ncbi: MiniNcbi, store: Store) -> None:
    ncbi.scripts.add("md5checksums.txt", [Fault.ERROR_503] * 999)
    with pytest.raises(NetworkError, match="network is down") as caught:
        fetch_from(ncbi, store, taxa=("562",), retries=1, jobs=2)
    assert caught.value.exit_code == 75
    with pytest.raises(NetworkError):
        fetch_from(ncbi, store, accessions=("GCF_000005845.2",), retries=1)


def test_no_network_at_all(ncbi: MiniNcbi, store: Store) -> None:
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(NetworkError) as caught:
        fetch_from(ncbi, store, taxa=("562",), base_url=nowhere, ftp_url=nowhere, retries=1)
    assert caught.value.exit_code == 75


def test_a_full_disk_is_seen_before_the_first_byte(
    ncbi: MiniNcbi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(path: Path) -> Any:
        return type("Usage", (), {"free": 1000})

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(StoreError, match="GB of disk"):
        fetch_from(ncbi, store, taxa=("562",))
    assert not ncbi.bodies()
    result = fetch_from(ncbi, store, taxa=("562",), dry_run=True)
    assert result.plan is not None
    assert (result.plan.disk_free, result.plan.num_assemblies) == (1000, 7)


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


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"accession": "GCF_000005845.2"}',
        '{"accession": "GCF_000005845", "taxid": 1, "url": "u/x", "md5": "", "bytes": 1}',
        "",
    ],
)
def test_damaged_lock_files(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        read_lock(path)


def test_a_lock_file_cannot_point_elsewhere(ncbi: MiniNcbi, store: Store, tmp_path: Path) -> None:
    saved = tmp_path / "lock.jsonl"
    fetch_from(ncbi, store, accessions=("GCF_000005845.2",), save_lock=saved)
    row = json.loads(saved.read_text(encoding="utf-8"))
    row["url"] = f"{ncbi.url}/etc/passwd"
    saved.write_text(json.dumps(row) + "\n", encoding="utf-8")
    result = fetch_from(ncbi, Store(tmp_path / "other"), lock=saved)
    assert "genomes area" in result.failures[0].reason
