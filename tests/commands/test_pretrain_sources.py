"""Sources of a pretraining from the command line: mixtures, repeats and teachers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

from tests.annotations import PHIX
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.small_runs import BASE, corpus

pytestmark = pytest.mark.usefixtures("without_pictures")


def test_a_mixture_is_recorded_reported_and_resumed(
    run_cli: RunCommand, config: str, cache_home: Path, tmp_path: Path
) -> None:
    assert run_cli("fetch", "--sample").exit_code == 0
    phage = tmp_path / "phage.gb.gz"
    phage.write_bytes(PHIX.read_bytes())
    genes = ["tokenize", str(phage), "--split", "tail", "--name", "c"]
    done = run_cli(*genes, "--genome", "NC_001416.1")
    assert done.exit_code == 0, done.err
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    mix = ["--mix", "NC_001416.1=3", "--mix", "cds-start=0.5"]
    done = run_cli(*arguments, *mix, "--set", "sampling.mix.rest=0.5", "--json")
    assert done.exit_code == 0, done.err
    summary = json.loads(done.out)["summary"]
    assert summary["epochs"].keys() == {"NC_001416.1", "cds-start", "rest"}
    assert "mix `NC_001416.1`: 75.0% of the windows, 0.0" in done.err
    assert "mix `cds-start`: 12.5% of the windows, " in done.err
    recorded = tomllib.loads((cache_home / "runs" / "r" / "config.toml").read_text())
    assert recorded["sampling"]["mix"] == {"NC_001416.1": 3.0, "cds-start": 0.5, "rest": 0.5}
    assert len(json.loads((cache_home / "runs" / "r" / "run.json").read_text())["groups_sha256"])
    # The recorded configuration is the configuration; another mixture is another run.
    path = tmp_path / "again.toml"
    path.write_text((cache_home / "runs" / "r" / "config.toml").read_text())
    assert run_cli(*arguments[:-1], str(path)).exit_code == 0
    done = run_cli(*arguments, "--mix", "rest=1")
    assert_failure(done, "started with other settings", hint="another `--name`", exit_code=2)
    shown = run_cli("pretrain", "--show-config", "--mix", "NC_001416.1=3")
    path.write_text(shown.out)
    again = run_cli("pretrain", "--show-config", "--config", str(path))
    assert again.out == shown.out
    assert tomllib.loads(shown.out)["sampling"]["mix"] == {"NC_001416.1": 3.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--mix human", "not a name and a positive number"),
        ("--mix human=0", "not a name and a positive number"),
        ("--mix human=nan", "not a name and a positive number"),
        ("--mix =1", "not a name and a positive number"),
        ("--mix a=1 --mix a=2", "names `a` twice"),
        ("--mix human=1", "no group `human`"),
        ("--mix promoter=1", "has an annotated promoter"),
        ("--set sampling.mix.rest=x", "`sampling.mix` cannot be"),
        ("--set sampling.mix.rest=1 --set sampling.mix.rest=2", "set twice"),
        ("--set sampling.mix=1", "`sampling.mix` cannot be `1`"),
        ("--set sampling.repeat_weight=2", "cannot be 2"),
    ],
)
def test_a_mixture_that_cannot_be_is_a_sentence(
    given: str, words: str, run_cli: RunCommand, config: str
) -> None:
    corpus(run_cli, "c")
    done = run_cli(*BASE, "--corpus", "c", "--name", "r", "--config", config, *given.split())
    assert_failure(done, words, exit_code=2)


def test_a_run_of_an_earlier_version_goes_on(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    assert run_cli(*arguments).exit_code == 0
    path = cache_home / "runs" / "r" / "config.toml"
    recorded = tomllib.loads(path.read_text())
    del recorded["sampling"]
    path.write_text(tomli_w.dumps(recorded))
    assert run_cli(*arguments).exit_code == 0
    done = run_cli(*arguments, "--mix", "rest=1")
    assert_failure(done, "sampling.mix", exit_code=2)


def test_weights_of_repeats_without_lower_case_are_a_warning(
    run_cli: RunCommand, config: str
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--name", "r", "--config", config]
    done = run_cli(*arguments, "--set", "masking.soft_mask_weight=0.1")
    assert done.exit_code == 0, done.err
    assert "has no lower-case bases" in done.err


TAUGHT = ["--teacher", "large", "--set", "teacher.features=0.2"]


@pytest.mark.usefixtures("one_process")
def test_a_teacher_is_recorded_and_its_projection_is_not_released(
    run_cli: RunCommand, config: str, cache_home: Path, tmp_path: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--config", config]
    assert run_cli(*arguments, "--name", "large", "--set", "model.width=32").exit_code == 0
    assert run_cli(*arguments, "--name", "other").exit_code == 0
    done = run_cli(*arguments, "--name", "r", *TAUGHT)
    assert done.exit_code == 0, done.err
    assert "teacher `large`: the loss has 0.5 of the cross-entropy, 0.5 of the" in done.err
    run = cache_home / "runs" / "r"
    assert tomllib.loads((run / "config.toml").read_text())["teacher"]["model"] == "large"
    assert len(json.loads((run / "run.json").read_text())["teacher_sha256"]) == 64
    assert [*run.glob("checkpoints/*/auxiliary.safetensors")]
    assert not [*(cache_home / "runs" / "large").glob("checkpoints/*/auxiliary.safetensors")]
    done = run_cli(*arguments, "--name", "r", "--teacher", "other", *TAUGHT[2:])
    assert_failure(done, "teacher.model: large -> other", "teacher_sha256", exit_code=2)
    done = run_cli("release", "r", "--name", "m", "--output", str(tmp_path / "m"))
    assert done.exit_code == 0, done.err
    assert not [*(tmp_path / "m").rglob("auxiliary*")]
    assert "teacher: `large`" in (tmp_path / "m" / "README.md").read_text()
    # A student of the masked objective may learn from two stacks, and be resumed.
    stacks = ["--memory", "two-stack", "--attention", "linear", "--set", "model.width=24"]
    assert run_cli(*arguments, "--name", "stacks", *stacks).exit_code == 0
    done = run_cli(*arguments, "--name", "s", "--teacher", "stacks", "--set", "teacher.logits=1")
    assert done.exit_code == 0, done.err


def test_a_teacher_that_cannot_be_is_a_sentence(
    run_cli: RunCommand, config: str, cache_home: Path
) -> None:
    corpus(run_cli, "c")
    arguments = [*BASE, "--corpus", "c", "--config", config]
    assert_failure(run_cli(*arguments, "--name", "r", "--teacher", "none"), "none")
    causal = [*arguments, "--name", "left", "--objective", "causal"]
    assert run_cli(*causal).exit_code == 0
    refused = run_cli(*arguments, "--name", "r", "--teacher", "left")
    assert_failure(refused, "sees one side", hint="--objective causal", exit_code=2)
    wide = ["--context", "128", "--name", "r", "--objective", "causal", "--teacher", "left"]
    assert_failure(run_cli(*arguments, *wide), "longer than the 64", hint="--context", exit_code=2)
    shared = ["--name", "r", "--teacher", "left", "--set", "teacher.temperature=0"]
    assert_failure(run_cli(*arguments, *shared), "teacher.temperature", exit_code=2)
