"""Fetching again from the small NCBI: lock files, updates, repairs, failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import (
    ConfigError,
    NetworkError,
    StoreError,
)
from genomeformer_cli.core.genomes.lockfile import read_lock
from genomeformer_cli.core.store.layout import Kind, Store
from tests.mini_ncbi.client import COLI, assembly, fasta_bytes, fetch_from, names, truth
from tests.mini_ncbi.faults import Fault
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import FakeAssembly


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
