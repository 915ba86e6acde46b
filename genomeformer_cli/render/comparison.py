"""What `compare` found, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.core.errors import PartialError
from genomeformer_cli.render.results import plain_table, size
from genomeformer_cli.render.runs import count
from genomeformer_cli.render.training import duration

if TYPE_CHECKING:
    from rich.table import Table

    from genomeformer_cli.core.workflows.compare import CompareResult
    from genomeformer_cli.core.workflows.standings import Baseline, Row, Spread

_NUMBERS = (
    "bits/base",
    "±",
    "gain",
    "accuracy",
    "bases/s",
    "memory",
    "params",
    "trained",
)
_WORDS = (
    "gain: bits per base better than the table of counts; memory: peak of the training's process; "
    "trained: time of its steps"
)


def comparison_table(result: CompareResult) -> RenderableType:
    """A table for each corpus, what it stands beside below, and who won."""
    parts: list[RenderableType] = []
    for corpus in dict.fromkeys(row.corpus for row in result.rows):
        rows = [row for row in result.rows if row.corpus == corpus]
        beside = [one for one in result.baselines if one.corpus == corpus]
        parts += [_table(corpus, rows, beside), Text(_WORDS, style="dim"), Text(verdict(rows))]
        if len({one.num_bases for one in beside if not one.is_random}) > 1:
            parts.append(Text("they were not asked the same questions: only gains compare"))
    problems = [
        f"{row.variant} on {row.corpus} failed: {row.problem}" for row in result.rows if row.problem
    ]
    parts += [Text(one) for one in problems]
    parts.append(Text(f"comparison: {result.folder} ({budget_words(result)})"))
    return Group(*parts)


def check_all_ended(result: CompareResult) -> None:
    """Say at the end that not all is there, so that a script hears of it.

    Raises:
        PartialError: A training failed.
    """
    failed = [one.run for one in result.trainings if one.problem]
    if failed:
        raise PartialError(
            f"{len(failed)} of {len(result.trainings)} trainings failed: {', '.join(failed)}",
            hint="the others are kept; the same command again tries these alone",
        )


def budget_words(result: CompareResult) -> str:
    """What each training was given."""
    amount, kind = result.budget.amount, result.budget.kind
    number = f"{amount:.3g}" if kind == "flops" else f"{amount:,.10g}"
    return f"{number} {kind} a training"


def _table(corpus: str, rows: list[Row], beside: list[Baseline]) -> Table:
    table = plain_table(f"on {corpus}", *_NUMBERS, right=_NUMBERS)
    # Eight numbers in a line of 80 letters: what is folded is the names.
    table.padding = (0, 1, 0, 0)
    for column in table.columns[1:]:
        column.no_wrap = True
    for row in rows:
        _add(table, row)
    for one in beside:
        score = (*_bits_of(one.bits_per_base), "", f"{one.accuracy.mean:.1%}")
        table.add_row(one.name, *score, style="dim")
    return table


def verdict(rows: list[Row]) -> str:
    """Who is best, and whether that is better than counting, in one sentence."""
    ended = [row for row in rows if row.bits_per_base and row.gain]
    if not ended:
        return "none was trained to its end"
    best = ended[0]
    assert best.gain is not None
    if best.gain.mean > 0:
        return (
            f"`{best.variant}` is best and beats the table of counts by "
            f"{best.gain.mean:.4f} bits per base"
        )
    return (
        f"`{best.variant}` is best; the table of counts beats all, it by "
        f"{-best.gain.mean:.4f} bits per base"
    )


def _add(table: Table, row: Row) -> None:
    if row.bits_per_base is None:
        table.add_row(row.variant, "failed")
        return
    table.add_row(
        row.variant,
        *_bits_of(row.bits_per_base),
        f"{_mean(row.gain):+.4f}",
        f"{_mean(row.accuracy):.1%}",
        f"{_mean(row.bases_per_second):,.0f}",
        size(round(_mean(row.peak_bytes))).replace(" ", "\u00a0"),
        count(row.num_parameters or 0),
        duration(_mean(row.training_seconds)),
    )


def _bits_of(value: Spread) -> tuple[str, str]:
    """Mean, and how far the seeds lie apart."""
    apart = "" if value.deviation is None else f"{value.deviation:.4f}"
    return f"{value.mean:.4f}", apart


def _mean(value: Spread | None) -> float:
    assert value is not None, "a training that ended well has all numbers"
    return value.mean
