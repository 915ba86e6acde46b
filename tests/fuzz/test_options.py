"""No value of any option ends in `this is a bug` (exit code 70)."""

from __future__ import annotations

import signal
from itertools import islice
from pathlib import Path
from types import FrameType

import pytest

from tests.cli import RunCommand
from tests.fuzz.options import command_lines

SAMPLE = 12
SECONDS = 4.0


class Enough(BaseException):
    """A command took the value and works on; that is an answer too."""


def stop(number: int, frame: FrameType | None) -> None:
    raise Enough


def run_lines(run_cli: RunCommand, lines: list[list[str]]) -> list[str]:
    """Run command lines for a few seconds each; return those that ended in exit code 70."""
    failed = []
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for line in lines:
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                done = run_cli(*line)
            except Enough:
                continue
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if done.exit_code == 70:
                failed.append(f"{line[0]} {line[-2:]!r:.200}: {done.err.splitlines()[0]}")
    finally:
        signal.signal(signal.SIGALRM, before)
    return failed


@pytest.mark.filterwarnings("ignore")
def test_a_sample_of_option_values_is_never_a_bug(
    trained: Path, tmp_path: Path, run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    del trained
    monkeypatch.chdir(tmp_path)
    assert not run_lines(run_cli, list(islice(command_lines(tmp_path), SAMPLE)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shard", range(8))
def test_every_option_value_is_never_a_bug(
    trained: Path, tmp_path: Path, run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch, shard: int
) -> None:
    del trained
    monkeypatch.chdir(tmp_path)
    assert not run_lines(run_cli, list(islice(command_lines(tmp_path), shard, None, 8)))
