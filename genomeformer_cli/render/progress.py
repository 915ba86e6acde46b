"""The core's `Reporter` on a terminal: notes, warnings, bars, and the live view of a training run.

Off a terminal there are no bars: one line a validation or a file, so that a log stays a log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text

from genomeformer_cli.core.genomes.events import GenomeFetched
from genomeformer_cli.core.reporting import Event, Tracker
from genomeformer_cli.render.console import talk
from genomeformer_cli.render.finetuning import TuningView
from genomeformer_cli.render.training import TrainingView
from genomeformer_cli.render.verbosity import Verbosity, current_verbosity


class _Amount(ProgressColumn):
    """How much of how much, and how fast, in the unit of the work."""

    def render(self, task: Task) -> Text:
        unit = str(task.fields["unit"])
        show = decimal if unit == "bytes" else str
        done, speed = show(int(task.completed)), task.finished_speed or task.speed
        parts = [done] if task.total is None else [f"{done}/{show(int(task.total))}"]
        parts += [] if unit == "bytes" else [unit]
        if speed:
            parts.append(f"{show(int(speed))}/s" if unit == "bytes" else f"{speed:.1f}/s")
        return Text("  ".join(parts))


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)


class TerminalReporter:
    """Writes messages to stderr, as many as the verbosity asks for."""

    def __init__(
        self, console: Console | None = None, *, verbosity: Verbosity | None = None
    ) -> None:
        self._console = console or talk()
        self._verbosity = current_verbosity() if verbosity is None else verbosity
        self._started = time.perf_counter()
        self._training = TrainingView(self._console)
        self._tuning = TuningView(self._console)
        self._progress: Progress | None = None
        self._num_bars = 0
        self._lock = threading.Lock()

    def note(self, message: str) -> None:
        """Print a plain line, unless quiet."""
        if self._verbosity > Verbosity.QUIET:
            self._console.print(message, markup=False)

    def debug(self, message: str) -> None:
        """Print a detail with the seconds since the start, if verbose."""
        if self._verbosity >= Verbosity.VERBOSE:
            seconds = time.perf_counter() - self._started
            self._console.print(f"{seconds:8.2f} s  {message}", markup=False)

    def warn(self, message: str) -> None:
        """Print a line that begins with `warning:`."""
        self._console.print(Text.assemble(("warning:", "yellow"), f" {message}"))

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """Draw a bar on a terminal, nothing elsewhere or if quiet."""
        with self._lock:
            if self._progress is None:
                columns = (
                    TextColumn("{task.description}", markup=False),
                    BarColumn(),
                    _Amount(),
                    Remaining(),
                )
                self._progress = Progress(
                    *columns,
                    console=self._console,
                    transient=True,
                    disable=not self._console.is_terminal or self._verbosity == Verbosity.QUIET,
                )
                self._progress.start()
            progress = self._progress
            self._num_bars += 1
        task = progress.add_task(label, total=total, unit=unit)
        try:
            yield _Bar(progress, task)
        finally:
            with self._lock:
                progress.remove_task(task)
                self._num_bars -= 1
                if not self._num_bars:
                    progress.stop()
                    self._progress = None

    def record(self, event: Event) -> None:
        """Draw the progress of training; without bars, print one line per fetched genome."""
        if isinstance(event, GenomeFetched) and event.reason is not None:
            self.warn(f"{event.accession}: {event.reason}")
        elif self._verbosity == Verbosity.QUIET:
            return
        elif not isinstance(event, GenomeFetched):
            self._training.record(event)
            self._tuning.record(event)
        elif event.num_bytes and not self._console.is_terminal:
            self.note(f"{event.accession}  {event.organism}  {decimal(event.num_bytes)}")

    def close(self) -> None:
        """End the live view, if there is one."""
        self.debug("done")
        self._training.close()


@contextmanager
def terminal_reporter() -> Iterator[TerminalReporter]:
    """Open the reporter of one command; live views on the terminal end with it."""
    reporter = TerminalReporter()
    try:
        yield reporter
    finally:
        reporter.close()
