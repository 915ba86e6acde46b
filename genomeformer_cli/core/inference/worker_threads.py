"""Run independent tasks of a model in worker threads, each on one CPU core.

The number of workers is torch's number of CPU threads. Threads share one copy of the weights and
start at once; torch releases the interpreter lock within its operations. Every task runs on one
core for any number of workers, so that results are bitwise independent of it. Costly tasks start
first, so that the workers end at nearly the same time. A task waits while the activations of the
running tasks leave no room for its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

from genomeformer_cli.core.inference.cost import Demand
from genomeformer_cli.core.memory_plans.memory_meter import available_bytes

T = TypeVar("T")
R = TypeVar("R")

# Share of the available memory that activations of all workers may use.
_MEMORY_SHARE = 0.5


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    device: torch.device,
    demand: Demand | None = None,
    on_done: Callable[[T], None] | None = None,
) -> list[R]:
    """Apply a function to every task without gradients, and return the results in order.

    Args:
        function: Function of a task; on the CPU, it runs in several threads at once.
        tasks: Tasks, independent of each other.
        device: Device of the model; on a GPU the tasks run one after the other.
        demand: Cost and memory of each task; None: equal costs, and memory for all at once.
        on_done: Called in this thread with each finished task, in any order.

    Raises:
        Exception: The error of the first failed task.
    """
    num_workers = min(torch.get_num_threads(), len(tasks)) if device.type == "cpu" else 1
    if demand is None:
        demand = Demand([1.0] * len(tasks), [0] * len(tasks))
    order = start_order(demand.costs)
    if num_workers > 1:
        budget = int(_MEMORY_SHARE * available_bytes(device))
        queue = _TaskQueue(function, tasks, order, demand.num_bytes, budget)
        with _one_thread_per_worker(device):
            return queue.run(num_workers, on_done)
    results: dict[int, R] = {}
    with _one_thread_per_worker(device), torch.inference_mode():
        for index in order:
            results[index] = function(tasks[index])
            if on_done is not None:
                on_done(tasks[index])
    return [results[index] for index in range(len(tasks))]


def start_order(costs: Sequence[float]) -> list[int]:
    """Return the indices of tasks in the order of their starts: the most costly first."""
    return sorted(range(len(costs)), key=lambda index: -costs[index])


@contextmanager
def _one_thread_per_worker(device: torch.device) -> Iterator[None]:
    """Set torch to one CPU thread, and restore its number of threads."""
    num_threads = torch.get_num_threads()
    if device.type != "cpu" or num_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


class _TaskQueue(Generic[T, R]):
    """Queue from which every worker takes its next task."""

    def __init__(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        order: Sequence[int],
        num_bytes: Sequence[int],
        budget: int,
    ) -> None:
        self._function = function
        self._tasks = tasks
        self._waiting = list(reversed(order))
        self._num_bytes = num_bytes
        self._free = self._budget = budget
        self._changed = threading.Condition()
        self._results: dict[int, R] = {}
        self._finished: list[int] = []
        self._failures: dict[int, BaseException] = {}

    def run(self, num_workers: int, on_done: Callable[[T], None] | None) -> list[R]:
        """Run all tasks in threads, and return their results in order."""
        threads = [
            threading.Thread(target=self._work, name=f"worker {number}")
            for number in range(num_workers)
        ]
        for thread in threads:
            thread.start()
        try:
            self._report(on_done)
        finally:
            with self._changed:
                self._waiting.clear()
                self._changed.notify_all()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[min(self._failures)]
        return [self._results[index] for index in range(len(self._tasks))]

    def _report(self, on_done: Callable[[T], None] | None) -> None:
        """Call `on_done` for finished tasks until all are finished or one has failed."""
        num_reported = 0
        while num_reported < len(self._tasks):
            with self._changed:
                self._changed.wait_for(lambda: bool(self._finished or self._failures))
                if self._failures:
                    return
                finished, self._finished = self._finished, []
            num_reported += len(finished)
            if on_done is not None:
                for index in finished:
                    on_done(self._tasks[index])

    def _work(self) -> None:
        # A new thread has the default number of threads of OpenMP.
        torch.set_num_threads(1)
        with torch.inference_mode():
            while (index := self._take()) is not None:
                try:
                    result = self._function(self._tasks[index])
                except BaseException as failure:  # noqa: BLE001 - raised again in `run`
                    with self._changed:
                        self._failures[index] = failure
                        self._waiting.clear()
                        self._changed.notify_all()
                    return
                with self._changed:
                    self._results[index] = result
                    self._finished.append(index)
                    self._free += self._num_bytes[index]
                    self._changed.notify_all()

    def _take(self) -> int | None:
        """Return the next task when its memory is free; None at the end of the queue."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._has_room(self._waiting[-1]))
            if not self._waiting:
                return None
            index = self._waiting.pop()
            self._free -= self._num_bytes[index]
            return index

    def _has_room(self, index: int) -> bool:
        """Return True if a task fits into the budget, or no other task is running."""
        return self._num_bytes[index] <= self._free or self._free == self._budget
