"""`generate`: FASTA of written and filled sequences, prompts of any kind, warnings."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from genomeformer_cli.core.workflows import generate
from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.models import CORPUS, RELEASED

pytestmark = pytest.mark.usefixtures("trained")

WRITER = "writer"
TINY = ("--set", "model.width=8", "--set", "model.depth=1", "--set", "model.num_heads=2")


@pytest.fixture
def writer(run_cli: RunCommand, without_pictures: None) -> str:
    del without_pictures
    done = run_cli(
        *("pretrain", "--corpus", CORPUS, "--name", WRITER, "--steps", "1", *TINY),
        *("--objective", "causal", "--attention", "softmax", "--set", "model.context=32"),
        *("--set", "training.batch_size=2", "--set", "training.validation_windows=2"),
    )
    assert done.exit_code == 0, done.err
    return WRITER


def records(done: Finished) -> list[tuple[str, dict[str, str], str]]:
    """Return id, figures and letters of FASTA records."""
    assert done.exit_code == 0, done.err
    parsed = []
    for block in done.out.split(">")[1:]:
        header, *lines = block.splitlines()
        name, *figures = header.split()
        parsed.append((name, dict(item.split("=") for item in figures), "".join(lines)))
    return parsed


def test_prompts_of_any_kind(run_cli: RunCommand, writer: str, tmp_path: Path) -> None:
    command = ("--model", writer, "--bases", "70")
    fasta = b">a\nACGTNACGTT\n>b\n\n"
    rows = records(run_cli("generate", "-", *command, "--both-sides", stdin=fasta))
    assert [name for name, _, _ in rows] == ["a", "b"]
    assert [len(letters) for _, _, letters in rows] == [150, 140]
    assert rows[0][2][70:80] == "ACGTNACGTT"
    assert (rows[0][1]["prompt"], rows[0][1]["generated"]) == ("71-80", "140")
    assert "prompt" not in rows[1][1]
    packed = tmp_path / "a.fa.gz"
    packed.write_bytes(gzip.compress(fasta))
    again = records(run_cli("generate", str(packed), *command, "--both-sides"))
    assert again == rows
    (alone,) = records(run_cli("generate", *command, "--temperature", "0"))
    assert (alone[0], len(alone[2])) == ("generated", 70)


def test_the_same_seed_gives_the_same_bytes(run_cli: RunCommand, writer: str) -> None:
    command = ("generate", "-", "--model", writer, "--bases", "70")
    many = run_cli(*command, "--num", "66", "--threads", "2", stdin=b">a\nACGT\n>b\nA\n")
    few = run_cli(*command, "--num", "2", "--threads", "1", stdin=b">a\nACGT\n")
    assert records(many)[:2] == records(few)
    assert records(run_cli(*command, "--seed", "1", stdin=b">a\nACGT\n"))[0] != records(few)[0]


def test_likelihoods_are_those_of_score(run_cli: RunCommand, writer: str) -> None:
    done = run_cli("generate", "--model", writer, "--bases", "200", "--num", "2")
    head, *lines = run_cli("score", "-", "--model", writer, stdin=done.stdout).out.splitlines()
    place = head.split("\t").index("log_likelihood")
    scores = [float(line.split("\t")[place]) for line in lines]
    written = [float(figures["log_likelihood"]) for _, figures, _ in records(done)]
    assert written == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--infill",), "nothing to fill"),
        (("-", "--infill", "--num", "2"), "`--num` has no effect with `--infill`"),
        (("-", "--infill", "--both-sides"), "`--both-sides` has no effect"),
        (("-", "--rounds", "2"), "`--rounds` has no effect without `--infill`"),
        (("-",), "only causal models write"),
    ],
)
def test_what_is_refused(run_cli: RunCommand, arguments: tuple[str, ...], words: str) -> None:
    done = run_cli("generate", *arguments, "--model", RELEASED, stdin=b">a\nACGTN\n")
    assert_failure(done, words, exit_code=2)


@pytest.mark.parametrize("name", ["Human mastadenovirus C", None])
def test_viruses_of_the_training_warn(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.setattr(generate, "suspected_virus", lambda folder: name)
    done = run_cli("generate", "-", "--infill", "--model", RELEASED, stdin=b">a\nANT\n")
    assert len(records(done)) == 1
    warned = re.findall("viruses that may infect eukaryotes, such as `(.*?)`", done.err)
    assert warned == ([name] if name else [])
