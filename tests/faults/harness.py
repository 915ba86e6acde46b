"""Commands in forked processes that are disturbed before their n-th file-system event.

The parent has imported everything, so a fork costs milliseconds. An audit hook in the child counts
what changes the disk (files opened for writing, renamed, removed, linked, truncated, synced) and
lets a fault act before event n. SIGKILL: no handler, no cleanup, no flush, as when the machine's
memory runs out. What was written before stays in the page cache; a loss of power is not simulated.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.utime", "sqlite3.connect", "tempfile.mkdtemp", "tempfile.mkstemp"),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LONGEST = 120.0
# Events that need room on a disk; the others succeed on a full one.
GROWTH = {"open", "os.mkdir", "os.fsync", "tempfile.mkdtemp", "tempfile.mkstemp"}
# Measured times, and what follows from them; two undisturbed runs differ in these too.
VOLATILE = re.compile(
    r"(catalogue/.*\.sqlite|throughput\.jsonl|compute\.json|memory\.json|trials\.json|summary\.json(\.sha256)?|plan.*\.json"
    r"|comparison\.json|results\.json|\.png|\.svg|report\.html)$"
)
# Behind the messages on the pipe of standard error: how many events there were.
_COUNT = "\x1e"
# Locks stay by design; remembered times of files are no result.
_NO_RESULT = ("cache/locks/", "cache/verified/")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A disturbance of a forked command."""

    name: str  # Name in reports.
    before: int = 0  # File-system event that it precedes; 0 for none.
    act: Callable[[str], None] = lambda _: None  # Called in the child with the name of the event.
    lasts: bool = False  # True if it acts before all later events too.
    begin: Callable[[], None] = lambda: None  # Called in the child before the command starts.


NO_FAULT = Fault(name="nothing")


