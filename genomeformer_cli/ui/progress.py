"""The core's `Reporter` on a terminal: notes, warnings, bars, and the live view of a training run.

Off a terminal there are no bars: one line a validation, so that a log stays a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
)
from rich.progress import TimeRemainingColumn as Remaining

from genomeformer_cli.core.reporting import Event, Tracker
from genomeformer_cli.ui.console import talk
from genomeformer_cli.ui.training import TrainingView


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def advance(self, amount: int) -> None:
        self._progress.advance(self._progress.task_ids[0], amount)


class TerminalReporter:
    """Says everything on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or talk()
        self._training = TrainingView(self._console)

    def note(self, message: str) -> None:
        """A plain line."""
        self._console.print(escape(message))

    def warn(self, message: str) -> None:
        """A line that begins with `warning:`."""
        self._console.print(f"[yellow]warning:[/] {escape(message)}")

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator[Tracker]:
        """A bar on a terminal, nothing elsewhere."""
        count: ProgressColumn = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            count,
            TextColumn(unit),
            Remaining(),
        )
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            progress.add_task(label, total=total)
            yield _Bar(progress)

    def record(self, event: Event) -> None:
        """Draw what the training view knows."""
        self._training.record(event)

    def close(self) -> None:
        """Leave the live view, if one is on."""
        self._training.close()


@contextmanager
def terminal_reporter() -> Iterator[TerminalReporter]:
    """A reporter for one command; whatever is live on the terminal ends with it."""
    reporter = TerminalReporter()
    try:
        yield reporter
    finally:
        reporter.close()
