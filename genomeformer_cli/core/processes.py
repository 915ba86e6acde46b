"""Start Python processes: one task with its reports, a pool of workers, or one of our modules.

Processes are spawned: a fork would copy the memory and the threads of torch. `torchrun`-style
training processes are started by `training/launcher`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, TypeVar

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.reporting import Event, Reporter, Tracker

_Task = TypeVar("_Task")
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, kw_only=True)
class TaskFailure:
    """Failure of a task in another process."""

    message: str  # One sentence.
    hint: str | None = None  # Possible next step.


def run_in_fresh_process(
    work: Callable[[_Task, Reporter], None], task: _Task, reporter: Reporter
) -> TaskFailure | None:
    """Run a task in a fresh process, which ends with this one, and wait for it.

    Args:
        work: Function of a module.
        task: Argument of the function; a dataclass of plain values.
        reporter: Receives the reports of the task.

    Returns:
        Failure of the task; None if it succeeded.
    """
    receiver, sender = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_begin, args=(work, task, sender))
    process.start()
    sender.close()
    try:
        failure = _forward_reports(receiver, reporter)
        process.join()
    finally:
        receiver.close()
        if process.is_alive():
            process.terminate()
        process.join()
    if failure is None and process.exitcode:
        return _exit_failure(process.exitcode)
    return failure


@contextmanager
def worker_pool(
    num_workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of workers; tasks that have not begun are cancelled at the end.

    Args:
        num_workers: Number of processes.
        initializer: Function of a module that prepares each process.
        arguments: Arguments of the initializer.
    """
    pool = ProcessPoolExecutor(
        num_workers, mp_context=_SPAWN, initializer=initializer, initargs=arguments
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def shared_queue(items: Sequence[Any]) -> SimpleQueue[Any]:
    """Return a queue of items from which the workers of a pool take one each."""
    queue = _SPAWN.SimpleQueue()
    for item in items:
        queue.put(item)
    return queue


def run_module(
    module: str, arguments: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a module of the package in a new interpreter, and capture its output.

    Args:
        module: Module with a main block.
        arguments: Command-line arguments.
        folder: Working folder.
        environment: Variables of the process; the search path of modules is added.
    """
    package = Path(__file__).parents[2]
    # Absolute paths: the working folder of the new process differs.
    paths = [str(package), *(str(Path(part).absolute()) for part in sys.path if part)]
    return subprocess.run(  # noqa: S603 - our own module, no shell
        [sys.executable, "-P", "-m", module, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=False,
        text=True,
    )


def _exit_failure(code: int) -> TaskFailure:
    if code >= 0:
        return TaskFailure(message=f"its process ended with exit code {code}")
    name = signal.Signals(-code).name
    reason = ", for want of memory perhaps" if -code == signal.SIGKILL else ""
    return TaskFailure(message=f"its process was ended by {name}{reason}")


def _forward_reports(receiver: Connection, reporter: Reporter) -> TaskFailure | None:
    """Pass reports of the task to the reporter until the task ends; return its failure."""
    failure: TaskFailure | None = None
    tracks: dict[int, tuple[ExitStack, Tracker]] = {}
    with ExitStack() as whole:
        while True:
            try:
                kind, value = receiver.recv()
            except EOFError:
                return failure
            if kind == "failed":
                failure = value
            elif kind == "track":
                number, *arguments = value
                stack = whole.enter_context(ExitStack())
                tracks[number] = (stack, stack.enter_context(reporter.track(*arguments)))
            elif kind == "advance":
                tracks[value[0]][1].advance(value[1])
            elif kind == "done":
                tracks.pop(value)[0].close()
            else:
                getattr(reporter, kind)(value)


def _begin(work: Callable[[_Task, Reporter], None], task: _Task, sender: Connection) -> None:
    # Ctrl-C reaches every process of a terminal; the parent process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(task, _Relay(sender))
    except GenomeformerError as failure:
        sender.send(("failed", TaskFailure(message=failure.message, hint=failure.hint)))
    except Exception as failure:  # noqa: BLE001 - the parent reports it and continues
        lines = str(failure).strip().splitlines()
        message = f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__
        sender.send(("failed", TaskFailure(message=message)))
    finally:
        sender.close()


def _end_with_parent() -> None:
    """Exit when the parent exits, so that no orphan holds a lock; files are whole at any time."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Relay:
    """Reporter that sends to the parent process."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender
        self._num_tracks = 0

    def note(self, message: str) -> None:
        self._sender.send(("note", message))

    def debug(self, message: str) -> None:
        self._sender.send(("debug", message))

    def warn(self, message: str) -> None:
        self._sender.send(("warn", message))

    def record(self, event: Event) -> None:
        self._sender.send(("record", event))

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator[Tracker]:
        self._num_tracks += 1
        number = self._num_tracks
        self._sender.send(("track", (number, label, total, unit)))
        try:
            yield _Steps(self._sender, number)
        finally:
            self._sender.send(("done", number))


class _Steps:
    def __init__(self, sender: Connection, number: int) -> None:
        self._sender = sender
        self._number = number

    def advance(self, amount: int) -> None:
        self._sender.send(("advance", (self._number, amount)))
