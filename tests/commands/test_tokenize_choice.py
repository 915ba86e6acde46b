"""Selection of cached genomes by `tokenize`: by lock file or by taxon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from genomeformer_cli.core.genomes.genome import Ancestor, genome_from_json, genome_to_json
from genomeformer_cli.core.store.seal import seal
from tests.cli import Finished, RunCommand
from tests.corpora import genome
from tests.failures import assert_failure
from tests.mini_ncbi.faults import Fault
from tests.mini_ncbi.server import MiniNcbi

FAST = ("--set", "connection.rate=1000", "--set", "connection.timeout=1")
ECOLI, SHIGELLA, BACILLUS = "GCF_000005845.2", "GCF_000006925.2", "GCF_000009045.1"
FAMILY = Ancestor(taxid=543, name="Enterobacteriaceae", rank="family")


@pytest.fixture
def ncbi(monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniNcbi]:
    with MiniNcbi() as server:
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", server.base_url)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", server.url)
        yield server


def fetch(run_cli: RunCommand, *accessions: str, options: tuple[str, ...] = ()) -> None:
    named = [word for accession in accessions for word in ("--accession", accession)]
    done = run_cli("fetch", *named, *options, *FAST)
    assert done.exit_code == 0, done.err


def taken(done: Finished) -> list[str]:
    assert done.exit_code == 0, done.err
    return [one["name"] for one in json.loads(done.out)["manifest"]["genomes"]]


def forget_lineage(home: Path, accession: str) -> None:
    """Make an entry one of an earlier version."""
    path = home / "genomes" / accession / "genome.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    del value["lineage"]
    path.write_text(json.dumps(value), encoding="utf-8")
    seal(path.parent)


def test_genomes_of_a_lock_file(ncbi: MiniNcbi, run_cli: RunCommand, tmp_path: Path) -> None:
    lock = str(tmp_path / "genomes.lock.jsonl")
    fetch(run_cli, BACILLUS)
    fetch(run_cli, SHIGELLA, ECOLI, options=("--save-lock", lock))
    done = run_cli("tokenize", "--lock", lock, "--name", "c", "--json")
    assert taken(done) == [ECOLI, SHIGELLA]


def test_a_genome_of_the_lock_file_that_is_absent(
    ncbi: MiniNcbi, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    lock = str(tmp_path / "genomes.lock.jsonl")
    fetch(run_cli, SHIGELLA, ECOLI, options=("--save-lock", lock))
    assert run_cli("cache", "rm", f"genomes/{SHIGELLA}").exit_code == 0
    done = run_cli("tokenize", "--lock", lock, "--name", "c")
    assert_failure(done, f"`{SHIGELLA}`", lock, hint=f"genomeformer fetch --lock {lock}")
    assert ECOLI not in done.err
    assert not (cache_home / "corpora").exists()
    assert run_cli("fetch", "--lock", lock, *FAST).exit_code == 0
    assert taken(run_cli("tokenize", "--lock", lock, "--name", "c", "--json")) == [ECOLI, SHIGELLA]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("{}\n", "line 1"),
        ("no json\n", "line 1"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_lock_file(
    content: str | None, words: str, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    lock = tmp_path / "genomes.lock.jsonl"
    if content is not None:
        lock.write_text(content, encoding="utf-8")
    done = run_cli("tokenize", "--lock", str(lock), "--name", "c")
    assert_failure(done, words, str(lock), hint="genomeformer fetch", exit_code=2)
    assert not (cache_home / "corpora").exists()


def test_a_truncated_line_of_a_lock_file_is_refused(
    ncbi: MiniNcbi, run_cli: RunCommand, tmp_path: Path
) -> None:
    lock = tmp_path / "genomes.lock.jsonl"
    fetch(run_cli, SHIGELLA, ECOLI, options=("--save-lock", str(lock)))
    lock.write_bytes(lock.read_bytes()[:-30])
    done = run_cli("tokenize", "--lock", str(lock), "--name", "c")
    assert_failure(done, "line 2", exit_code=2)


@pytest.mark.parametrize("api_down", [False, True])
@pytest.mark.parametrize(
    ("taxon", "expected"),
    [
        ("Enterobacteriaceae", [ECOLI, SHIGELLA]),
        ("enterobacteriaceae", [ECOLI, SHIGELLA]),
        ("543", [ECOLI, SHIGELLA]),
        ("Bacteria", [ECOLI, SHIGELLA, BACILLUS]),
        ("131567", [ECOLI, SHIGELLA, BACILLUS]),
        ("Shigella flexneri", [SHIGELLA]),
        ("Escherichia coli str. K-12", [ECOLI]),
    ],
)
def test_genomes_of_any_taxon_above_them(
    api_down: bool, taxon: str, expected: list[str], ncbi: MiniNcbi, run_cli: RunCommand
) -> None:
    ncbi.api_down = api_down
    fetch(run_cli, ECOLI, SHIGELLA, BACILLUS)
    done = run_cli("tokenize", "--taxon", taxon, "--name", "c", "--json")
    assert taken(done) == expected


def test_a_lock_file_holds_the_lineage_without_a_request(
    ncbi: MiniNcbi, run_cli: RunCommand, tmp_path: Path
) -> None:
    lock = str(tmp_path / "genomes.lock.jsonl")
    fetch(run_cli, ECOLI, options=("--save-lock", lock))
    assert run_cli("cache", "rm", f"genomes/{ECOLI}").exit_code == 0
    before = len(ncbi.log)
    assert run_cli("fetch", "--lock", lock, *FAST).exit_code == 0
    assert not [one.path for one in ncbi.log[before:] if "/taxonomy/" in one.path]
    done = run_cli("tokenize", "--taxon", "Enterobacteriaceae", "--name", "c", "--json")
    assert taken(done) == [ECOLI]


def test_a_fetch_again_requests_no_lineage(ncbi: MiniNcbi, run_cli: RunCommand) -> None:
    fetch(run_cli, ECOLI)
    before = len(ncbi.log)
    fetch(run_cli, ECOLI)
    assert not [one.path for one in ncbi.log[before:] if "/taxonomy/" in one.path]


def test_an_entry_of_an_earlier_version_is_known_by_its_own_name(
    ncbi: MiniNcbi, run_cli: RunCommand, cache_home: Path
) -> None:
    fetch(run_cli, ECOLI)
    forget_lineage(cache_home, ECOLI)
    done = run_cli("tokenize", "--taxon", "Enterobacteriaceae", "--name", "c")
    assert_failure(done, "`Enterobacteriaceae`", hint=f"`{ECOLI}`", exit_code=2)
    assert "fetch --taxon" in done.err


def test_a_fetch_does_not_fail_without_a_lineage(
    ncbi: MiniNcbi, run_cli: RunCommand, cache_home: Path
) -> None:
    def no_taxonomy(path: str) -> Fault:
        if "/taxonomy/" not in path:
            return Fault.OK
        return Fault.NO_FILE if "taxdump" in path else Fault.ERROR_500

    ncbi.find_fault = no_taxonomy
    done = run_cli("fetch", "--accession", ECOLI, "--set", "connection.retries=0", *FAST)
    assert done.exit_code == 0, done.err
    assert "lineages are unavailable" in done.err
    assert (cache_home / "genomes" / ECOLI).is_dir()


def test_a_genome_keeps_its_lineage() -> None:
    plain = genome_to_json(genome("g"))
    placed = genome_from_json({**plain, "lineage": [asdict(FAMILY)]})
    assert placed.lineage == (FAMILY,)
    assert genome_from_json(json.loads(json.dumps(genome_to_json(placed)))) == placed
    del plain["lineage"]
    assert genome_from_json(plain).lineage == ()
