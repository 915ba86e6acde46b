"""Ranking of a comparison: trainings as rows over their seeds, beside their baselines."""

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
    """Mean and deviation over several seeds."""

    mean: float
    deviation: float | None = None  # Sample standard deviation; None for a single value.


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Ended training."""

    run: str  # Name of the run.
    corpus: str  # Name of the corpus.
    variant: str  # Name of the variant.
    seed: int
    problem: str | None = None  # Reason of a failure, if it failed.
    plan: Plan | None = None  # Number of steps that the budget allows, if known.
    summary: RunSummary | None = None  # Summary of the run, if it has one.
    pace: Pace | None = None  # Time and memory, if known.


@dataclass(frozen=True, kw_only=True)
class Row:
    """Compared variant over its seeds; numbers are None if no training succeeded."""

    corpus: str  # Name of the corpus.
    variant: str  # Name of the variant.
    num_seeds: int = 0  # Number of successful trainings.
    problem: str | None = None  # Reason of the first failure, if any.
    bits_per_base: Spread | None = None  # Score on held-out bases.
    accuracy: Spread | None = None  # Fraction of correct predictions.
    gain: Spread | None = None  # Bits per base below those of the table of counts; negative: worse.
    bases_per_second: Spread | None = None  # Training speed without validations and checkpoints.
    peak_bytes: Spread | None = None  # Largest memory of the process; on a GPU, of the allocator.
    training_seconds: Spread | None = None  # Time of all steps.
    num_parameters: int | None = None  # Number of parameters.
    steps: int | None = None  # Optimizer steps.
    tokens: int | None = None  # Number of tokens seen.
    flops: int | None = None  # Number of operations, where counted.


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Baseline of a corpus."""

    corpus: str  # Corpus of the held-out bases.
    name: str  # Name of the baseline.
    bits_per_base: Spread  # Cross-entropy.
    accuracy: Spread  # Fraction of correct predictions.
    num_bases: int  # Number of queries.
    is_random: bool = False  # True for random twins, False for tables of counts.


def has_ended(folder: Path) -> bool:
    """Return True if a run is finished."""
    return (folder / SUMMARY_FILE).exists()


def read_result(folder: Path) -> tuple[RunSummary, Pace]:
    """Return the summary of a finished run, and its time and memory."""
    return read_summary(folder), pace(read_rows(folder / THROUGHPUT_FILE))


def spread(values: Iterable[float]) -> Spread:
    """Return mean and deviation of one value or more."""
    numbers = list(values)
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Spread(mean=statistics.fmean(numbers), deviation=deviation)


def standings(trained: Sequence[TrainingResult]) -> tuple[Row, ...]:
    """Return one row per corpus and variant: by corpus, the best first, failures last."""
    groups: dict[tuple[str, str], list[TrainingResult]] = {}
    for result in trained:
        groups.setdefault((result.corpus, result.variant), []).append(result)
    rows = [_row(group) for group in groups.values()]
    corpora = list(dict.fromkeys(row.corpus for row in rows))
    return tuple(sorted(rows, key=lambda row: (corpora.index(row.corpus), _bits(row))))


def _bits(row: Row) -> float:
    return row.bits_per_base.mean if row.bits_per_base else float("inf")


def _row(group: list[TrainingResult]) -> Row:
    first = group[0]
    problem = next((result.problem for result in group if result.problem), None)
    ended = [(result.summary, result.pace) for result in group if result.summary and result.pace]
    if not ended:
        return Row(corpus=first.corpus, variant=first.variant, problem=problem)
    summaries, paces = zip(*ended, strict=True)
    plan = next((result.plan for result in group if result.plan), None)
    steps = summaries[0].num_steps
    return Row(
        corpus=first.corpus,
        variant=first.variant,
        num_seeds=len(ended),
        problem=problem,
        bits_per_base=spread(summary.model.bits_per_base for summary in summaries),
        accuracy=spread(summary.model.accuracy for summary in summaries),
        gain=spread(
            summary.counts.bits_per_base - summary.model.bits_per_base for summary in summaries
        ),
        bases_per_second=spread(pace.bases_per_second for pace in paces),
        peak_bytes=spread(pace.peak_bytes for pace in paces),
        training_seconds=spread(pace.seconds for pace in paces),
        num_parameters=summaries[0].num_parameters,
        steps=steps,
        tokens=plan.tokens * steps if plan else None,
        flops=plan.flops * steps if plan and plan.flops else None,
    )


def baselines(trained: Sequence[TrainingResult]) -> tuple[Baseline, ...]:
    """Return the tables of counts, one per set of queries, and the random twins together."""
    rows: list[Baseline] = []
    for corpus in dict.fromkeys(result.corpus for result in trained):
        summaries = [
            result.summary for result in trained if result.corpus == corpus and result.summary
        ]
        tables = {(summary.counts_name, summary.counts): None for summary in summaries}
        rows += [_baseline(corpus, name, [score]) for name, score in tables]
        if summaries:
            twins = [summary.random_twin for summary in summaries]
            random = _baseline(corpus, "random weights, mean of the twins", twins)
            rows.append(replace(random, is_random=True))
    return tuple(rows)


def _baseline(corpus: str, name: str, scores: list[Score]) -> Baseline:
    return Baseline(
        corpus=corpus,
        name=name,
        bits_per_base=spread(item.bits_per_base for item in scores),
        accuracy=spread(item.accuracy for item in scores),
        num_bases=scores[0].num_bases,
    )
