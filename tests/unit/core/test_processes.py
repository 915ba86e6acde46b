"""Work in a process of its own: what it reports arrives, and its end is nobody else's."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.processes import TaskFailure, run_in_fresh_process
from genomeformer_cli.core.reporting import Event, Reporter
from tests.reporters import Listening


@dataclass(frozen=True)
class Told(Event):
    """Something that happened there."""

    process: int


def report(task: str, reporter: Reporter) -> None:
    reporter.note(task)
    reporter.warn(task.upper())
    with reporter.track("work", 3, "pieces") as outer, reporter.track("more", None, "x") as inner:
        outer.advance(2)
        inner.advance(1)
    reporter.record(Told(os.getpid()))


def fail(task: str, reporter: Reporter) -> None:
    del reporter
    if task == "user":
        raise ConfigError("that cannot be", hint="do this")
    if task == "bug":
        raise ValueError("one line\nanother")
    if task == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_is_reported_arrives() -> None:
    reporter = Listening()
    assert run_in_fresh_process(report, "hello", reporter) is None
    assert (reporter.notes, reporter.warnings) == (["hello"], ["HELLO"])
    (event,) = reporter.events
    assert isinstance(event, Told)
    assert event.process != os.getpid()


@pytest.mark.parametrize(
    ("how", "failed"),
    [
        ("user", TaskFailure(message="that cannot be", hint="do this")),
        ("bug", TaskFailure(message="ValueError: one line")),
        ("exit", TaskFailure(message="its process ended with exit code 7")),
        (
            "killed",
            TaskFailure(message="its process was ended by SIGKILL, for want of memory perhaps"),
        ),
    ],
)
def test_a_failed_lookup_does_not_stop_the_command(how: str, failed: TaskFailure) -> None:
    assert run_in_fresh_process(fail, how, Listening()) == failed
