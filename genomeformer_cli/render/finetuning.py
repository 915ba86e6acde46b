"""Fine-tuning as a person sees it: a line a validation, and what the seeds came to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from genomeformer_cli.core.reporting import Event

if TYPE_CHECKING:
    from genomeformer_cli.core.finetuning.metrics import TaskScore
    from genomeformer_cli.core.finetuning.summary import LinearResult, SeedResult
    from genomeformer_cli.core.training.metrics import StepDone
    from genomeformer_cli.core.workflows.finetune import FinetuneResult, TuningStarted

_MOST_NAMED = 6


class TuningView:
    """Draws `TuningStarted` and the steps that follow it: a line a validation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: TuningStarted | None = None
        self._shown: TaskScore | None = None

    def record(self, event: Event) -> None:
        """Take an event; others than those of fine-tuning are ignored."""
        name = type(event).__name__
        if name == "TuningStarted":
            self._start(event)  # type: ignore[arg-type]
        elif name == "StepDone" and self._started is not None:
            self._step(event)  # type: ignore[arg-type]

    def _start(self, event: TuningStarted) -> None:
        if self._started is None:
            parts = ", ".join(f"{rows:,} {part}" for part, rows in event.num_rows.items())
            self._console.print(
                f"{event.task}: {event.kind} ({_named(event.classes)}); rows: {parts}; "
                f"{event.num_parameters:,} parameters"
            )
        self._started, self._shown = event, None
        self._console.print(f"from {event.origin} weights, seed {event.seed}")

    def _step(self, event: StepDone) -> None:
        assert self._started is not None
        score: TaskScore | None = event.validation
        if score is None or score == self._shown:
            return
        self._shown = score
        metric = self._started.metric
        value = score.measures.get(metric)
        chosen = "" if value is None else f", {metric} {value:.4f}"
        self._console.print(
            f"step {event.step}/{event.steps}  training loss {event.training.loss:.4f}  "
            f"validation loss {score.loss:.4f}{chosen}"
        )


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def tuned_view(result: FinetuneResult) -> RenderableType:
    """What the seeds came to, beside each other."""
    from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH

    summary = result.summary
    names = list(summary.results[0].test.measures)
    title = f"{summary.task}: {summary.num_rows['test']:,} test rows"
    table = Table(box=None, pad_edge=False, title=Text(title), title_justify="left")
    for number, heading in enumerate(("weights", "seed", *names, f"95 % of {summary.reported}")):
        table.add_column(heading, justify="right" if number else "left")
    if summary.linear is not None:
        table.add_row("linear alone", "", *_scores(summary.linear, names))
    for one in summary.results:
        table.add_row(one.origin, str(one.seed), *_scores(one, names))
    notes = [Text(note) for origin in (PRETRAINED, SCRATCH) for note in _told(result, origin)]
    chosen = f"kept: seed {summary.chosen.seed}, by validation; {result.folder}"
    use = f"genomeformer predict SEQUENCES --model {result.name}"
    return Group(table, *notes, Text(chosen), Text(use))


def _scores(found: SeedResult | LinearResult, names: list[str]) -> list[str]:
    measures = [f"{found.test.measures.get(name, float('nan')):.4f}" for name in names]
    one = found.interval
    return [*measures, f"{one.low:.4f} to {one.high:.4f}" if one.known else "-"]


def _told(result: FinetuneResult, origin: str) -> Iterator[str]:
    from genomeformer_cli.core.finetuning.summary import spread

    summary = result.summary
    values = [one.test.measures.get(summary.reported) for one in summary.of(origin)]
    known = [value for value in values if value is not None]
    if len(known) > 1:
        mean, deviation = spread(known)
        yield f"{origin}: {summary.reported} {mean:.4f} ± {deviation:.4f} over {len(known)} seeds"
