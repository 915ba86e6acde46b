"""A comparison from end to end: two mechanisms, killed on the way, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.store.layout import Kind, Store
from tests.cli import Finished, RunCommand
from tests.small_runs import SMALL_MODEL

SMALL = f"""{SMALL_MODEL}
[training]
batch_size = 4
validation_windows = 16
checkpoint_every = 5
"""
PATIENCE = 120.0


def result_of(done: Finished) -> dict[str, Any]:
    assert done.exit_code == 0, done.err
    result: dict[str, Any] = json.loads(done.out)
    return result


def numbers_of(result: dict[str, Any]) -> list[Any]:
    """Return the results that a kill must not change: all numbers but those of speed."""
    keys = ("variant", "bits_per_base", "accuracy", "gain", "steps", "flops", "num_parameters")
    return [[row[key] for key in keys] for row in result["rows"]]


@pytest.mark.usefixtures("one_process")
def test_a_killed_comparison_gives_the_numbers_of_one_that_was_not(
    tmp_path: Path, cache_home: Path, run_cli: RunCommand
) -> None:
    """The one that is killed runs in fresh processes, and is gone on with in this one."""
    config = tmp_path / "small.toml"
    config.write_text(SMALL)
    assert run_cli("fetch", "--sample").exit_code == 0
    made = run_cli("tokenize", "--genome", "NC_001416.1", "--split", "tail", "--name", "lambda")
    assert made.exit_code == 0
    base = ["compare", "lambda", "--config", str(config), "--attention", "softmax,linear"]
    base += ["--flops", "100M", "--threads", "1", "--device", "cpu", "--json"]
    whole = result_of(run_cli(*base, "--name", "whole"))

    arguments = [*base, "--name", "killed"]
    folder = cache_home / "comparisons" / "killed" / "runs" / "lambda-softmax-0"
    process = subprocess.Popen(
        [sys.executable, "-m", "genomeformer_cli", *arguments], stderr=subprocess.DEVNULL
    )
    stop = time.monotonic() + PATIENCE
    while not list(folder.glob("checkpoints/step-*")) and time.monotonic() < stop:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # The training ends with the command that started it; then its run can be written again.
    with Store(folder.parents[1]).lock(Kind.RUNS, folder.name, timeout=PATIENCE):
        pass
    done = run_cli(*arguments)
    result = result_of(done)
    assert numbers_of(result) == numbers_of(whole)
    assert {row["variant"] for row in result["rows"]} == {"softmax", "linear"}
    again = run_cli(*arguments)
    assert result_of(again) == result
    assert again.err.count("is finished already") == 2
