"""A few threads that take tasks from a line, and end at once when the user gives up.

Not an executor: its threads would be waited for at exit, however long their sockets sleep. These
are daemons; what they have written so far is on disk, and locks go with the process.
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
    tasks: Sequence[T], work: Callable[[T], R], *, jobs: int, halt: CancelToken
) -> Generator[tuple[T, R], None, None]:
    """Do `work` on every task, `jobs` at a time, and yield results as they come.

    The first exception of a worker ends the rest and is raised here; so does leaving the loop.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    done: queue.SimpleQueue[tuple[T, R] | BaseException] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=_serve, args=(waiting, done, work, halt), daemon=True)
        for _ in range(min(jobs, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    finished = False
    try:
        for _ in tasks:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
        finished = True
    finally:
        if not finished:
            halt.set()
        deadline = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _serve(
    waiting: queue.SimpleQueue[T],
    done: queue.SimpleQueue[tuple[T, R] | BaseException],
    work: Callable[[T], R],
    halt: CancelToken,
) -> None:
    try:
        while True:
            halt.check()
            task = waiting.get_nowait()
            done.put((task, work(task)))
    except (queue.Empty, CancelledError):
        return
    except BaseException as failure:  # noqa: BLE001 - it is raised in the main thread
        done.put(failure)
