"""`genomeformer fetch` for genomes at NCBI, as a user sees it: streams, words, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.mini_ncbi.faults import Fault
from tests.mini_ncbi.server import MiniNcbi

KEY = "0123456789abcdef-secret"


@pytest.fixture
def ncbi(monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniNcbi]:
    with MiniNcbi() as server:
        monkeypatch.setenv("GENOMEFORMER_BASE_URL", server.base_url)
        monkeypatch.setenv("GENOMEFORMER_FTP_URL", server.url)
        yield server


FAST = ("--set", "connection.rate=1000", "--set", "connection.timeout=1")


def test_success_is_exit_code_zero_and_one_line_per_file(
    ncbi: MiniNcbi, run_cli: RunCommand
) -> None:
    done = run_cli("fetch", "--taxon", "Escherichia coli", *FAST)
    assert done.exit_code == 0, done.err
    assert "GCF_000005845.2" in done.out
    assert "lock file: " in done.out
    assert sum(line.startswith("GC") for line in done.err.splitlines()) == 7
    again = run_cli("fetch", "--taxon", "Escherichia coli", *FAST)
    assert "already in the cache" in again.out
    assert again.exit_code == 0


def test_json_is_all_of_stdout(ncbi: MiniNcbi, run_cli: RunCommand) -> None:
    done = run_cli("fetch", "--taxon", "562", "--limit", "2", "--format", "gff", "--json", *FAST)
    value = json.loads(done.out)
    assert [row["genome"]["accession"] for row in value["genomes"]] == [
        "GCF_000005845.2",
        "GCF_000008865.2",
    ]
    assert value["plan"]["num_assemblies"] == 2
    assert value["left_out"]["--limit"] == 5
    assert Path(value["lock"]).is_file()


def test_dry_run_counts_and_fetches_nothing(
    ncbi: MiniNcbi, run_cli: RunCommand, cache_home: Path
) -> None:
    done = run_cli("fetch", "--taxon", "562", "--dry-run", *FAST)
    assert done.exit_code == 0
    for words in ("assemblies", "to download, about", "disk needed", "disk free"):
        assert words in done.out
    assert not ncbi.bodies()
    assert not (cache_home / "genomes").exists()


def test_accessions_from_standard_input(ncbi: MiniNcbi, run_cli: RunCommand) -> None:
    done = run_cli("fetch", "--accession-file", "-", *FAST, stdin=b"GCF_000005845.2\n")
    assert done.exit_code == 0, done.err
    assert "GCF_000005845.2" in done.out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("--taxon", "Bacillus"), 2, "is the name of 2 taxa"),
        (("--taxon", "Nonsuch"), 2, "has no taxon"),
        (("--taxon", "562", "--set", "filter.min_length=999999999"), 2, "left out"),
        (("--accession", "nonsense"), 2, "not an assembly accession"),
        (
            (
                "--set",
                "filter.reference=true",
            ),
            2,
            "none is named",
        ),
        (("--taxon", "562", "--set", "connection.jobs=0"), 2, "connection.jobs"),
        (("--accession", "GCF_000005845.2", "--accession", "GCF_111111111.1"), 3, "could not be"),
    ],
)
def test_exit_codes(
    ncbi: MiniNcbi,
    run_cli: RunCommand,
    arguments: tuple[str, ...],
    exit_code: int,
    said: str,
) -> None:
    done = run_cli("fetch", *arguments, *FAST)
    assert done.exit_code == exit_code, done.err
    assert said in done.err
    assert "hint:" in done.err
    assert "Traceback" not in done.err


def test_network_down_is_75(ncbi: MiniNcbi, run_cli: RunCommand) -> None:
    nowhere = "http://127.0.0.1:9"
    options = (
        "--set",
        f"connection.base_url={nowhere}",
        "--set",
        f"connection.ftp_url={nowhere}",
        "--set",
        "connection.retries=0",
    )
    done = run_cli("fetch", "--taxon", "562", *options)
    assert done.exit_code == 75
    assert "run the command again" in done.err


def test_partial_shows_what_came_and_what_did_not(ncbi: MiniNcbi, run_cli: RunCommand) -> None:
    ncbi.scripts.add("ASM886v2_genomic.fna.gz", [Fault.NO_FILE] * 9)
    done = run_cli("fetch", "--taxon", "562", "--json", *FAST)
    assert done.exit_code == 3
    value = json.loads(done.out)
    assert [row["accession"] for row in value["failures"]] == ["GCF_000008865.2"]
    assert len(value["genomes"]) == 6
    assert "1 of 7 genomes" in done.err


def test_the_key_goes_to_the_api_alone_and_is_never_shown(
    ncbi: MiniNcbi,
    run_cli: RunCommand,
    cache_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NCBI_API_KEY", KEY)
    runs = [run_cli("fetch", "--taxon", "562", "--json", *FAST)]
    ncbi.scripts.add("taxon_suggest/Escherichia", [Fault.ERROR_500] * 99)
    runs.append(run_cli("fetch", "--taxon", "Escherichia", "--set", "connection.retries=0", *FAST))
    runs.append(run_cli("fetch", "--taxon", "562", "--source", "x", *FAST))
    runs.append(run_cli("fetch", "--help"))
    keys = {a.path.startswith("/datasets"): a.headers.get("api-key") for a in ncbi.log}
    assert keys == {True: KEY, False: None}
    for done in runs:
        assert KEY not in done.out + done.err
    for path in cache_home.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes()


def test_samples_files_and_ncbi_in_one_go(
    ncbi: MiniNcbi, run_cli: RunCommand, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.fa"
    mine.write_text(">a\nACGT\n", encoding="utf-8")
    done = run_cli("fetch", "--file", str(mine), "--accession", "GCF_000005845.2", "--json", *FAST)
    names = [row["genome"]["name"] for row in json.loads(done.out)["genomes"]]
    assert names == ["mine", "GCF_000005845.2"]


def test_save_lock_and_lock(ncbi: MiniNcbi, run_cli: RunCommand, tmp_path: Path) -> None:
    lock = tmp_path / "genomes.lock.jsonl"
    assert run_cli("fetch", "--taxon", "623", "--save-lock", str(lock), *FAST).exit_code == 0
    assert run_cli("cache", "rm", "genomes/GCF_000006925.2").exit_code == 0
    ncbi.api_down = True
    done = run_cli("fetch", "--lock", str(lock), *FAST)
    assert done.exit_code == 0, done.err
    assert "new" in done.out
