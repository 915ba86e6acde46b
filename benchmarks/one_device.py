"""Cells of a benchmark on one device and in one process: timed, watched, given up in time.

A cell that runs out of memory or of time, or fails, says so in its row, and the next one runs. Rows
go to stdout as they come, and to a JSON file with all that came before.
"""

from __future__ import annotations

import gc
import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

Row = dict[str, Any]

GIB = 2**30
_WARM_UP, _LEAST, _MOST = 2, 3, 100
# What libraries say instead of raising OutOfMemoryError.
_NO_ROOM = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


class TooLongError(Exception):
    """A cell took longer than it may."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Limits of time."""

    cell: float  # Seconds of a cell.
    timed: float  # Seconds of the steps that are timed.
    until: float  # When no further cell begins, on the monotonic clock.


def seconds_of(call: Callable[[], object], device: torch.device, *, calls: int = 1) -> float:
    """Return the mean seconds of some calls in a row, by the clock of the GPU if there is one."""
    if device.type != "cuda":
        started = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - started) / calls
    events = torch.cuda.Event
    first, last = (events(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    first.record()
    for _ in range(calls):
        call()
    last.record()
    torch.cuda.synchronize(device)
    return float(first.elapsed_time(last)) / 1000 / calls


def median_seconds(
    call: Callable[[], object], device: torch.device, budget: float, *, calls: int = 1
) -> float:
    """Median of as many calls as fit, at least three; two before them warm up."""
    for _ in range(_WARM_UP):
        seconds_of(call, device)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < _LEAST or (len(times) < _MOST and time.perf_counter() - started < budget):
        times.append(seconds_of(call, device, calls=calls))
    return statistics.median(times)


class Cells:
    """Measurements of one device, each printed as a row of a table.

    Args:
        device: Device to measure.
        patience: Limits of time.
        path: JSON file of all rows, if any.
        about: Facts that are written beside the rows.
    """

    def __init__(
        self, device: torch.device, patience: Patience, path: Path | None, about: Row
    ) -> None:
        self.device = device
        self.patience = patience
        self._path = path
        self._about = about
        self._rows: list[Row] = []
        self._started = time.monotonic()
        self._columns = 0
        self._broken = False

    def table(self, title: str, header: list[str]) -> None:
        """Begin a table."""
        self._columns = len(header)
        print(f"\n## {title}\n")
        print("| " + " | ".join(header) + " |")
        print("|" + "---|" * len(header), flush=True)

    def run(
        self,
        cell: Row,
        measure: Callable[[], Row],
        show: Callable[[Row], list[str]],
        *,
        seconds: float | None = None,
        objection: str = "",
    ) -> Row:
        """Measure a cell and print its row.

        Args:
            cell: Names of the cell; its first values, after the section, are the first columns.
            measure: Function that measures the cell.
            show: The other columns.
            seconds: That it may take, if not those of every cell.
            objection: Why it is not even tried.
        """
        skipped = objection or self._hindrance()
        found: Row = {}
        if not skipped:
            found, skipped = self._measured(measure, seconds or self.patience.cell)
        row = {**cell, **found, "at_s": round(time.monotonic() - self._started, 1)}
        if skipped:
            row["skipped"] = skipped
        self._rows.append(row)
        head = [str(value) for name, value in cell.items() if name != "section"]
        rest = [skipped] if skipped else show(row)
        columns = [*head, *rest]
        columns += [""] * (self._columns - len(columns))
        print("| " + " | ".join(columns) + " |", flush=True)
        self._write()
        return row

    def _hindrance(self) -> str:
        if self._broken:
            return "not run: the device failed before"
        return "not run: out of time" if time.monotonic() > self.patience.until else ""

    def _measured(self, measure: Callable[[], Row], seconds: float) -> tuple[Row, str]:
        """Return the row, or the reason for its absence; free the memory of the device."""
        seconds = min(seconds, max(self.patience.until - time.monotonic(), 1.0))
        found: Row = {}
        skipped = ""
        try:
            with _alarm(seconds):
                found = measure()
        except TooLongError:
            skipped = f"more than {seconds:.0f} s"
        except Exception as failure:  # noqa: BLE001 what other packages fail with is a result too
            skipped = _reason(failure)
        try:
            release(self.device)
        except RuntimeError as failure:
            self._broken = True
            skipped = skipped or _reason(failure)
        return found, skipped

    def _write(self) -> None:
        if self._path is not None:
            content = {**self._about, "rows": self._rows}
            self._path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def release(device: torch.device) -> None:
    """Give back what nobody holds any more.

    Raises:
        RuntimeError: The device fails whatever it is asked.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def is_out_of_memory(failure: Exception) -> bool:
    """Return True for an out-of-memory error of any library."""
    said = str(failure)
    return isinstance(failure, torch.OutOfMemoryError) or any(one in said for one in _NO_ROOM)


def _reason(failure: Exception) -> str:
    if is_out_of_memory(failure):
        return "out of memory"
    lines = str(failure).strip().splitlines()
    # What torch wraps it in ends with a colon; what it wraps comes next.
    told = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return f"failed: {type(failure).__name__}: {told[:160]}".replace("|", "/")


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TooLongError when so much time has passed; a running kernel ends first."""

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
