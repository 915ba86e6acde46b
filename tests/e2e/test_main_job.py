"""The main job from end to end in fresh processes, and what must survive a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests.cli import RunCommand, run_fresh

PROMOTERS = str(files("genomeformer_cli") / "assets" / "sequences" / "ecoli_promoters.fa")
SMALL_RUN = """
[model]
context = 64
width = 16
depth = 2
num_heads = 2
mlp_width = 24
[training]
steps = 60
batch_size = 4
validate_every = 20
validation_windows = 16
checkpoint_every = 5
"""


@pytest.fixture
def small_config(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL_RUN)
    return path


def succeed(*arguments: str) -> bytes:
    done = run_fresh(*arguments)
    assert done.exit_code == 0, done.err
    return done.stdout


def succeed_here(run_cli: RunCommand, *arguments: str) -> bytes:
    """Run a command in the process of the test, which must make no difference."""
    done = run_cli(*arguments)
    assert done.exit_code == 0, done.err
    return done.stdout


TOKENIZE = ("tokenize", "--genome", "NC_001416.1", "--split", "tail", "--name", "lambda")


def make_corpus(run_cli: RunCommand) -> None:
    succeed_here(run_cli, "fetch", "--sample")
    succeed_here(run_cli, *TOKENIZE)


def pretrain_arguments(name: str, config: Path, attention: str) -> list[str]:
    arguments = ["pretrain", "--corpus", "lambda", "--name", name, "--config", str(config)]
    return [*arguments, "--attention", attention, "--threads", "1", "--device", "cpu"]


@pytest.mark.parametrize(
    ("attention", "kills"), [("softmax", 1), pytest.param("performer", 2, marks=pytest.mark.slow)]
)
def test_a_killed_run_gives_the_bytes_of_one_that_was_not(
    attention: str, kills: int, small_config: Path, cache_home: Path, run_cli: RunCommand
) -> None:
    make_corpus(run_cli)
    succeed_here(run_cli, *pretrain_arguments("whole", small_config, attention))
    generator = np.random.default_rng(len(attention))
    killed = 0
    arguments = pretrain_arguments("killed", small_config, attention)
    run = cache_home / "runs" / "killed"
    for _ in range(kills):
        first = newest(run)
        process = subprocess.Popen(
            [sys.executable, "-m", "genomeformer_cli", *arguments], stderr=subprocess.DEVNULL
        )
        while process.poll() is None and newest(run) == first:
            time.sleep(0.005)
        time.sleep(float(generator.uniform(0, 0.1)))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed > 0
    succeed_here(run_cli, *arguments)
    whole = cache_home / "runs" / "whole"
    metrics = (whole / "metrics.jsonl").read_bytes()
    assert metrics.count(b"\n") == 60
    assert (run / "metrics.jsonl").read_bytes() == metrics
    for name in ("model.safetensors", "optimizer.safetensors"):
        last = Path("checkpoints") / "step-00000060" / name
        assert (run / last).read_bytes() == (whole / last).read_bytes()


def newest(run: Path) -> str:
    return max((path.name for path in (run / "checkpoints").glob("step-*")), default="")


@pytest.mark.usefixtures("one_process")
def test_from_genomes_to_vectors_of_a_released_model(
    small_config: Path, tmp_path: Path, cache_home: Path, run_cli: RunCommand
) -> None:
    """Every result of a fresh process is compared with that of the process of the test."""
    succeed("fetch", "--sample")
    succeed(*TOKENIZE)
    succeed(*pretrain_arguments("run", small_config, "performer"))
    succeed_here(run_cli, *pretrain_arguments("again", small_config, "performer"))
    last = Path("checkpoints") / "step-00000060" / "model.safetensors"
    run, again = (cache_home / "runs" / name / last for name in ("run", "again"))
    assert run.read_bytes() == again.read_bytes()
    vectors = tmp_path / "vectors.npy"
    vectors.write_bytes(succeed("embed", PROMOTERS, "--model", "run"))
    array = np.load(vectors)
    assert array.shape == (106, 16)
    assert array.dtype == np.float32
    assert np.isfinite(array).all()
    bundle = tmp_path / "bundle"
    succeed_here(run_cli, "release", "run", "--name", "gf-lambda", "-o", str(bundle))
    for model in (str(bundle), "gf-lambda"):
        line = ("embed", PROMOTERS, "--model", model)
        assert succeed_here(run_cli, *line) == vectors.read_bytes()
    assert succeed("cache", "verify")