def send(number: signal.Signals, before: int) -> Fault:
    """Build a fault in which a process gets a signal before an event."""
    return Fault(
        name=f"{number.name} before event {before}",
        before=before,
        act=lambda _: os.kill(os.getpid(), number),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exit of a forked command."""

    code: int  # Exit code, or minus the signal that ended it.
    events: int  # File-system events; 0 if it was killed.
    seconds: float  # Time of the processor.
    out: bytes  # Standard output.
    err: str  # Standard error.


@dataclass(frozen=True, kw_only=True)
class Started:
    """A forked command that runs, and the pipes from it: streams are files under no quota."""

    pid: int
    pipes: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A working place of a command: its cache and its current folder."""

    root: Path  # Holds both.
    environment: Mapping[str, str] = field(default_factory=dict)  # Variables set for the command.
    # Called in the child before the command, to make it small.
    prepare: Callable[[], None] = lambda: None

    @property
    def cache(self) -> Path:
        """The cache."""
        return self.root / "cache"

    @property
    def folder(self) -> Path:
        """The current folder of commands."""
        return self.root / "cwd"

    def reset(self, base: Path) -> None:
        """Put everything back as it was."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(base, self.root, symlinks=True)
        for name in ("cwd", "cache", "tmp"):
            (self.root / name).mkdir(exist_ok=True)

    def start(self, arguments: tuple[str, ...], fault: Fault = NO_FAULT) -> Started:
        """Fork a process that runs a command."""
        out, err = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            code = 99
            try:
                code = self._become(arguments, fault, (out[1], err[1]))
            finally:
                os._exit(code)
        for end in (out[1], err[1]):
            os.close(end)
        for end in (out[0], err[0]):
            os.set_blocking(end, False)
        return Started(pid=pid, pipes=(out[0], err[0]))

    def wait(self, started: Started) -> Outcome:
        """Wait for a process of `start`; end it, and its children, after two minutes."""
        deadline = time.monotonic() + _LONGEST
        streams = (bytearray(), bytearray())
        while not (ended := os.wait4(started.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.killpg(started.pid, signal.SIGKILL)
            _drain(started.pipes, streams)
            time.sleep(0.002)
        with suppress(ProcessLookupError):  # children that outlived it
            os.killpg(started.pid, signal.SIGKILL)
        _drain(started.pipes, streams)
        for end in started.pipes:
            os.close(end)
        err, _, counted = streams[1].decode(errors="replace").partition(_COUNT)
        return Outcome(
            code=os.waitstatus_to_exitcode(ended[1]),
            events=int(counted or 0),
            seconds=ended[2].ru_utime + ended[2].ru_stime,
            out=bytes(streams[0]),
            err=err,
        )

    def run(self, arguments: tuple[str, ...], fault: Fault = NO_FAULT) -> Outcome:
        """Run a command to its end, or to the end that a fault puts to it."""
        return self.wait(self.start(arguments, fault))

    def _become(self, arguments: tuple[str, ...], fault: Fault, streams: tuple[int, int]) -> int:
        os.setsid()
        os.chdir(self.folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, end in enumerate(streams, start=1):
            os.dup2(end, number)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            mode = "rb" if number == 0 else "wb"
            stream = io.TextIOWrapper(open(number, mode, closefd=False), "utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell in the background ignores the first, and forks inherit that.
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
        os.environ.update(
            GENOMEFORMER_HOME=str(self.cache), TMPDIR=str(self.root / "tmp"), COLUMNS="200"
        )
        os.environ.update(self.environment)
        tempfile.tempdir = None
        self.prepare()
        counter = _Counter(self.root, fault)
        sys.addaudithook(counter.hear)
        _count_syncs(counter)
        fault.begin()
        code = call_main(arguments)
        counter.is_off = True
        with suppress(OSError):  # a fault may have closed it
            os.write(2, f"{_COUNT}{counter.count}".encode())
        return code & 255


def _drain(pipes: tuple[int, int], streams: tuple[bytearray, bytearray]) -> None:
    for end, stream in zip(pipes, streams, strict=True):
        with suppress(BlockingIOError):
            while part := os.read(end, 1 << 16):
                stream += part


class _Counter:
    """Counts the events below a folder; lets a fault act before one of them."""

    def __init__(self, root: Path, fault: Fault) -> None:
        self.count = 0
        self.is_off = False
        self._root = f"{root}/"
        self._fault = fault

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count one event of Python's audit hooks."""
        if self.is_off:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & _WRITES
            if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
                return
            if not isinstance(path, str | bytes) or not self._is_ours(os.fsdecode(path)):
                return
        elif event not in CHANGES:
            return
        self.step(event)

    def step(self, event: str) -> None:
        """Count an event, and let the fault act."""
        self.count += 1
        due = self._fault.before
        if due and (self.count == due or (self._fault.lasts and self.count > due)):
            self._fault.act(event)

    def _is_ours(self, path: str) -> bool:
        return os.path.abspath(path).startswith(self._root)  # noqa: PTH100 - no loop of hooks


def _count_syncs(counter: _Counter) -> None:
    plain = os.fsync

    def fsync(descriptor: Any) -> None:
        counter.step("os.fsync")
        plain(descriptor)

    setattr(os, "fsync", fsync)  # noqa: B010 - the type of the attribute is the function's own


@contextmanager
def fast_folder() -> Iterator[Path]:
    """Yield a temporary folder in memory if there is a file system for it."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder).resolve()


def call_main(arguments: tuple[str, ...]) -> int:
    """Run the command line in this process; return its exit code."""
    from genomeformer_cli.app import main

    sys.argv = ["genomeformer", *arguments]
    code = 0
    try:
        main()
    except SystemExit as finished:
        code = finished.code if isinstance(finished.code, int) else int(bool(finished.code))
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def contents(place: Place) -> dict[str, str]:
    """Return checksums of all files of a place by name; measured times count as present."""
    found = {}
    for top in ("cache", "cwd"):
        for path in sorted((place.root / top).rglob("*")):
            name = path.relative_to(place.root).as_posix()
            if not path.is_file() or name.startswith(_NO_RESULT):
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = "measured" if VOLATILE.search(name) else digest
    return found


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Name the files that are missing, left over, or other than expected."""
    return [
        f"{name}: {'missing' if name not in found else 'left' if name not in expected else 'other'}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
