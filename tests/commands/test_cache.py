"""`cache`: what it lists, verifies and removes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.files import everything_in, flip_a_byte, names_in


def test_path_prints_the_root_and_makes_nothing(run_cli: RunCommand, cache_home: Path) -> None:
    done = run_cli("cache", "path")
    assert (done.exit_code, done.out, done.err) == (0, f"{cache_home}\n", "")
    assert not cache_home.exists()


def test_an_empty_cache_has_a_hint(run_cli: RunCommand) -> None:
    assert "fetch --sample" in run_cli("cache", "ls").out
    assert json.loads(run_cli("cache", "ls", "--json").out) == []
    assert json.loads(run_cli("cache", "verify", "--json").out) == []


def test_ls_lists_every_kind(run_cli: RunCommand, trained: Path) -> None:
    rows = json.loads(run_cli("cache", "ls", "--json").out)
    found = [(row["kind"], row["name"]) for row in rows]
    assert found == [
        ("genomes", "NC_001422.1"),
        ("vocabularies", "char"),
        ("corpora", "phage"),
        ("runs", "run"),
        ("weights", "released"),
    ]
    assert all(row["num_bytes"] > 0 and Path(row["path"]).is_dir() for row in rows)
    (row,) = json.loads(run_cli("cache", "ls", "runs", "--json").out)
    assert row["name"] == "run"
    table = run_cli("cache", "ls").out.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [list(pair) for pair in found]


def test_a_whole_cache_verifies(run_cli: RunCommand, trained: Path) -> None:
    done = run_cli("cache", "verify", "--json")
    assert done.exit_code == 0
    rows = json.loads(done.out)
    assert len(rows) == 5
    assert all(row["problem"] is None and row["num_files"] for row in rows)


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("genomes/NC_001422.1/NC_001422.1.fa.gz", "genomes/NC_001422.1"),
        ("vocabularies/char/tokenizer.json", "vocabularies/char"),
        ("corpora/phage/tokens-00000.bin", "corpora/phage"),
        ("runs/run/checkpoints/step-00000004/model.safetensors", "runs/run"),
        ("runs/run/checkpoints/step-00000002/optimizer.safetensors", "runs/run"),
        ("weights/released/model.safetensors", "weights/released"),
        ("weights/released/README.md", "weights/released"),
    ],
)
def test_a_flipped_byte_is_found(file: str, entry: str, run_cli: RunCommand, trained: Path) -> None:
    flip_a_byte(trained / file)
    done = run_cli("cache", "verify", "--json")
    assert done.exit_code == 1
    problems = {f"{row['kind']}/{row['name']}": row["problem"] for row in json.loads(done.out)}
    assert str(trained / file) in problems.pop(entry)
    assert set(problems.values()) == {None}
    assert run_cli("cache", "verify", entry).exit_code == 1
    others = [name for name in problems if name != entry]
    assert run_cli("cache", "verify", *others).exit_code == 0


def test_rm_removes_what_is_named_and_nothing_else(run_cli: RunCommand, trained: Path) -> None:
    before = everything_in(trained)
    done = run_cli("cache", "rm", "corpora/phage", "released", "--json")
    assert done.exit_code == 0
    assert [row["name"] for row in json.loads(done.out)] == ["phage", "released"]
    gone = ("corpora/", "weights/")
    assert everything_in(trained) == {
        name: content for name, content in before.items() if not name.startswith(gone)
    }
    assert names_in(trained / "corpora") == names_in(trained / "weights") == []


def test_rm_names_each_removed_entry_once(run_cli: RunCommand, trained: Path) -> None:
    done = run_cli("cache", "rm", "phage", "corpora/phage", "released", "phage")
    assert (done.exit_code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "removed corpora/phage",
        "removed weights/released",
    ]


def test_rm_removes_nothing_unless_every_name_is_there(run_cli: RunCommand, trained: Path) -> None:
    before = everything_in(trained)
    assert_failure(run_cli("cache", "rm", "phage", "nothing"), "`nothing`", hint="cache ls")
    assert_failure(run_cli("cache", "rm", "runs/phage"), "`phage`", hint="`run`")
    assert_failure(run_cli("cache", "rm", "pictures/run"), "`pictures`", exit_code=2)
    assert everything_in(trained) == before


@pytest.mark.usefixtures("one_process")
def test_a_name_of_several_kinds_must_be_qualified(run_cli: RunCommand, trained: Path) -> None:
    assert run_cli("release", "run").exit_code == 0
    done = run_cli("cache", "rm", "run")
    assert_failure(done, "`run`", hint="`runs/run`, `weights/run`", exit_code=2)
    assert run_cli("cache", "rm", "weights/run").exit_code == 0
    assert run_cli("cache", "rm", "run").exit_code == 0
    assert names_in(trained / "runs") == []
