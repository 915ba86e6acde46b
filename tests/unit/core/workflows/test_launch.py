"""The number of processes that a run is trained in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.training.parallel_config import ParallelConfig
from genomeformer_cli.core.training.presets import preset
from genomeformer_cli.core.workflows import launch
from genomeformer_cli.core.workflows.launch import choose_processes, num_operations
from genomeformer_cli.core.workflows.pretrain import PretrainRequest

LONG = PretrainRequest(corpus="c", name="r", preset="small", device="cpu")


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(launch, "usable_cores", lambda: 6)
    monkeypatch.setattr(launch, "available_bytes", lambda _: 2**40)


@pytest.fixture
def store(tmp_path: Path, cores: None) -> Store:
    del cores
    store = Store(tmp_path)
    with store.create(Kind.CORPORA, "c") as folder:
        (folder / "manifest.json").write_text("{}")
    return store


def test_a_long_run_takes_equal_shares_of_the_rows(store: Store) -> None:
    """Eight rows: four processes with two each are as fast as five or six."""
    assert choose_processes(LONG, store) == 4
    assert choose_processes(replace(LONG, preset="default"), store) == 6


@pytest.mark.parametrize(
    "request_",
    [
        replace(LONG, preset="tiny"),
        replace(LONG, overrides={"training": {"steps": 20}}),
        replace(LONG, threads=2),
        replace(LONG, memory_budget=2**30),
        replace(LONG, corpus="unknown"),
        replace(LONG, parallel=ParallelConfig(processes=1)),
        replace(LONG, config_file=Path("/dev/stdin")),
    ],
)
def test_other_runs_take_one(request_: PretrainRequest, store: Store) -> None:
    assert choose_processes(request_, store) == 1


def test_threads_of_the_environment_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert choose_processes(LONG, store) == 1


def test_memory_bounds_the_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "available_bytes", lambda _: 5 * 2**30)
    assert choose_processes(LONG, store) == 2
    monkeypatch.setattr(launch, "available_bytes", lambda _: 0)
    assert choose_processes(LONG, store) == 1


@pytest.mark.parametrize(("recorded", "expected"), [(None, 1), (1, 1), (3, 3), (9, 6)])
def test_a_started_run_keeps_its_number(recorded: int | None, expected: int, store: Store) -> None:
    """Runs of before the record had one; more than there are cores are not started."""
    folder = store.path(Kind.RUNS, "r")
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("")
    if recorded is not None:
        (folder / "processes.json").write_text(json.dumps({"processes": recorded}))
    assert choose_processes(LONG, store) == expected
    assert choose_processes(replace(LONG, parallel=ParallelConfig(processes=2)), store) == 2


def test_operations_grow_with_the_run() -> None:
    one = preset("default")
    twice = replace(one, training=replace(one.training, steps=2 * one.training.steps))
    assert num_operations(twice) == pytest.approx(2 * num_operations(one))
    assert num_operations(preset("tiny")) < 3e13 < num_operations(preset("small"))
