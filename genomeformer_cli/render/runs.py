"""Presets and runs in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.render.results import plain_table, size
from genomeformer_cli.render.training import duration

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.presets import PresetForecast
    from genomeformer_cli.core.workflows.runs import WatchedRun

_MILLION, _BILLION = 10**6, 10**9
_DAY = 86_400
_YEAR = 365 * _DAY
_SHORT = 10_000


def presets_table(presets: dict[str, PresetForecast]) -> RenderableType:
    """The presets in numbers, and what they would take here."""
    numbers = ("size", "context", "steps", "a step")
    taken = ("full", "checkpoint", "time here")
    table = plain_table("preset", *numbers, *taken, right=(*numbers, *taken))
    for column in (table.columns[0], table.columns[-1]):
        column.no_wrap = True
    for name, one in presets.items():
        model, training = one.config.model, one.config.training
        tokens = training.tokens_per_step or training.batch_size * model.context
        sizes = (model.context, training.steps, tokens)
        table.add_row(
            name,
            count(one.num_parameters),
            *(short(number) for number in sizes),
            size(one.full_bytes).replace(" ", "\u00a0"),
            size(one.checkpoint_bytes).replace(" ", "\u00a0"),
            long_time(one.seconds),
        )
    words = (
        "a step: tokens of it; full, checkpoint: memory under these plans, weights and optimizer "
        "included\ntime: of the whole run, at two thirds of this processor's speed in matrix "
        "products, now\n`--dry-run` says what a run of yours takes"
    )
    return Group(table, Text(words, style="dim"))


def short(number: int) -> str:
    """A whole number: `100k` where nothing is lost."""
    return f"{number // 1000}k" if number >= _SHORT and number % 1000 == 0 else f"{number:,}"


def count(number: int) -> str:
    """A number of parameters: `3.2M`."""
    if number >= _BILLION:
        return f"{number / _BILLION:.1f}G"
    if number >= _MILLION // 10:
        return f"{number / _MILLION:.1f}M"
    return f"{number:,}"


def long_time(seconds: float) -> str:
    """Seconds as `3 years`, as `12 days`, or as hours, minutes and seconds."""
    if seconds > 2 * _YEAR:
        return f"{seconds / _YEAR:,.0f} years"
    return f"{seconds / _DAY:,.0f} days" if seconds > 2 * _DAY else duration(seconds)


def runs_table(runs: list[WatchedRun]) -> RenderableType:
    """How far runs are, beside each other."""
    numbers = ("steps", "training", "held out", "accuracy", "counts", "bases/s")
    table = plain_table("run", *numbers, right=numbers)
    for run in runs:
        validation, baseline = run.validation, run.baseline
        table.add_row(
            run.name,
            f"{run.step:,}/{run.steps:,}",
            _number(run.training_bits),
            _number(validation.bits_per_base if validation else None),
            f"{validation.accuracy:.1%}" if validation else "-",
            _number(baseline.bits_per_base if baseline else None),
            f"{run.bases_per_second:,.0f}" if run.bases_per_second else "-",
        )
    notes = [f"{run.name}: {run.left_out} steps left out as spikes" for run in runs if run.left_out]
    return Group(table, Text("\n".join(["bits per base", *notes]), style="dim"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
