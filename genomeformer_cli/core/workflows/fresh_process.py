"""Work in a process of its own, so that its memory is its own and its end is nobody else's.

What it tells its reporter is passed on to ours. It ends when we do, however we end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.reporting import Event, Reporter, Tracker

_Task = TypeVar("_Task")
_Message = tuple[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why work was not done.

    Attributes:
        message: One sentence.
        hint: What could be done about it.
    """

    message: str
    hint: str | None = None


def run_in_fresh_process(
    work: Callable[[_Task, Reporter], None], task: _Task, reporter: Reporter
) -> Failed | None:
    """Do work in a fresh process and wait for it.

    Args:
        work: A function of a module.
        task: What it is told; a dataclass of plain values.
        reporter: Hears what the work reports.

    Returns:
        What it failed with, if it failed; whatever that was, we go on.
    """
    # A fork would begin with our memory, and torch's threads as they stand.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_begin, args=(work, task, theirs))
    process.start()
    theirs.close()
    try:
        failed = _listen(ours, reporter)
        process.join()
    finally:
        ours.close()
        if process.is_alive():
            process.terminate()
        process.join()
    if failed is None and process.exitcode:
        return _ended(process.exitcode)
    return failed


def _ended(code: int) -> Failed:
    if code >= 0:
        return Failed(message=f"its process ended with exit code {code}")
    name = signal.Signals(-code).name
    reason = ", for want of memory perhaps" if -code == signal.SIGKILL else ""
    return Failed(message=f"its process was ended by {name}{reason}")


def _listen(ours: Connection, reporter: Reporter) -> Failed | None:
    """Pass on what is reported until the other side is done."""
    failed: Failed | None = None
    tracks: dict[int, tuple[ExitStack, Tracker]] = {}
    with ExitStack() as whole:
        while True:
            try:
                kind, value = ours.recv()
            except EOFError:
                return failed
            if kind == "failed":
                failed = value
            elif kind == "track":
                number, *what = value
                stack = whole.enter_context(ExitStack())
                tracks[number] = (stack, stack.enter_context(reporter.track(*what)))
            elif kind == "advance":
                tracks[value[0]][1].advance(value[1])
            elif kind == "done":
                tracks.pop(value)[0].close()
            else:
                getattr(reporter, kind)(value)


def _begin(work: Callable[[_Task, Reporter], None], task: _Task, theirs: Connection) -> None:
    # Ctrl-C reaches every process of a terminal; the one that waits for us ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(task, _Relay(theirs))
    except GenomeformerError as failure:
        theirs.send(("failed", Failed(message=failure.message, hint=failure.hint)))
    except Exception as failure:  # noqa: BLE001 - of many trainings, one that fails is told of
        lines = str(failure).strip().splitlines()
        message = f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__
        theirs.send(("failed", Failed(message=message)))
    finally:
        theirs.close()


def _end_with_parent() -> None:
    """Leave no orphan that holds a lock; what runs leave behind is whole at any instant."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Relay:
    """A reporter that speaks to another process."""

    def __init__(self, theirs: Connection) -> None:
        self._theirs = theirs
        self._num_tracks = 0

    def note(self, message: str) -> None:
        self._theirs.send(("note", message))

    def debug(self, message: str) -> None:
        self._theirs.send(("debug", message))

    def warn(self, message: str) -> None:
        self._theirs.send(("warn", message))

    def record(self, event: Event) -> None:
        self._theirs.send(("record", event))

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator[Tracker]:
        self._num_tracks += 1
        number = self._num_tracks
        self._theirs.send(("track", (number, label, total, unit)))
        try:
            yield _Steps(self._theirs, number)
        finally:
            self._theirs.send(("done", number))


class _Steps:
    def __init__(self, theirs: Connection, number: int) -> None:
        self._theirs = theirs
        self._number = number

    def advance(self, amount: int) -> None:
        self._theirs.send(("advance", (self._number, amount)))
