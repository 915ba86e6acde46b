"""The live view of a training run: how far, how fast, and whether it beats the table yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genomeformer_cli.core.reporting import Event

if TYPE_CHECKING:
    from genomeformer_cli.core.training.metrics import Score, StepDone
    from genomeformer_cli.core.workflows.pretrain import RunStarted


def duration(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _bits(score: Score) -> str:
    """Of training: of tokens that share bases, only what a token takes can be told."""
    if score.num_tokens is None:
        return f"{score.bits_per_base:.4f} bits"
    return f"{score.bits_per_token:.4f} bits a token"


class TrainingView:
    """Draws `RunStarted` and `StepDone`; on a terminal in place, elsewhere a line a validation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._started: RunStarted | None = None
        self._shown: Score | None = None

    def record(self, event: Event) -> None:
        """Take an event; others than those of training are ignored."""
        name = type(event).__name__
        if name == "RunStarted":
            self._start(event)  # type: ignore[arg-type]
        elif name == "StepDone" and self._started is not None:
            self._step(event)  # type: ignore[arg-type]

    def close(self) -> None:
        """Leave what is live as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self, event: RunStarted) -> None:
        self.close()  # what a run that failed has left
        self._started, self._shown = event, None
        score = event.baseline.score
        self._console.print(
            f"{event.name}: {event.num_parameters:,} parameters, `{event.attention}` attention, "
            f"{event.context:,} tokens of context, {event.num_train_bases:,} tokens to train on"
        )
        self._console.print(
            f"to beat: {event.baseline.description} give "
            f"{score.bits_per_base:.4f} bits per base and {score.accuracy:.1%} accuracy "
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
        if event.validation is None or event.validation == self._shown:
            return
        self._shown = event.validation
        self._console.print(
            f"step {event.step}/{event.steps}  training {_bits(event.training)}  "
            f"held out {event.validation.bits_per_base:.4f} bits, {event.validation.accuracy:.1%}  "
            f"{event.bases_per_second:,.0f} bases/s  {duration(event.seconds_left)} left"
        )

    def _draw(self, event: StepDone) -> Group:
        assert self._started is not None
        table = Table(box=None, pad_edge=False)
        for heading in ("", "bits per base", "accuracy"):
            table.add_column(heading, justify="left" if not heading else "right")
        baseline = self._started.baseline
        rows = [("training, hidden bases", event.training), ("held out", event.validation)]
        rows.append((f"held out, {baseline.description}", baseline.score))
        for what, score in rows:
            if score is not None:
                better = (
                    score is event.validation and score.bits_per_base < baseline.score.bits_per_base
                )
                style = "green" if better else ""
                table.add_row(
                    what, f"{score.bits_per_base:.4f}", f"{score.accuracy:.1%}", style=style
                )
        line = Text(
            f"step {event.step}/{event.steps}  {event.bases_per_second:,.0f} bases/s  "
            f"learning rate {event.learning_rate:.2g}  {duration(event.seconds_left)} left"
        )
        # A bar ends no line of its own; a grid's row does.
        below = Table.grid()
        below.add_row(ProgressBar(total=event.steps, completed=event.step, width=60))
        below.add_row(line)
        return Group(table, below)
