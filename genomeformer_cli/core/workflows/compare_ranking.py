"""Who stands where: trainings of a comparison as rows over their seeds, beside their baselines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.training.budget import Plan
from genomeformer_cli.core.training.metrics import THROUGHPUT_FILE, Pace, Score, pace, read_rows
from genomeformer_cli.core.training.summary import SUMMARY_FILE, RunSummary, read_summary


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A number over several seeds.

    Attributes:
        mean: Of all.
        deviation: Sample standard deviation; None of a single one.
    """

    mean: float
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One training, as it ended.

    Attributes:
        run: Name of its run.
        corpus: What it was trained on.
        variant: Which one.
        seed: Its seed.
        problem: Why it did not end well, if it did not.
        plan: What the budget bought, if that is known.
        summary: Its result, if it has one.
        pace: What it took, likewise.
    """

    run: str
    corpus: str
    variant: str
    seed: int
    problem: str | None = None
    plan: Plan | None = None
    summary: RunSummary | None = None
    pace: Pace | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One that is compared, over its seeds; numbers are None where no training ended well.

    Attributes:
        corpus: What it was trained on.
        variant: Which one.
        num_seeds: Trainings that ended well.
        problem: Why one did not, if one did not.
        bits_per_base: Of held-out bases.
        accuracy: Part of these that were right.
        gain: Bits per base better than the table of counts; less than 0: worse.
        bases_per_second: While training, validations and checkpoints apart.
        peak_bytes: Most memory of its process; on a GPU, of the allocator.
        training_seconds: Of all steps.
        num_parameters: Of the model.
        steps: Optimizer steps.
        tokens: Seen in all.
        flops: Operations in all, where they were counted.
    """

    corpus: str
    variant: str
    num_seeds: int = 0
    problem: str | None = None
    bits_per_base: Spread | None = None
    accuracy: Spread | None = None
    gain: Spread | None = None
    bases_per_second: Spread | None = None
    peak_bytes: Spread | None = None
    training_seconds: Spread | None = None
    num_parameters: int | None = None
    steps: int | None = None
    tokens: int | None = None
    flops: int | None = None


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What all stand beside.

    Attributes:
        corpus: Whose held-out bases were asked for.
        name: Which one.
        bits_per_base: Its score.
        accuracy: Its score.
        num_bases: How many bases were asked for.
        is_random: Whether it is the random twins, and not a table of counts.
    """

    corpus: str
    name: str
    bits_per_base: Spread
    accuracy: Spread
    num_bases: int
    is_random: bool = False


def has_ended(folder: Path) -> bool:
    """Whether a run is finished, so that it need not be trained again."""
    return (folder / SUMMARY_FILE).exists()


def taken_by(folder: Path) -> tuple[RunSummary, Pace]:
    """What a finished run found, and what it took."""
    return read_summary(folder), pace(read_rows(folder / THROUGHPUT_FILE))


def spread(values: Iterable[float]) -> Spread:
    """Mean and spread of one value or more."""
    known = list(values)
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), deviation=deviation)


def standings(trained: Sequence[Trained]) -> tuple[Row, ...]:
    """A row for each that is compared: by corpus, the best first, those that failed last."""
    groups: dict[tuple[str, str], list[Trained]] = {}
    for one in trained:
        groups.setdefault((one.corpus, one.variant), []).append(one)
    rows = [_row(group) for group in groups.values()]
    corpora = list(dict.fromkeys(row.corpus for row in rows))
    return tuple(sorted(rows, key=lambda row: (corpora.index(row.corpus), _bits(row))))


def _bits(row: Row) -> float:
    return row.bits_per_base.mean if row.bits_per_base else float("inf")


def _row(group: list[Trained]) -> Row:
    first = group[0]
    problem = next((one.problem for one in group if one.problem), None)
    ended = [(one.summary, one.pace) for one in group if one.summary and one.pace]
    if not ended:
        return Row(corpus=first.corpus, variant=first.variant, problem=problem)
    summaries, paces = zip(*ended, strict=True)
    plan = next((one.plan for one in group if one.plan), None)
    steps = summaries[0].num_steps
    return Row(
        corpus=first.corpus,
        variant=first.variant,
        num_seeds=len(ended),
        problem=problem,
        bits_per_base=spread(one.model.bits_per_base for one in summaries),
        accuracy=spread(one.model.accuracy for one in summaries),
        gain=spread(one.counts.bits_per_base - one.model.bits_per_base for one in summaries),
        bases_per_second=spread(one.bases_per_second for one in paces),
        peak_bytes=spread(one.peak_bytes for one in paces),
        training_seconds=spread(one.seconds for one in paces),
        num_parameters=summaries[0].num_parameters,
        steps=steps,
        tokens=plan.tokens * steps if plan else None,
        flops=plan.flops * steps if plan and plan.flops else None,
    )


def baselines(trained: Sequence[Trained]) -> tuple[Baseline, ...]:
    """The tables of counts, one for each set of questions, and the random twins, all together."""
    found: list[Baseline] = []
    for corpus in dict.fromkeys(one.corpus for one in trained):
        summaries = [one.summary for one in trained if one.corpus == corpus and one.summary]
        tables = {(one.counts_name, one.counts): None for one in summaries}
        found += [_baseline(corpus, name, [score]) for name, score in tables]
        if summaries:
            twins = [one.random_twin for one in summaries]
            random = _baseline(corpus, "random weights, mean of the twins", twins)
            found.append(replace(random, is_random=True))
    return tuple(found)


def _baseline(corpus: str, name: str, scores: list[Score]) -> Baseline:
    return Baseline(
        corpus=corpus,
        name=name,
        bits_per_base=spread(one.bits_per_base for one in scores),
        accuracy=spread(one.accuracy for one in scores),
        num_bases=scores[0].num_bases,
    )
