"""What `evaluate` found, as tables: for the terminal and, cell by cell, for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from genomeformer_cli.core.evaluation.held_out_scores import HeldOutScores
    from genomeformer_cli.core.evaluation.model_ranking import RankingRow
    from genomeformer_cli.core.evaluation.probing import ProbeRow, ProbingResult
    from genomeformer_cli.core.evaluation.token_scores import Interval
    from genomeformer_cli.core.workflows.evaluate import EvaluateResult

_NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of text.

    Attributes:
        title: What it shows.
        headings: Of the columns.
        rows: Cells; the first column is left-aligned, the others right.
        notes: Lines below it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def sheets(result: EvaluateResult) -> list[Sheet]:
    """Every table of an evaluation."""
    found = [_prediction(one) for one in result.predictions]
    if result.tasks:
        found += [_probes(result.tasks), _neighbourhoods(result.tasks)]
    return found


def evaluation_view(result: EvaluateResult) -> RenderableType:
    """All tables for the terminal."""
    parts: list[RenderableType] = []
    for sheet in sheets(result):
        table = Table(box=None, pad_edge=False, title=Text(sheet.title), title_justify="left")
        for number, heading in enumerate(sheet.headings):
            table.add_column(heading, justify="right" if number else "left", overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(cell) for cell in row))
        parts += [table, *(Text(note) for note in sheet.notes), Text("")]
    return Group(*parts[:-1])


def _spread(one: Interval | None, digits: int = 4) -> str:
    if one is None:
        return _NOTHING
    if not one.known:
        return f"{one.value:.{digits}f}"
    return f"{one.value:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"


def _prediction(one: HeldOutScores) -> Sheet:
    rows = tuple(
        (
            row.part,
            _who(row),
            _spread(row.bits),
            f"{row.accuracy.value:.4f}",
            _spread(row.gain),
            f"{row.num_bases:,}",
        )
        for row in one.rows
    )
    return Sheet(
        title=f"held-out bases: {one.question}",
        headings=("part", "who", "bits per base", "accuracy", "gain over counts", "bases"),
        rows=rows,
        notes=tuple(_verdict(one)),
    )


def _who(row: RankingRow) -> str:
    if row.who == "counts":
        return f"counts of {row.detail} neighbours"
    return "this model" if row.who == "model" else f"random weights, seed {row.detail}"


def _verdict(one: HeldOutScores) -> Iterator[str]:
    row = next(row for row in one.rows if row.kind == "all" and row.who == "model")
    if row.gain is None:
        yield "no table of counts to compare with"
    elif not row.gain.known:
        yield "a single window was scored: no interval, and no statement beyond chance"
    elif row.gain.low > 0:
        yield f"the model beats the table of counts by {row.gain.value:.4f} bits per base"
    elif row.gain.high < 0:
        yield f"the table of counts beats the model by {-row.gain.value:.4f} bits per base"
    else:
        yield "neither the model nor the table of counts is ahead beyond chance"


def _probes(tasks: Sequence[ProbingResult]) -> Sheet:
    rows = [row for task in tasks for row in _probe_rows(task)]
    return Sheet(
        title="labelled sequences: logistic regression on frozen vectors",
        headings=("task", "vectors", "MCC", "accuracy", "AUROC", "MCC, 10-NN", "MCC - best k-mers"),
        rows=tuple(rows),
        notes=tuple(_won_and_lost(tasks)),
    )


def _kinds(task: ProbingResult) -> Iterator[tuple[str, list[ProbeRow]]]:
    """Vectors worth a row, seed by seed: of the k-mers, those that do best with the first seed."""
    best = task.best_kmers(task.rows[0].seed).who
    for who in dict.fromkeys(row.who for row in task.rows):
        if who == best or not who.endswith("-mers"):
            yield who, [row for row in task.rows if row.who == who]


def _probe_rows(task: ProbingResult) -> Iterator[tuple[str, ...]]:
    name = f"{task.name} ({len(task.classes)} classes)"
    for who, rows in _kinds(task):
        yield (
            name,
            _vectors(who),
            _over_seeds([row.logistic.mcc for row in rows]),
            f"{fmean(row.logistic.accuracy.value for row in rows):.3f}",
            f"{fmean(row.logistic.auroc.value for row in rows):.3f}",
            f"{fmean(row.neighbours.mcc.value for row in rows):.3f}",
            _over_seeds([row.gain for row in rows if row.gain]) if rows[0].gain else _NOTHING,
        )
        name = ""


def _over_seeds(found: Sequence[Interval]) -> str:
    """Return one seed with its interval; several as mean and standard deviation.

    Where nothing was drawn (an official split, all of its rows), every seed gives one value, and
    its bootstrap interval says more than a deviation of zero.
    """
    values = [one.value for one in found]
    if len(set(values)) == 1:
        return _spread(found[0], 3)
    return f"{fmean(values):.3f} ± {stdev(values):.3f}"


def _vectors(who: str) -> str:
    return {"model": "this model", "random": "random weights"}.get(who, who)


def _won_and_lost(tasks: Sequence[ProbingResult]) -> Iterator[str]:
    signs = []
    for task in tasks:
        gain = next(row.gain for row in task.rows if row.who == "model")
        assert gain is not None
        signs.append((gain.low > 0) - (gain.high < 0))
    yield (
        f"beyond chance, the model's vectors are ahead of the best k-mers on {signs.count(1)} of "
        f"{len(signs)} tasks, behind on {signs.count(-1)}"
    )


def _neighbourhoods(tasks: Sequence[ProbingResult]) -> Sheet:
    rows = []
    for task in tasks:
        name = task.name
        for who, found in _kinds(task):
            one = found[0].neighbourhood
            if one is None:
                continue
            rows.append(
                (
                    name,
                    _vectors(who),
                    f"{one.purity:.3f}",
                    f"{one.chance:.3f}",
                    f"{one.precision:.3f}",
                    f"{one.precision_chance:.3f}",
                    f"{one.silhouette:.3f}",
                    f"{one.within:.3f}",
                    f"{one.between:.3f}",
                    f"{one.p_value:.3f}",
                )
            )
            name = ""
    return Sheet(
        title="labelled sequences: neighbourhoods of the vectors as they are",
        headings=(
            *("task", "vectors", "purity of 10", "by chance", "mAP", "by chance", "silhouette"),
            *("within", "between", "p"),
        ),
        rows=tuple(rows),
    )
