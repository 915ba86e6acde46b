"""Tasks in worker threads: order, bits, memory, failures, and no idle worker."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.inference import worker_threads
from genomeformer_cli.core.inference.cost import Demand
from genomeformer_cli.core.inference.worker_threads import run_tasks, start_order

CPU = torch.device("cpu")
SECONDS = 20.0


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("num_workers", [1, 2, 16])
def test_results_are_in_order_with_one_thread_per_task(num_workers: int) -> None:
    torch.set_num_threads(num_workers)
    done: list[int] = []

    def work(task: int) -> tuple[int, int, bool]:
        return task * task, torch.get_num_threads(), torch.is_inference_mode_enabled()

    costs = [float(task * 7 % 11) for task in range(40)]
    results = run_tasks(
        work, range(40), device=CPU, demand=Demand(costs, [0] * 40), on_done=done.append
    )
    assert results == [(task * task, 1, True) for task in range(40)]
    assert sorted(done) == list(range(40))
    assert torch.get_num_threads() == num_workers


def test_no_tasks_give_no_results() -> None:
    assert run_tasks(str, [], device=CPU) == []


@pytest.mark.parametrize("num_workers", [2, 16])
def test_every_worker_has_a_task_while_tasks_are_left(num_workers: int) -> None:
    torch.set_num_threads(num_workers)
    barrier = threading.Barrier(num_workers)
    # Each round of tasks passes the barrier only if all workers run one at the same time.
    rounds = 3
    places = run_tasks(lambda _: barrier.wait(SECONDS), range(rounds * num_workers), device=CPU)
    assert sorted(places) == sorted(rounds * [*range(num_workers)])


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_failure_ends_the_run_and_restores_the_threads(num_workers: int) -> None:
    torch.set_num_threads(num_workers)
    started: list[int] = []

    def work(task: int) -> int:
        started.append(task)
        if task == 4:
            raise ValueError("task 4")
        return task

    with pytest.raises(ValueError, match="task 4"):
        run_tasks(work, range(1000), device=CPU)
    assert len(started) < 1000
    assert torch.get_num_threads() == num_workers


def test_an_interrupt_ends_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    started: list[int] = []

    def interrupt(task: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(started.append, range(100_000), device=CPU, on_done=interrupt)
    assert len(started) < 100_000
    assert not [t for t in threading.enumerate() if t.name.startswith("worker ")]


def test_running_tasks_stay_within_the_memory_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(8)
    monkeypatch.setattr(worker_threads, "available_bytes", lambda device: 200)
    lock, used, peaks = threading.Lock(), [0], [0]
    sizes = [30, 70, 10, 400, 50, 20] * 6  # 400 does not fit and runs alone.

    def work(size: int) -> None:
        with lock:
            used[0] += size
            peaks.append(used[0])
        threading.Event().wait(0.002)
        with lock:
            used[0] -= size

    run_tasks(work, sizes, device=CPU, demand=Demand([1.0] * len(sizes), sizes))
    assert max(peaks) == 400
    assert max(peak for peak in peaks if peak < 400) <= 100


@given(
    costs=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=300),
    num_workers=st.integers(1, 16),
)
def test_simulated_workers_are_busy_until_no_task_is_left(
    costs: list[float], num_workers: int
) -> None:
    ends = [0.0] * num_workers
    starts = []
    for index in start_order(costs):
        start = heapq.heappop(ends)
        starts.append(start)
        heapq.heappush(ends, start + costs[index])
    # A worker that ends before the last start would have been idle while a task was left.
    assert min(ends) >= max(starts)
    # Every task starts before the mean load of the workers is done.
    assert max(starts) <= sum(costs) / num_workers + 1e-6


def test_equal_bits_for_any_number_of_workers() -> None:
    weights = torch.randn(300, 300, generator=torch.Generator().manual_seed(0))
    rows = [
        torch.randn(50 + size, 300, generator=torch.Generator().manual_seed(size))
        for size in range(24)
    ]
    results = []
    for num_workers in (1, 2, 5):
        torch.set_num_threads(num_workers)
        results.append(run_tasks(lambda row: (row @ weights).sum(0).numpy(), rows, device=CPU))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
