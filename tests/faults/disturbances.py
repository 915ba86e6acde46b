"""Faults other than SIGKILL: signals, full disks, limits, no memory, no temporary folder.

Every kind draws a fault from a generator, so that a seed reproduces it.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.faults.commands import Command
from tests.faults.harness import GROWTH, Fault, Place, contents, differences, send
from tests.faults.kills import Undisturbed, run_again

# Interrupted, or ended by a signal that the shell reports by itself.
_ENDED = {130: "interrupted", -signal.SIGTERM: "", 128 + signal.SIGTERM: ""}
_MIB = 1 << 20


def _signal_at_event(draw: random.Random, expected: Undisturbed, number: signal.Signals) -> Fault:
    return send(number, draw.randint(1, expected.events))


def _signal_at_time(draw: random.Random, expected: Undisturbed, number: signal.Signals) -> Fault:
    # Seconds of the processor: the same moment on a busy machine.
    moment = max(draw.random() * expected.seconds, 1e-3)

    def begin() -> None:
        signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), number))
        signal.setitimer(signal.ITIMER_PROF, moment)

    return Fault(name=f"{number.name} after {moment:.3f} s", begin=begin)


def _full_disk(draw: random.Random, expected: Undisturbed) -> Fault:
    event = draw.randint(1, expected.events)

    def act(name: str) -> None:
        if name in GROWTH:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return Fault(name=f"full disk before event {event}", before=event, act=act, lasts=True)


def _quota(draw: random.Random, expected: Undisturbed) -> Fault:
    del expected
    size = draw.choice((0, 1, 100, 1_000, 10_000))
    return Fault(name=f"files of {size} bytes", begin=lambda: _limit(resource.RLIMIT_FSIZE, size))


def _full_stdout(draw: random.Random, expected: Undisturbed) -> Fault:
    del draw, expected

    def begin() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    return Fault(name="full standard output", begin=begin)


def _memory_error(draw: random.Random, expected: Undisturbed) -> Fault:
    event = draw.randint(1, expected.events)

    def act(name: str) -> None:
        raise MemoryError

    return Fault(name=f"MemoryError before event {event}", before=event, act=act)


def _address_space(draw: random.Random, expected: Undisturbed) -> Fault:
    del expected
    # With nothing left at all, the fork fails before it calls the program.
    room = draw.choice((1, 2, 4, 16, 64)) * _MIB

    def begin() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + room)

    return Fault(name=f"{room // _MIB} MiB of memory left", begin=begin)


def _open_files(draw: random.Random, expected: Undisturbed) -> Fault:
    del expected
    more = draw.randint(0, 6)

    def begin() -> None:
        used = max(int(name) for name in os.listdir("/dev/fd")) + 1  # noqa: PTH208
        _limit(resource.RLIMIT_NOFILE, used + more)

    return Fault(name=f"{more} more open files", begin=begin)


def _no_temporary_folder(draw: random.Random, expected: Undisturbed) -> Fault:
    del draw, expected

    def begin() -> None:
        os.environ["TMPDIR"] = "/nonexistent"
        vars(tempfile)["_candidate_tempdir_list"] = lambda: ["/nonexistent"]

    return Fault(name="no temporary folder", begin=begin)


def _limit(which: int, amount: int) -> None:
    resource.setrlimit(which, (amount, resource.getrlimit(which)[1]))


KINDS: dict[str, Callable[[random.Random, Undisturbed], Fault]] = {
    "ctrl-c-event": lambda draw, run: _signal_at_event(draw, run, signal.SIGINT),
    "ctrl-c-time": lambda draw, run: _signal_at_time(draw, run, signal.SIGINT),
    "sigterm-event": lambda draw, run: _signal_at_event(draw, run, signal.SIGTERM),
    "sigterm-time": lambda draw, run: _signal_at_time(draw, run, signal.SIGTERM),
    "case-75-full-disk": _full_disk,
    "case-75-full-stdout": _full_stdout,
    "case-76-file-size": _quota,
    "case-76-open-files": _open_files,
    "case-76-address-space": _address_space,
    "memory-error": _memory_error,
    "case-79-no-temporary-folder": _no_temporary_folder,
}


def find_damage(
    command: Command, expected: Undisturbed, fault: Fault, place: Place, base: Path
) -> list[str]:
    """Disturb a command; return everything unclear, half-written or lost."""
    place.reset(base)
    before = contents(place)
    done = place.run(command.line, fault)
    if done.code == 0:
        damage = differences(contents(place), expected.contents)
    else:
        damage = [*_unclear(done.code, done.err), *_half_written(before, place, expected)]
        damage += run_again(command, expected, place)
    return [f"{' '.join(command.line)}, {fault.name}: {one}" for one in damage]


def _unclear(code: int, err: str) -> list[str]:
    """Check that a failure is one sentence and a hint, and no bug."""
    if code in _ENDED:
        return [] if _ENDED[code] in err else [f"exit {code} without a word: {err}"]
    lines = err.splitlines()
    sentences = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    clear = code == 1 and len(sentences) == len(hints) == 1 and "this is a bug" not in err
    return [] if clear and "Traceback" not in err else [f"exit {code}: {err.strip()}"]


def _half_written(before: dict[str, str], place: Place, expected: Undisturbed) -> list[str]:
    """Name outputs in the current folder that are neither absent nor whole."""
    found = contents(place)
    new = {
        name.split("/")[1]
        for name, content in found.items()
        if name.startswith("cwd/") and before.get(name) != content
    }
    return [
        f"half-written {one}"
        for top in sorted(new)
        if not top.startswith(".")
        for one in differences(_below(top, found), _below(top, expected.contents))
    ]


def _below(top: str, found: dict[str, str]) -> dict[str, str]:
    return {
        name: content
        for name, content in found.items()
        if name == f"cwd/{top}" or name.startswith(f"cwd/{top}/")
    }
