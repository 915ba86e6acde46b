"""Commands in forked processes that are killed before their n-th file-system event.

The parent has imported everything, so a fork costs milliseconds. An audit hook in the child counts
what changes the disk (files opened for writing, renamed, removed, linked, truncated, synced) and
sends SIGKILL before event n: no handler, no cleanup, no flush, as when the machine's memory runs
out. What was written before stays in the page cache; a loss of power is not simulated.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.utime", "sqlite3.connect", "tempfile.mkdtemp", "tempfile.mkstemp"),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LONGEST = 120.0
# Measured times, and what follows from them; two undisturbed runs differ in these too.
VOLATILE = re.compile(
    r"(catalogue/.*\.sqlite|throughput\.jsonl|compute\.json|memory\.json|trials\.json|summary\.json|plan.*\.json"
    r"|comparison\.json|results\.json|\.png|\.svg|report\.html)$"
)
# Locks stay by design; remembered times of files are no result.
_NO_RESULT = ("cache/locks/", "cache/verified/")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exit of a forked command.

    Attributes:
        code: Exit code, or minus the signal that ended it.
        events: File-system events; 0 if it was killed.
        out: Standard output.
        err: Standard error.
    """

    code: int
    events: int
    out: bytes
    err: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """A working place of a command: its cache and its current folder.

    Attributes:
        root: Holds both.
        environment: Variables set for the command.
        prepare: Called in the child before the command, to make it small.
    """

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
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

    def start(self, arguments: tuple[str, ...], *, kill_before: int = 0) -> int:
        """Fork a process that runs a command; return its process id."""
        pid = os.fork()
        if not pid:
            code = 99
            try:
                code = self._become(arguments, kill_before)
            finally:
                os._exit(code)
        return pid

    def wait(self, pid: int) -> Outcome:
        """Wait for a process of `start`; end it, and its children, after two minutes."""
        deadline = time.monotonic() + _LONGEST
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.002)
        with suppress(ProcessLookupError):  # children that outlived it
            os.killpg(pid, signal.SIGKILL)
        counted = self.root / f"{pid}.events"
        return Outcome(
            code=os.waitstatus_to_exitcode(ended[1]),
            events=int(counted.read_text()) if counted.exists() else 0,
            out=(self.root / f"{pid}.out").read_bytes(),
            err=(self.root / f"{pid}.err").read_text(errors="replace"),
        )

    def run(self, arguments: tuple[str, ...], *, kill_before: int = 0) -> Outcome:
        """Run a command to its end, or to its kill."""
        return self.wait(self.start(arguments, kill_before=kill_before))

    def _become(self, arguments: tuple[str, ...], kill_before: int) -> int:
        os.setsid()
        os.chdir(self.folder)
        for name in ("out", "err"):
            target = os.open(self.root / f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(target, 1 if name == "out" else 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            mode = "rb" if number == 0 else "wb"
            stream = io.TextIOWrapper(open(number, mode, closefd=False), "utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
        os.environ.update(
            GENOMEFORMER_HOME=str(self.cache), TMPDIR=str(self.root / "tmp"), COLUMNS="200"
        )
        os.environ.update(self.environment)
        import tempfile

        tempfile.tempdir = None
        self.prepare()
        counter = _Counter(self.root, kill_before)
        sys.addaudithook(counter.hear)
        _count_syncs(counter)
        code = call_main(arguments)
        counter.is_off = True
        (self.root / f"{os.getpid()}.events").write_text(str(counter.count))
        return code & 255


class _Counter:
    """Counts the events below a folder; kills this process before one of them."""

    def __init__(self, root: Path, kill_before: int) -> None:
        self.count = 0
        self.is_off = False
        self._root = f"{root}/"
        self._kill_before = kill_before

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
        self.step()

    def step(self) -> None:
        """Count an event, or end here."""
        self.count += 1
        if self.count == self._kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_ours(self, path: str) -> bool:
        return os.path.abspath(path).startswith(self._root)  # noqa: PTH100 - no loop of hooks


def _count_syncs(counter: _Counter) -> None:
    plain = os.fsync

    def fsync(descriptor: Any) -> None:
        counter.step()
        plain(descriptor)

    setattr(os, "fsync", fsync)  # noqa: B010 - the type of the attribute is the function's own


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
