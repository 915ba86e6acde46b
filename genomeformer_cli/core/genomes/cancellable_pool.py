"""Thread pool that stops immediately on Ctrl-C.

The threads are daemons, because an executor would wait at exit for sockets that are blocked in a
read. Downloaded bytes are on disk already, and locks end with the process.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from genomeformer_cli.core.genomes.rate_limit import CancelledError, CancelToken

T = TypeVar("T")
R = TypeVar("R")
_GRACE = 3.0


def run_all(
    tasks: Sequence[T], function: Callable[[T], R], *, jobs: int, cancel: CancelToken
) -> Generator[tuple[T, R], None, None]:
    """Apply a function to every task in `jobs` threads, and yield results as they complete.

    The first exception of a thread cancels the others and is raised here; leaving the loop cancels
    them too.
    """
    task_queue: queue.SimpleQueue[T] = queue.SimpleQueue()
    for task in tasks:
        task_queue.put(task)
    results: queue.SimpleQueue[tuple[T, R] | BaseException] = queue.SimpleQueue()
    threads = [
        threading.Thread(
            target=_run_tasks, args=(task_queue, results, function, cancel), daemon=True
        )
        for _ in range(min(jobs, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    is_complete = False
    try:
        for _ in tasks:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
        is_complete = True
    finally:
        if not is_complete:
            cancel.set()
        deadline = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _run_tasks(
    task_queue: queue.SimpleQueue[T],
    results: queue.SimpleQueue[tuple[T, R] | BaseException],
    function: Callable[[T], R],
    cancel: CancelToken,
) -> None:
    try:
        while True:
            cancel.check()
            task = task_queue.get_nowait()
            results.put((task, function(task)))
    except (queue.Empty, CancelledError):
        return
    except BaseException as failure:  # noqa: BLE001 - it is raised in the main thread
        results.put(failure)
