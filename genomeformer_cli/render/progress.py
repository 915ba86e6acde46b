"""The core's `Reporter` on a terminal: notes, warnings, bars, and the live view of a training run.

Off a terminal there are no bars but lines: one per validation, per fetched file, and every half
minute of any long work, so that a log shows that a job is alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genomeformer_cli.core.genomes.events import GenomeFetched
from genomeformer_cli.core.reporting import Event, Tracker
from genomeformer_cli.render.console import error_console
from genomeformer_cli.render.tables import format_duration
from genomeformer_cli.render.verbosity import Verbosity, current_verbosity

if TYPE_CHECKING:
    from genomeformer_cli.core.finetuning.metrics import TaskScore
    from genomeformer_cli.core.training.metrics import Score, StepDone
    from genomeformer_cli.core.workflows.finetune import TuningStarted
    from genomeformer_cli.core.workflows.pretrain import RunStarted

_MAX_NAMES = 6
_LINE_SECONDS = 30.0


def _training_bits(score: Score) -> str:
    """Return the training score: per token where tokens share bases, otherwise per base."""
    if score.num_tokens is None:
        return f"{score.bits_per_base:.4f} bits"
    return f"{score.bits_per_token:.4f} bits per token"


class _Pace:
    """Clock of the lines in a log: at most one per half minute."""

    def __init__(self) -> None:
        self.started = self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return True, and start the next half minute, if the last line is that old."""
        now = time.monotonic()
        if now - self._last < _LINE_SECONDS:
            return False
        self._last = now
        return True

    def seconds(self) -> float:
        """Return the seconds from the start to the last line."""
        return self._last - self.started


class TrainingView:
    """View of `RunStarted` and `StepDone`: live on a terminal, else one line per validation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = _Pace()
        self._live: Live | None = None
        self._started: RunStarted | None = None
        self._last_score: Score | None = None

    def record(self, event: Event) -> None:
        """Draw an event of training; ignore any other event."""
        name = type(event).__name__
        if name == "RunStarted":
            self._start(event)  # type: ignore[arg-type]
        elif name == "StepDone" and self._started is not None:
            self._step(event)  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop the live view and leave its last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self, event: RunStarted) -> None:
        self.close()  # a failed run leaves its view
        self._started, self._last_score = event, None
        score = event.baseline.score
        self._console.print(
            f"{event.name}: {event.num_parameters:,} parameters, `{event.attention}` attention, "
            f"{event.context:,} tokens of context, {event.num_train_bases:,} tokens to train on"
        )
        self._console.print(
            f"baseline: {event.baseline.description}: "
            f"{score.bits_per_base:.4f} bits per base, {score.accuracy:.1%} accuracy "
            f"on {score.num_bases:,} held-out bases"
        )
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=5)
            self._live.start()

    def _step(self, event: StepDone) -> None:
        assert self._started is not None
        if self._live is not None:
            self._live.update(self._draw(event))
            if event.step == event.steps:
                self.close()
            return
        validation = event.validation
        is_due = self._pace.is_due()
        if validation is None or validation == self._last_score:
            if not is_due:
                return
            held_out = ""
        else:
            self._last_score = validation
            held_out = f"held out {validation.bits_per_base:.4f} bits, {validation.accuracy:.1%}  "
        self._console.print(
            f"step {event.step}/{event.steps}  training {_training_bits(event.training)}  "
            f"{held_out}{event.bases_per_second:,.0f} bases/s  "
            f"{format_duration(event.seconds_left)} left"
        )

    def _draw(self, event: StepDone) -> Group:
        assert self._started is not None
        table = Table(box=None, pad_edge=False)
        for heading in ("", "bits per base", "accuracy"):
            table.add_column(heading, justify="left" if not heading else "right")
        baseline = self._started.baseline
        rows = [("training, hidden bases", event.training), ("held out", event.validation)]
        rows.append((f"held out, {baseline.description}", baseline.score))
        for name, score in rows:
            if score is not None:
                is_better = (
                    score is event.validation and score.bits_per_base < baseline.score.bits_per_base
                )
                style = "green" if is_better else ""
                table.add_row(
                    name, f"{score.bits_per_base:.4f}", f"{score.accuracy:.1%}", style=style
                )
        status = Text(
            f"step {event.step}/{event.steps}  {event.bases_per_second:,.0f} bases/s  "
            f"learning rate {event.learning_rate:.2g}  {format_duration(event.seconds_left)} left"
        )
        # A bar does not end its line; a row of a grid does.
        footer = Table.grid()
        footer.add_row(ProgressBar(total=event.steps, completed=event.step, width=60))
        footer.add_row(status)
        return Group(table, footer)


class TuningView:
    """View of `TuningStarted` and its steps: one line per validation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = _Pace()
        self._started: TuningStarted | None = None
        self._last_score: TaskScore | None = None

    def record(self, event: Event) -> None:
        """Draw an event of fine-tuning; ignore any other event."""
        name = type(event).__name__
        if name == "TuningStarted":
            self._start(event)  # type: ignore[arg-type]
        elif name == "StepDone" and self._started is not None:
            self._step(event)  # type: ignore[arg-type]

    def _start(self, event: TuningStarted) -> None:
        if self._started is None:
            parts = ", ".join(f"{rows:,} {part}" for part, rows in event.num_rows.items())
            self._console.print(
                f"{event.task}: {event.kind} ({_first_names(event.classes)}); rows: {parts}; "
                f"{event.num_parameters:,} parameters"
            )
        self._started, self._last_score = event, None
        self._console.print(f"from {event.origin} weights, seed {event.seed}")

    def _step(self, event: StepDone) -> None:
        assert self._started is not None
        score: TaskScore | None = event.validation
        is_due = self._pace.is_due()
        training = f"step {event.step}/{event.steps}  training loss {event.training.loss:.4f}  "
        if score is not None and score != self._last_score:
            self._last_score = score
            metric = self._started.metric
            value = score.measures.get(metric)
            measure = "" if value is None else f", {metric} {value:.4f}"
            self._console.print(f"{training}validation loss {score.loss:.4f}{measure}")
        elif is_due:
            self._console.print(f"{training}{format_duration(event.seconds_left)} left")


