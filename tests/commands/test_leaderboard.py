"""`evaluate` of several models: one table of models and tasks, resumed pair by pair."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.mini_hub import Hub, Repository
from tests.models import RELEASED, RUN
from tests.published_folders import write_published

pytestmark = pytest.mark.usefixtures("trained", "one_process")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two tasks in one folder, each of one fold: share of G and C, and a motif."""
    folder = tmp_path / "suite"
    folder.mkdir()
    for name in ("gc", "motif"):
        rows = ["id\tsequence\tlabel\tsplit"]
        for number in range(36):
            letters = random_dna(36, number)
            label = sum(letter in "GC" for letter in letters) > 18
            if name == "motif":
                label = number % 2 == 0
                letters = f"TATAAT{letters}" if label else letters
            split = "test" if number % 3 == 0 else "train"
            rows.append(f"s{number}\t{letters}\t{'yes' if label else 'no'}\t{split}")
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def address(tmp_path: Path, hub: Hub) -> str:
    folder = write_published("dnabert2", tmp_path / "model")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    repository = hub.repositories["lab/other"] = Repository(private=False)
    repository.commit({**files, "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n"})
    return "hf://lab/other"


def tasks_of(suite: Path, *names: str) -> list[str]:
    return [part for name in names for part in ("--task", str(suite / f"{name}.tsv"))]


def test_models_and_tasks_in_one_table(
    run_cli: RunCommand, suite: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = ["evaluate", RELEASED, address, *tasks_of(suite, "gc", "motif"), "-o", str(out)]
    done = run_cli(*line, "--workers", "1")
    assert done.exit_code == 0, done.err
    for words in (RELEASED, address, "cc-by-nc-4.0", "apache-2.0", "best k-mers", "of 2"):
        assert words in done.out
    result = json.loads((out / "leaderboard.json").read_text())
    assert result["tasks"] == ["gc", "motif"]
    assert [(pair["model"], pair["task"]["name"]) for pair in result["pairs"]] == [
        (model, task) for model in (RELEASED, address) for task in ("gc", "motif")
    ]
    for pair in result["pairs"]:
        assert pair["cost"]["cpu_seconds"] > 0
        assert pair["cost"]["peak_bytes"] > 10**7
        assert {row["who"] for row in pair["task"]["rows"]} >= {"model", "random", "6-mers"}
    text = (out / "leaderboard.md").read_text()
    page = (out / "leaderboard.html").read_text()
    # Each model has a row of the first table, and one row per task of the second.
    assert text.count(f"| {RELEASED} |") == text.count(f"| {address} |") == 3
    assert page.count(f"<td>{RELEASED}</td>") == 3
    scores = [
        float(match) for match in re.findall(r"\| \S+ \| ([-\d.]+) \| [-\d.]+ \| \d of 2", text)
    ]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    alone = run_cli(
        *("evaluate", address, "--no-likelihood", *tasks_of(suite, "gc"), "--workers", "1"),
        *("--json", "-o", str(tmp_path / "alone")),
    )
    expected = json.loads(alone.out)["tasks"][0]["rows"]
    assert result["pairs"][2]["task"]["rows"] == expected


def test_finished_pairs_are_kept_and_failed_ones_repeated(
    run_cli: RunCommand, suite: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "out", write_published("dnabert2", tmp_path / "copy")
    line = ["evaluate", RELEASED, str(copy), "-o", str(out), "--workers", "1"]
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-4])
    done = run_cli(*line, *tasks_of(suite, "gc"))
    assert done.exit_code != 0
    assert "1 of 2 models failed" in done.err
    assert RELEASED in done.out
    (copy / "model.safetensors").write_bytes(weights)
    parts = {file.name: file.read_bytes() for file in (out / "parts").iterdir()}
    assert len(parts) == 1
    again = run_cli(*line, *tasks_of(suite, "gc"))
    assert again.exit_code == 0, again.err
    assert f"{RELEASED} is finished already" in again.err
    more = run_cli(*line, *tasks_of(suite, "gc", "motif"))
    assert more.exit_code == 0, more.err
    assert "is finished already" not in more.err
    kept = {file.name: file.read_bytes() for file in (out / "parts").iterdir()}
    assert len(kept) == 4
    assert kept.items() >= parts.items()
    # Other rows under one name, or other settings, are other pairs.
    rows = (suite / "gc.tsv").read_text()
    (suite / "gc.tsv").write_text(rows.replace("\tyes\t", "\tno\t", 1))
    assert run_cli(*line, *tasks_of(suite, "gc")).exit_code == 0
    assert run_cli(*line, *tasks_of(suite, "gc"), "--seed", "1").exit_code == 0
    assert len([*(out / "parts").iterdir()]) == 8


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        ([RUN, RELEASED], "none are given", "--task"),
        ([RUN, RUN, "--task", "x.tsv"], "named twice", "once"),
        ([RUN, RELEASED, "--held-out", "x.fa"], "`--held-out` applies to", "--suite"),
    ],
)
def test_requests_that_cannot_be_ranked(
    run_cli: RunCommand, arguments: list[str], words: str, hint: str, tmp_path: Path
) -> None:
    done = run_cli("evaluate", *arguments, "-o", str(tmp_path / "out"))
    assert_failure(done, words, hint=hint, exit_code=2)
    assert not (tmp_path / "out").exists()
