"""`compare` from the command line: what may be compared, under which budget, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genomeformer_cli.commands.compare import parse_number, parse_variant
from genomeformer_cli.core.errors import UsageError
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.small_runs import SMALL_MODEL

SMALL = f"""{SMALL_MODEL}
[training]
batch_size = 2
validation_windows = 8
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [("500", 500), ("500k", 5e5), ("2M", 2e6), ("5e13", 5e13), ("1.5 T", 1.5e12), ("1,000", 1000)],
)
def test_numbers(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "-5", "2Q", "1e", "nan"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(UsageError):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("a: model.conv_width=0", {"model": {"conv_width": 0}}),
        ("a:model.width=32, context=32:64", {
            "model": {"width": 32, "context": 64}, "training": {"start_length": 32}}),
        ("a: attention=linear+local,model.attention.num_features=8", {
            "model": {"attention": {"name": "linear+local", "num_features": 8}}}),
        ("a: objective=causal,training.pack=off,training.ema=0.9", {
            "model": {"direction": "causal"}, "training": {"pack": "off", "ema": 0.9}}),
        ("a: memory=two-stack,model.tied=false,compute.compile=off", {
            "memory": {"plan": "two-stack"}, "model": {"tied": False},
            "compute": {"compile": "off"}}),
        ("a: masking.rate = 0.3", {"masking": {"rate": 0.3}}),
        ("a: model.complement=[1, 0]", {"model": {"complement": [1, 0]}}),
        ("a:", {}),
    ],
)  # fmt: skip
def test_a_variant_is_settings_by_their_names(text: str, overrides: dict[str, object]) -> None:
    found = parse_variant(text)
    assert found.name == "a"
    assert found.overrides == overrides


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("attention=local,model.attention.window=64", "attention-local-window-64"),
        ("context=256:1024", "context-256-1024"),
        ("no-conv: model.conv_width=0", "no-conv"),
    ],
)
def test_a_variant_without_a_name_is_named_by_its_settings(text: str, name: str) -> None:
    assert parse_variant(text).name == name


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "no-conv: model.conv_width=0"),
        ("a: --conv-width 0", "no-conv: model.conv_width=0"),
        ("a: model.widht=3", "model.width"),
        ("a: width=3", "model.width"),
        ("a: parallel.processes=3", "--show-config"),
        ("a: 3", "SECTION.KEY=VALUE"),
        ("a: objective=cuasal", "did you mean `causal`?"),
    ],
)
def test_no_variants(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_variant(text)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ("", "no corpus is given", "compare demo"),
        ("phage", "one budget", "--tokens"),
        ("phage --minutes 1 --tokens 5", "one budget", "--flops"),
        ("phage --tokens 0", "invalid budget: 0 tokens", "more than 0"),
        ("none --tokens 5", "none", "phage"),
        ("phage --tokens 5k --attention sofmax", "sofmax", "softmax"),
        ("phage --tokens 5k --attention softmax,softmax", "one name", "once"),
        ("phage --tokens 5k --preset big", "big", "tiny"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_invalid_requests_are_refused_before_training(
    options: str, words: str, hint: str, run_cli: RunCommand, cache_home: Path
) -> None:
    exit_code = 1 if options.startswith("none") else 2
    assert_failure(run_cli("compare", *options.split()), words, hint=hint, exit_code=exit_code)
    assert not (cache_home / "comparisons" / "phage" / "runs").exists()


@pytest.mark.usefixtures("trained")
def test_a_model_is_trained_in_a_process_of_its_own(
    run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = ["compare", "phage", "--config", str(tmp_path / "small.toml"), "--tokens", "1k"]
    done = run_cli(*arguments, "--attention", "linear", "--threads", "1", "--device", "cpu")
    assert done.exit_code == 0, done.err
    assert "training 1 of 1: phage-linear-0" in done.err
    summary = cache_home / "comparisons" / "phage" / "runs" / "phage-linear-0" / "summary.json"
    assert json.loads(summary.read_text())["num_steps"] == 7


@pytest.mark.usefixtures("trained", "one_process")
def test_two_and_one_that_cannot_be(run_cli: RunCommand, tmp_path: Path, cache_home: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = ["compare", "phage", "--config", str(tmp_path / "small.toml"), "--tokens", "1k"]
    arguments += ["--attention", "softmax,linear", "--threads", "1", "--device", "cpu"]
    arguments += ["--variant", "odd: model.width=31"]
    done = run_cli(*arguments)
    assert done.exit_code == 3
    assert "training 3 of 3: phage-odd-0" in done.err
    assert "1 of 3 trainings failed: phage-odd-0" in done.err
    for words in ("softmax", "linear", "random weights", "counts of", "odd on phage failed: width"):
        assert words in done.out
    folder = cache_home / "comparisons" / "phage"
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    again = run_cli(*arguments, "--json")
    result = json.loads(again.out)
    rows = {row["variant"]: row for row in result["rows"]}
    assert rows["odd"]["bits_per_base"] is None
    for name in ("softmax", "linear"):
        assert rows[name]["steps"] == 7
        assert rows[name]["peak_bytes"]["mean"] > 10**7
        assert rows[name]["bases_per_second"]["mean"] > 0
        run = folder / "runs" / f"phage-{name}-0"
        assert (run / "summary.json").exists()
    assert {one["is_random"] for one in result["baselines"]} == {True, False}
    listed = run_cli("cache", "ls")
    assert "comparisons" in listed.out
    assert run_cli("cache", "verify").exit_code == 0
    refused = run_cli(*arguments, "--seeds", "2")
    assert_failure(refused, "seeds: 1 -> 2", hint="--name", exit_code=2)


@pytest.mark.parametrize("model", ["hf://org/name", "folder", "released"])
def test_a_model_in_the_place_of_a_corpus_is_refused(
    run_cli: RunCommand,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    done = run_cli("compare", model, "phage", "--tokens", "1k")
    assert_failure(done, f"`{model}` is a model", hint="evaluate MODEL MODEL", exit_code=2)
    assert not (trained / "comparisons").exists()
