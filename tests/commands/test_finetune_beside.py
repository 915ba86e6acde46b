"""Models beside the fine-tuned one: baselines, a linear model, a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from genomeformer_cli.core.sequence import reverse_complement
from tests.cli import RunCommand
from tests.commands.test_finetune import QUICK, SEQUENCES, classes, fasta, table, tuned
from tests.corpora import random_dna
from tests.models import RELEASED

__all__ = ["classes", "fasta"]

pytestmark = pytest.mark.usefixtures("trained")


def test_baselines_are_fitted_once_and_the_strongest_is_named(
    run_cli: RunCommand, classes: Path, cache_home: Path
) -> None:
    options = ["--target", "kind", "--set", "tuning.kmer=3"]
    plain = tuned(run_cli, classes, "floors", *options)
    assert "strongest" not in plain.out
    options += ["--set", "baselines=true"]
    summary = json.loads(tuned(run_cli, classes, "floors", *options, "--json").out)["summary"]
    names = [baseline["name"] for baseline in summary["baselines"]]
    assert names == [
        "kmers of both strands",
        "gapped kmers",
        "kmers",
        "places",
        "kmers and places",
        "network from scratch",
    ]
    values = [baseline["validation"]["measures"]["mcc"] for baseline in summary["baselines"]]
    again = tuned(run_cli, classes, "floors", *options)
    (line,) = [line for line in again.out.splitlines() if "strongest baseline" in line]
    assert values[names.index(line.partition(": ")[2].strip())] == max(values)
    assert "training the network" not in again.err, "results are stored"
    assert "| network from scratch" in (cache_home / "weights/floors/README.md").read_text()
    # Labels of bases have no such baselines.
    letters = [letters for _, letters in SEQUENCES]
    data = table(classes.with_name("bases.tsv"), label=[row.replace("N", "A") for row in letters])
    more = [
        "--kind",
        "per-base",
        "--set",
        "baselines=true",
        "--model",
        RELEASED,
        "--name",
        "bases",
        *QUICK,
    ]
    refused = run_cli("finetune", str(data), *more)
    assert refused.exit_code != 0
    assert "baselines=true" in refused.err


def test_a_linear_model_beside_the_weights(
    run_cli: RunCommand,
    classes: Path,
    fasta: Path,
    cache_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [
        "--target",
        "kind",
        "--linear",
        "kmers",
        "--set",
        "tuning.kmer=3",
        "--set",
        "tuning.strands=average",
    ]
    plain = tuned(run_cli, classes, "gc", *options, "--json")
    summary = json.loads(plain.out)["summary"]
    alone = summary["linear"]["test"]["measures"]["mcc"]
    assert summary["linear"]["test"]["measures"]["auroc"] > 0.75, "counts of words tell G and C"
    again = tuned(run_cli, classes, "gc", *options, "--seeds", "2")
    assert "linear" in again.out
    assert f"{alone:.4f}" in again.out
    bundle = cache_home / "weights" / "gc"
    assert f"| linear model alone | - | mcc {alone:.4f}" in (bundle / "README.md").read_text()
    assert json.loads((bundle / "config.json").read_text())["task"]["linear"]["k"] == 3
    # Its outputs are in the answers, and are those of both strands.
    turned = fasta.with_name("turned.fa")
    letters = random_dna(40, 1)
    other = letters[::-1].translate(str.maketrans("ACGT", "TGCA"))
    turned.write_text(f">one\n{letters}\n>other\n{other}\n")
    header, *rows = run_cli("predict", str(turned), "--model", "gc").out.splitlines()
    assert rows[0].split("\t")[2:] == rows[1].split("\t")[2:], header
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert run_cli("predict", str(turned), "--model", "gc").exit_code == 0, "to predict needs none"


def test_a_network_is_added_to_a_finished_run(
    run_cli: RunCommand, classes: Path, fasta: Path, cache_home: Path
) -> None:
    options = ["--target", "kind", "--set", "tuning.strands=average"]
    tuned(run_cli, classes, "gc", *options)
    options += ["--set", "network=on", "--seeds", "2", "--set", "members=all"]
    done = tuned(run_cli, classes, "gc", *options, "--json")
    summary = json.loads(done.out)["summary"]
    assert [stacked["seed"] for stacked in summary["stacked"]] == [0, 1]
    assert summary["ensemble"]["num_members"] == 2
    again = tuned(run_cli, classes, "gc", *options)
    assert "training the network" not in again.err, "networks are stored"
    card = (cache_home / "weights" / "gc-seed-1" / "README.md").read_text()
    first, second = summary["stacked"][1]["weights"]
    assert f"validation rows: {first:.2f} and {second:.2f}\n" in card
    assert "parameters, without the network. Released" in card.replace("\n", " ")
    for score in (again.out, card):
        for row in ("network alone", "with the network"):
            assert row in score
    config = json.loads((cache_home / "weights" / "gc-seed-1" / "config.json").read_text())
    assert config["task"]["network"]["num_filters"] == 128
    turned = fasta.with_name("turned.fa")
    letters = random_dna(40, 1)
    turned.write_text(f">one\n{letters}\n>other\n{reverse_complement(letters)}\n")
    members = [argument for name in summary["stacked"] for argument in _member(name["seed"])]
    _, *rows = run_cli("predict", str(turned), *members).out.splitlines()
    assert rows[0].split("\t")[2:] == rows[1].split("\t")[2:]


def _member(seed: int) -> tuple[str, str]:
    return "--model", f"gc-seed-{seed}"
