"""Tables of a leaderboard: models in all, and every task with its baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from genomeformer_cli.core.evaluation.tables import (
    MISSING,
    mean_or_missing,
    over_seeds,
    vectors_by_source,
)
from genomeformer_cli.core.tables import Table

Plain = Mapping[str, Any]
_MEGABYTE = 10**6
_MODEL, _TWIN = "model", "random"
_UNKNOWN = "unknown"


def leaderboard_tables(results: Plain) -> list[Table]:
    """Return the table of models, and that of models and tasks.

    Args:
        results: Values of `leaderboard.json`.
    """
    return [_model_table(results), _task_table(results)]


def _model_table(results: Plain) -> Table:
    rows = []
    for model in results["models"]:
        pairs = [pair for pair in results["pairs"] if pair["model"] == model]
        if len(pairs) == len(results["tasks"]):
            rows.append((_mean_mcc(pairs, _MODEL), _model_row(model, pairs)))
    rows.sort(key=lambda row: -row[0])
    kmers = _pairs_by_task(results)
    baseline = fmean(_best_kmers(pairs[0]["task"]) for pairs in kmers) if kmers else None
    last = [("best k-mers", _number(baseline), *[""] * 6)] if baseline is not None else []
    notes = [f"`{model}` failed: {text}." for model, text in results["problems"].items()]
    device = results["environment"].get("device", "cpu")
    return Table(
        title=f"Models: means over {len(results['tasks'])} tasks",
        headings=(
            "model",
            "MCC",
            "random twin, MCC",
            "tasks ahead of k-mers",
            "parameters",
            "CPU seconds",
            "peak memory",
            "licence",
        ),
        rows=(*(row for _, row in rows), *last),
        notes=(
            "CPU seconds: computing the vectors of all tasks, all threads together. Peak memory: "
            f"of the process meanwhile, or of the allocator of a GPU; device: {device}.",
            "Ahead of k-mers: the interval of the difference to the best k-mers is above 0.",
            *notes,
        ),
    )


def _model_row(model: str, pairs: Sequence[Plain]) -> tuple[str, ...]:
    ahead = sum(_is_ahead(pair["task"]) for pair in pairs)
    return (
        model,
        _number(_mean_mcc(pairs, _MODEL)),
        _number(_mean_mcc(pairs, _TWIN)),
        f"{ahead} of {len(pairs)}",
        f"{pairs[0]['num_parameters'] / 1e6:,.1f} M",
        f"{sum(pair['cost']['cpu_seconds'] for pair in pairs):,.1f}",
        f"{max(pair['cost']['peak_bytes'] for pair in pairs) / _MEGABYTE:,.0f} MB",
        pairs[0].get("licence") or _UNKNOWN,
    )


def _task_table(results: Plain) -> Table:
    rows = []
    for pairs in _pairs_by_task(results):
        pairs = sorted(pairs, key=lambda pair: -_mcc(pair["task"], _MODEL))
        rows += [_pair_row(pair) for pair in pairs]
        rows += list(_baseline_rows(pairs[0]["task"]))
    return Table(
        title="Labelled sequences: logistic regression on frozen vectors",
        headings=(
            "task",
            "vectors",
            "MCC",
            "random twin, MCC",
            "MCC - best k-mers",
            "accuracy",
            "AUROC",
        ),
        rows=tuple(rows),
        notes=(
            "Intervals are of 1,000 bootstrap samples of test rows (95 %); with several seeds, ± "
            "is the standard deviation over seeds.",
        ),
    )


def _pairs_by_task(results: Plain) -> list[list[Plain]]:
    groups = [
        [pair for pair in results["pairs"] if pair["task"]["name"] == task]
        for task in results["tasks"]
    ]
    return [group for group in groups if group]


def _pair_row(pair: Plain) -> tuple[str, ...]:
    rows = dict(vectors_by_source(pair["task"], names={}))
    seeds, twins = rows[_MODEL], rows[_TWIN]
    return (
        pair["task"]["name"],
        pair["model"],
        over_seeds([seed["logistic"]["mcc"] for seed in seeds]),
        over_seeds([seed["logistic"]["mcc"] for seed in twins]),
        over_seeds([seed.get("gain") for seed in seeds]),
        mean_or_missing([seed["logistic"]["accuracy"] for seed in seeds]),
        over_seeds([seed["logistic"]["auroc"] for seed in seeds]),
    )


def _baseline_rows(task: Plain) -> Iterator[tuple[str, ...]]:
    """Return the rows of k-mers and one-hot bases, which are equal for all models."""
    for source, seeds in vectors_by_source(task, names={}):
        if source not in (_MODEL, _TWIN):
            yield (
                task["name"],
                source,
                over_seeds([seed["logistic"]["mcc"] for seed in seeds]),
                MISSING,
                over_seeds([seed.get("gain") for seed in seeds]),
                mean_or_missing([seed["logistic"]["accuracy"] for seed in seeds]),
                over_seeds([seed["logistic"]["auroc"] for seed in seeds]),
            )


def _mean_mcc(pairs: Sequence[Plain], source: str) -> float:
    return fmean(_mcc(pair["task"], source) for pair in pairs)


def _mcc(task: Plain, source: str) -> float:
    """Return the mean Matthews correlation over seeds."""
    return fmean(
        row["logistic"]["mcc"].get("value") or 0.0 for row in task["rows"] if row["who"] == source
    )


def _best_kmers(task: Plain) -> float:
    first = task["rows"][0]["seed"]
    return max(
        row["logistic"]["mcc"].get("value") or 0.0
        for row in task["rows"]
        if row["who"].endswith("-mers") and row["seed"] == first
    )


def _is_ahead(task: Plain) -> bool:
    gain = next(row.get("gain") for row in task["rows"] if row["who"] == _MODEL) or {}
    return gain.get("low") is not None and gain["low"] > 0


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
