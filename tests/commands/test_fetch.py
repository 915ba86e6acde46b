"""`fetch`: sample genomes and local files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.files import everything_in, fill_the_disk, names_in

SAMPLES = {"NC_001422.1": 5386, "NC_001416.1": 48502, "NC_000908.2": 580076}
FASTA = b">chr1\nACGTNacgt\n>plasmid\nGGCC\n"


def test_the_samples_arrive_without_a_network(run_cli: RunCommand) -> None:
    done = run_cli("fetch", "--sample", "--json")
    assert (done.exit_code, done.err) == (0, "")
    genomes = json.loads(done.out)["genomes"]
    assert {row["genome"]["name"]: row["genome"]["num_bases"] for row in genomes} == SAMPLES
    assert all(row["new"] for row in genomes)
    again = json.loads(run_cli("fetch", "--sample", "--json").out)["genomes"]
    assert not any(row["new"] for row in again)
    assert run_cli("cache", "verify").exit_code == 0


def test_terminals_get_a_table(run_cli: RunCommand) -> None:
    done = run_cli("fetch", "--sample")
    assert (done.exit_code, done.err) == (0, "")
    for name, num_bases in SAMPLES.items():
        (line,) = [line for line in done.out.splitlines() if line.startswith(name)]
        assert f"{num_bases:,}" in line
        assert line.rstrip().endswith("new")
    assert "already in the cache" in run_cli("fetch", "--sample").out


def test_several_files_plain_and_packed_keep_every_record(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    (tmp_path / "one.fa").write_bytes(FASTA)
    (tmp_path / "two.fna.gz").write_bytes(gzip.compress(FASTA * 2))
    one, two = str(tmp_path / "one.fa"), str(tmp_path / "two.fna.gz")
    done = run_cli("fetch", "--file", one, "--file", two, "--json")
    assert done.exit_code == 0
    rows = [row["genome"] for row in json.loads(done.out)["genomes"]]
    assert [(row["name"], row["num_records"], row["num_bases"]) for row in rows] == [
        ("one", 2, 13),
        ("two", 4, 26),
    ]


def test_a_file_may_be_given_a_name(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "one.fa").write_bytes(FASTA)
    done = run_cli("fetch", "--file", str(tmp_path / "one.fa"), "--name", "mine")
    assert done.out.splitlines()[1].startswith("mine")
    assert names_in(tmp_path / "cache" / "genomes") == ["mine"]


def test_one_name_is_for_one_file(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "one.fa").write_bytes(FASTA)
    one = str(tmp_path / "one.fa")
    for line in (["--file", one, "--file", one], ["--sample"]):
        done = run_cli("fetch", *line, "--name", "mine")
        assert_failure(done, "`--name`", exit_code=2)
    assert not (tmp_path / "cache").exists()


def test_a_name_taken_by_other_content_is_refused(
    run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    (tmp_path / "one.fa").write_bytes(FASTA)
    (tmp_path / "two.fa").write_bytes(b">other\nA\n")
    run_cli("fetch", "--file", str(tmp_path / "one.fa"))
    before = everything_in(cache_home)
    done = run_cli("fetch", "--file", str(tmp_path / "two.fa"), "--name", "one")
    assert_failure(done, "`one`", "other content", hint="genomes/one")
    assert everything_in(cache_home) == before


def test_duplicate_ids_are_kept_with_a_warning(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "g.fa").write_bytes(b">a\nACGT\n>a\nGG\n")
    done = run_cli("fetch", "--file", str(tmp_path / "g.fa"), "--json")
    assert done.exit_code == 0
    (row,) = json.loads(done.out)["genomes"]
    assert row["genome"]["num_records"] == 2
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: ")
    assert "`a` occurs more than once" in warning


def test_an_empty_request_is_an_error(run_cli: RunCommand) -> None:
    assert_failure(run_cli("fetch"), "nothing to fetch", hint="--sample", exit_code=2)


def test_a_full_disk_leaves_nothing(
    run_cli: RunCommand, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    done = run_cli("fetch", "--sample")
    assert_failure(done, "No space left on device", hint="no partial file was left")
    assert everything_in(cache_home) == {}
    assert names_in(cache_home / "genomes") == []