def _first_names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


class _Amount(ProgressColumn):
    """Column of the amount done, the total and the speed, in the unit of the work."""

    def render(self, task: Task) -> Text:
        unit = str(task.fields["unit"])
        show = decimal if unit == "bytes" else str
        amount, speed = show(int(task.completed)), task.finished_speed or task.speed
        parts = [amount] if task.total is None else [f"{amount}/{show(int(task.total))}"]
        parts += [] if unit == "bytes" else [unit]
        if speed:
            parts.append(f"{show(int(speed))}/s" if unit == "bytes" else f"{speed:.1f}/s")
        return Text("  ".join(parts))


class _Lines:
    """Progress as lines in a log, at most one per half minute."""

    def __init__(self, note: Callable[[str], None], label: str, total: int | None, unit: str):
        self._note, self._label, self._total, self._unit = note, label, total, unit
        self._amount, self._pace = 0, _Pace()
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        with self._lock:
            self._amount += amount
            if self._pace.is_due():
                self._note(f"{self._label}: {self._text(self._pace.seconds())}")

    def _text(self, seconds: float) -> str:
        def show(amount: int) -> str:
            return decimal(amount) if self._unit == "bytes" else f"{amount:,} {self._unit}"

        if self._total is None:
            return show(self._amount)
        left = seconds * max(self._total - self._amount, 0) / max(self._amount, 1)
        return f"{show(self._amount)} of {show(self._total)}, {format_duration(left)} left"


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
        self._console = console or error_console()
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
        """Draw a bar on a terminal, print lines elsewhere; nothing if quiet."""
        if not self._console.is_terminal:
            yield _Lines(self.note, label, total, unit)
            return
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
                    disable=self._verbosity == Verbosity.QUIET,
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
