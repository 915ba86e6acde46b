"""`pretrain` as several processes: who speaks, what is written, what is killed, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli import RunCommand, run_fresh, run_python
from tests.failures import assert_failure
from tests.models import CORPUS
from tests.small_runs import SMALL_MODEL

SMALL = f"""{SMALL_MODEL}
[model.attention]
name = "linear"
[training]
steps = 6
batch_size = 4
validate_every = 3
validation_windows = 8
checkpoint_every = 2
[memory]
plan = "full"
rows = 2
[compute]
precision = "fp32"
compile = "off"
"""
PROCESSES, SHARDS = "--set parallel.processes", "--set parallel.sequence_parallel"
pytestmark = [pytest.mark.distributed, pytest.mark.usefixtures("trained")]


@pytest.fixture
def line(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return ("pretrain", "--corpus", CORPUS, "--config", str(path), "--threads", "1")


def metrics(home: Path, name: str) -> bytes:
    return (home / "runs" / name / "metrics.jsonl").read_bytes()


def test_two_processes_write_and_report_as_one_does(
    line: tuple[str, ...], run_cli: RunCommand, cache_home: Path
) -> None:
    """To the bit: two halves of a step are added up, by one process or by two."""
    alone = run_cli(*line, "--name", "one", "--device", "cpu", "--json")
    assert alone.exit_code == 0, alone.err
    both = run_fresh(
        *line, "--name", "two", "--gpus", "0", "--set", "parallel.processes=2", "--json"
    )
    assert both.exit_code == 0, both.err
    assert metrics(cache_home, "two") == metrics(cache_home, "one")
    summaries = [json.loads(done.stdout)["summary"] for done in (alone, both)]
    assert [one["environment"]["processes"] for one in summaries] == ["1", "2"]
    assert summaries[0]["model"] == summaries[1]["model"]
    assert both.err.count("baseline: ") == 1
    assert both.err.count("step 6/6") == 1


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ("--gpus 99", "99 GPUs: torch finds", "0 runs on the CPU"),
        ("--gpus 1 --set parallel.processes=2", "one process per GPU", "parallel.processes"),
        ("--set parallel.processes=0", "`parallel.processes` cannot be 0", "1 or more"),
        ("--set parallel.shard=true", "several processes", "--gpus 2"),
        (f"{PROCESSES}=3 {SHARDS}=2", "groups of 2", "divide"),
        (f"{PROCESSES}=2 {SHARDS}=2 --set parallel.shard=true", "not both", "one of them"),
    ],
)
def test_invalid_requests_are_refused_before_any_work(
    options: str, words: str, hint: str, line: tuple[str, ...], run_cli: RunCommand
) -> None:
    done = run_cli(*line, "--name", "r", *options.split())
    assert_failure(done, words, hint=hint, exit_code=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (f"{PROCESSES}=3 --batch-size 2", "2 windows cannot be shared by 3 processes"),
        (f"{PROCESSES}=2 {SHARDS}=2 --attention softmax", "rows of `softmax`"),
        (
            f"{PROCESSES}=2 --set parallel.shard=true --set training.ema=0.9",
            "`parallel.shard` cannot be combined with `training.ema`",
        ),
    ],
)
def test_a_mistake_that_all_make_is_reported_once(
    options: str, words: str, line: tuple[str, ...]
) -> None:
    done = run_fresh(*line, "--name", "r", *options.split())
    assert done.exit_code == 2
    assert done.err.count("error:") == 1
    assert words in done.err
    assert done.err.count("hint:") == 1
    assert done.stdout == b""


@pytest.mark.slow
@pytest.mark.parametrize("options", [f"{SHARDS}=2", "--set parallel.shard=true"])
def test_parted_rows_and_weights_train_alike(
    options: str, line: tuple[str, ...], run_cli: RunCommand, cache_home: Path
) -> None:
    assert run_cli(*line, "--name", "one", "--device", "cpu").exit_code == 0
    done = run_fresh(*line, "--name", "two", *f"{PROCESSES}=2".split(), *options.split())
    assert done.exit_code == 0, done.err
    rows = [
        [json.loads(row) for row in metrics(cache_home, name).splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*rows, strict=True):
        for part in ("training", "validation"):
            if part in one:
                bits = one[part]["bits_per_base"]
                assert two[part]["bits_per_base"] == pytest.approx(bits, rel=1e-4)
    # What was written is a plain run: it is loaded and gone on with by one process.
    again = run_cli("embed", "-", "--model", "two", stdin=b">a\nACGTACGT\n")
    assert again.exit_code == 0, again.err


def workers_of(launcher: int) -> dict[int, int]:
    """Process ids of the workers, by rank."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks = [one[5:] for one in environment if one.startswith(b"RANK=")]
        if int(status[1]) == launcher and ranks:
            found[int(ranks[0])] = int(folder.name)
    return found


def begin(line: tuple[str, ...], home: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run of two processes that has written its first checkpoints."""
    command = [sys.executable, "-m", "genomeformer_cli", *line, "--name", "r"]
    process = subprocess.Popen(
        [*command, "--set", "parallel.processes=2", "--steps", "120", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    deadline = time.monotonic() + 240
    while not list((home / "runs/r/checkpoints").glob("step-00000004")):
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_recovers(
    rank: int, line: tuple[str, ...], run_cli: RunCommand, cache_home: Path
) -> None:
    process = begin(line, cache_home)
    os.kill(workers_of(process.pid)[rank], signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said.decode()
    assert b"all were started again (1 of at most 3 times)" in said
    assert b"resuming after step" in said
    assert b"Traceback" not in said
    assert b"error" not in said
    alone = run_cli(*line, "--name", "alone", "--steps", "120", "--device", "cpu")
    assert alone.exit_code == 0, alone.err
    assert metrics(cache_home, "r") == metrics(cache_home, "alone")


@pytest.mark.slow
def test_a_worker_that_keeps_ending_is_one_error(line: tuple[str, ...], cache_home: Path) -> None:
    process = begin(line, cache_home, "--set", "parallel.restarts=0")
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert said.count(b"error:") == 1
    assert b"process 1 of 2 was ended by SIGKILL, after 0 restarts" in said


@pytest.mark.slow
def test_an_interrupt_ends_all_of_them(line: tuple[str, ...], cache_home: Path) -> None:
    process = begin(line, cache_home)
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert said.count(b"error: interrupted") == 1
    assert b"Traceback" not in said
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers.values())


@pytest.mark.slow
def test_torchrun_starts_the_same_command(
    line: tuple[str, ...], run_cli: RunCommand, cache_home: Path
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run_python(*torchrun, "-m", "genomeformer_cli", *line, "--name", "two", "--gpus", "0")
    assert done.exit_code == 0, done.err
    assert done.err.count("baseline: ") == 1
    assert run_cli(*line, "--name", "one", "--device", "cpu").exit_code == 0
    assert metrics(cache_home, "two") == metrics(cache_home, "one")
