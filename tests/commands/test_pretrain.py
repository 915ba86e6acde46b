"""`pretrain` from the command line: what is refused, what is resumed, runs beside each other."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.commands._options import parse_context
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.model_io.tensors import read_tensors
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.small_runs import BASE, corpus

DIALS = """
--attention performer --context 32:64 --steps 6 --memory full --set training.tokens_per_step=256
--set training.pack=off --set training.optimizer=muon --set training.ema=0.9
--set training.spike_factor=4 --set training.redraw_every=2 --set training.both_strands=true
--set masking.span=3 --set compute.precision=fp32 --set compute.compile=off
"""


TOKENIZERS = {
    "kmer": ["--tokenizer", "kmer", "--k", "3"],
    "overlapping": ["--tokenizer", "kmer", "--k", "3", "--stride", "1"],
    "bpe": ["--tokenizer", "bpe", "--vocab-size", "32"],
}


@pytest.mark.parametrize("tokens", TOKENIZERS)
@pytest.mark.parametrize("objective", ["masked", "causal"])
@pytest.mark.usefixtures("without_pictures")
def test_models_of_any_tokens_are_scored_per_base(
    tokens: str, objective: str, run_cli: RunCommand, config: str
) -> None:
    corpus(run_cli, "c", *TOKENIZERS[tokens])
    arguments = ["--corpus", "c", "--name", "r", "--config", config, "--objective", objective]
    done = run_cli(*BASE, *arguments, "--json")
    assert done.exit_code == 0, done.err
    summary = json.loads(done.out)["summary"]
    for who in ("model", "counts", "random_twin"):
        assert 1.7 < summary[who]["bits_per_base"] < 4.5
        assert (summary[who]["num_tokens"] is None) == (tokens == "overlapping")
        assert summary[who]["num_bases"] == summary["model"]["num_bases"]
    both_sides = tokens == "overlapping" and objective == "masked"
    assert summary["counts_looks"] == ("a side" if both_sides else "before")


ENDINGS = {
    "masked": "",
    "causal": "--objective causal",
    "two stacks": "--memory two-stack --attention linear",
    "reversible": "--memory reversible --attention linear",
    "averaged": "--set training.ema=0.9",
    "growing": "--context 32:64",
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_every_run_ends_with_a_summary_and_a_picture(
    kind: str, run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = ["--corpus", "c", "--name", "r", "--config", config, *ENDINGS[kind].split()]
    done = run_cli(*BASE, *arguments)
    assert done.exit_code == 0, done.err
    counted = "bases before" if kind == "causal" else "neighbours per side"
    for words in ("this model", counted, "same model, random weights", "the table of counts"):
        assert words in done.out
    assert "baseline: counts of " in done.err
    assert counted in done.err
    picture = cache_home / "runs" / "r" / "loss.png"
    assert f"picture: {picture}" in done.err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_with_a_step_that_was_no_number_is_drawn_too(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    assert run_cli(*arguments).exit_code == 0
    path = cache_home / "runs" / "r" / "metrics.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    row = json.loads(first) | {"left_out": True}
    row["training"]["bits_per_base"] = float("nan")
    path.write_text(json.dumps(row) + "\n" + "".join(rest))
    # As of an earlier version, whose results have no checksums.
    path.with_name("summary.json.sha256").unlink()
    done = run_cli(*arguments)
    assert done.exit_code == 0, done.err
    assert "picture: " in done.err


@pytest.mark.usefixtures("without_pictures")
def test_every_option_is_part_of_the_configuration(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    done = run_cli(*BASE, "--corpus", "c", "--name", "r", "--config", config, *DIALS.split())
    assert done.exit_code == 0, done.err
    assert "the average of its weights" in done.out
    run = tomllib.loads((cache_home / "runs" / "r" / "config.toml").read_text())
    wanted = {
        "start_length": 32,
        "tokens_per_step": 256,
        "pack": "off",
        "optimizer": "muon",
        "ema": 0.9,
        "spike_factor": 4.0,
        "redraw_every": 2,
        "both_strands": True,
    }
    assert {key: run["training"][key] for key in wanted} == wanted
    assert (run["model"]["context"], run["masking"]["span"]) == (64, 3)
    assert run["compute"] == {"precision": "fp32", "compile": "off", "kernels": "auto"}


@pytest.mark.usefixtures("without_pictures")
def test_what_was_chosen_stays_with_the_run(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    assert run_cli(*arguments).exit_code == 0
    chosen = json.loads((cache_home / "runs" / "r" / "compute.json").read_text())
    assert chosen["precision"] in ("fp32", "bf16")
    assert chosen["compile"] == "off"
    assert json.loads((cache_home / "trials.json").read_text())


@pytest.mark.usefixtures("without_pictures")
def test_slim_fills_the_budget_with_slices(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    causal = ["--attention", "linear", "--objective", "causal", "--context", "512"]
    slim = ["--memory", "slim", "--set", "memory.chunk=32", "--set", "parallel.memory_budget=4MiB"]
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config, *causal]
    planned = run_cli(*arguments, *slim, "--dry-run", "--json")
    assert planned.exit_code == 0, planned.err
    plan = json.loads(planned.out)
    assert plan["chosen"] == "slim"
    assert 1 < plan["kept"] <= 512 // (32 // 2)
    told = run_cli(*arguments, *slim, "--dry-run")
    assert f"the last {plan['kept']} slices computed once" in " ".join(told.out.split())
    assert not (cache_home / "runs").exists()
    done = run_cli(*arguments, *slim)
    assert done.exit_code == 0, done.err
    chosen = json.loads((cache_home / "runs" / "r" / "memory.json").read_text())
    assert (chosen["plan"], chosen["kept"]) == ("slim", plan["kept"])
    refused = run_cli(
        *arguments, "--memory", "full", "--set", "parallel.memory_budget=1MiB", "--dry-run"
    )
    assert_failure(refused, "`--memory full` takes", hint="parallel.memory_budget", exit_code=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--attention", "performer"], "attention.name: softmax -> performer"),
        (["--corpus", "other"], "corpus_inputs_sha256"),
        (["--corpus", "kmers"], "vocabulary"),
        (["--set", "training.optimizer=muon"], "training.optimizer: adamw -> muon"),
    ],
)
@pytest.mark.usefixtures("without_pictures")
def test_a_run_of_something_else_is_refused_and_the_difference_named(
    change: list[str], words: str, run_cli: RunCommand, config: str
) -> None:
    corpus(run_cli, "c")
    corpus(run_cli, "kmers", *TOKENIZERS["kmer"])
    other = ["tokenize", "--genome", "NC_001416.1", "--split", "tail", "--name", "other"]
    assert run_cli(*other).exit_code == 0
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    assert run_cli(*arguments).exit_code == 0
    assert_failure(run_cli(*arguments, *change), words, hint="--name", exit_code=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--context long", "invalid context"),
        ("--context 128:64", "cannot grow"),
        ("--set training.redraw_every=3", "no random features"),
        ("--set training.spike_factor=0.5", "spike"),
        ("--set training.ema=1.5", "`training.ema` cannot be 1.5"),
        ("--set training.optimizer=sgd", "training.optimizer"),
        ("--set compute.precision=fp8", "compute.precision"),
        ("--set compute.kernels=fast", "compute.kernels"),
        ("--set compute.kernels=fused --attention local --device cpu", "`local` attention cannot"),
        ("--set masking.span=0", "`masking.span` cannot be 0"),
        ("--set training.both_strands=true --objective causal", "both strands"),
    ],
)
def test_invalid_requests_are_refused_before_training(
    options: str, words: str, run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    assert_failure(run_cli(*arguments, *options.split()), words, hint="", exit_code=2)
    assert not any((cache_home / "runs" / "r").glob("*"))


def test_runs_are_watched_beside_each_other(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    for name in ("one", "two"):
        done = run_cli(*BASE, "--corpus", "c", "--name", name, "--config", config)
        assert done.exit_code == 0, done.err
    done = run_cli("pretrain", "--watch", "one", "--watch", "two", "--json")
    assert done.exit_code == 0, done.err
    one, two = json.loads(done.out)
    assert (one["name"], one["step"], one["steps"]) == ("one", 4, 4)
    assert two["validation"]["bits_per_base"] == one["validation"]["bits_per_base"]
    picture = cache_home / "runs" / "one" / "runs.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert_failure(run_cli("pretrain", "--watch", "none"), "none", hint="one", exit_code=1)


def test_contexts() -> None:
    assert parse_context("4096") == {"model": {"context": 4096}}
    growing = {"model": {"context": 4096}, "training": {"start_length": 256}}
    assert parse_context("256:4096") == growing
    for text in ("", "a", "1:2:3", "-5", "٣", "9" * 5000):
        with pytest.raises(UsageError):
            parse_context(text)


@pytest.mark.slow
def test_presets_list_their_cost(run_cli: RunCommand) -> None:
    done = run_cli("pretrain", "--list-presets", "--json")
    presets = json.loads(done.out)
    sizes = [one["num_parameters"] for one in presets.values()]
    assert sizes == sorted(sizes)
    assert sizes[0] < 10**6 < 10**9 < sizes[-1]
    for one in presets.values():
        assert one["checkpoint_bytes"] < one["full_bytes"]
        assert one["seconds"] > 0


@pytest.mark.parametrize("objective", ["masked", "causal", "surrounding"])
@pytest.mark.usefixtures("without_pictures")
def test_a_model_of_patches_is_trained_and_embeds(
    objective: str, run_cli: RunCommand, config: str
) -> None:
    corpus(run_cli, "c")
    arguments = ["--corpus", "c", "--name", "r", "--config", config, "--set", "model.patch=4"]
    done = run_cli(*BASE, *arguments, "--objective", objective, "--json")
    assert done.exit_code == 0, done.err
    assert 1.7 < json.loads(done.out)["summary"]["model"]["bits_per_base"] < 2.3
    embedded = run_cli("embed", "-", "--model", "r", stdin=b">a\nACGTTGCAA\n")
    assert embedded.exit_code == 0, embedded.err
    width = {"masked": 8, "causal": 8, "surrounding": 16}[objective]
    vectors = np.load(io.BytesIO(embedded.stdout))
    assert vectors.shape == (1, width)
    assert np.isfinite(vectors).all()


@pytest.mark.usefixtures("without_pictures")
def test_a_run_starts_from_the_weights_of_another(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--config", config]
    first = run_cli(*arguments, "--name", "first", "--json")
    assert first.exit_code == 0, first.err
    onward = ["--from", "first", "--context", "128", "--batch-size", "2", "--json"]
    # At this learning rate weights hardly move.
    still = [*arguments, *onward, "--learning-rate", "1e-9", "--name", "second"]
    second = run_cli(*still)
    assert second.exit_code == 0, second.err
    before, after = (
        read_tensors(newest_weights(cache_home / "runs" / name)) for name in ("first", "second")
    )
    assert all(bool((before[key] - after[key]).abs().max() < 1e-6) for key in before)
    identity = json.loads((cache_home / "runs" / "second" / "run.json").read_text())
    assert len(identity["origin_sha256"]) == 64

    again = run_cli(*[one for one in still if one not in ("--from", "first")])
    assert_failure(again, "origin_sha256", exit_code=2)
    wider = run_cli(*arguments, "--name", "third", "--from", "first", "--set", "model.patch=2")
    assert_failure(wider, "do not fit")
    corpus(run_cli, "words", *TOKENIZERS["kmer"])
    others = [*BASE, "--corpus", "words", "--config", config, "--name", "w", "--from", "first"]
    assert_failure(run_cli(*others), "has another vocabulary", exit_code=2)


def newest_weights(run: Path) -> Path:
    return max(run.glob("checkpoints/*/model.safetensors"))


def test_a_run_without_a_checkpoint_does_not_bind_its_name(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    # A plan that cannot train this model stops the run after its records were begun.
    assert run_cli(*arguments, "--memory", "slim").exit_code == 2
    run = cache_home / "runs" / "r"
    assert (run / "config.toml").is_file()
    (run / "memory.json").write_text("{}")
    done = run_cli(*arguments, "--memory", "full", "--steps", "2")
    assert done.exit_code == 0, done.err
    assert tomllib.loads((run / "config.toml").read_text())["memory"]["plan"] == "full"
    refused = run_cli(*arguments, "--memory", "full", "--steps", "3")
    assert_failure(refused, "training.steps: 2 -> 3", hint="--name", exit_code=2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pretrain --corpus cc --name x", "did you mean `c`?"),
        ("pretrain --corpus c --name x --attention sofmax", "did you mean `softmax`?"),
        ("pretrain --corpus c --name x --memory fulll", "did you mean `full`?"),
        ("pretrain --corpus c --name x --preset smal", "did you mean `small`?"),
        ("embed - --model defualt", "did you mean `default`?"),
        ("cache rm corpora/cc", "did you mean `c`?"),
        ("tokenize --all --name x --tokenizer kmre", "did you mean `kmer`?"),
    ],
)
def test_a_mistyped_name_gets_a_proposal(line: str, words: str, run_cli: RunCommand) -> None:
    corpus(run_cli, "c")
    done = run_cli(*line.split(), stdin=b">a\nACGT\n")
    assert done.exit_code in (1, 2)
    assert words in done.err
