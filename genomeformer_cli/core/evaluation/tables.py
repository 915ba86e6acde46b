"""Tables of an evaluation, from the values of `eval_results.json`.

The terminal, the HTML report and the model card all render these tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from genomeformer_cli.core.evaluation.variant_tables import (
    chains_table,
    codon_table,
    has_bounds,
    interval_text,
    variant_table,
)
from genomeformer_cli.core.tables import Table

Plain = Mapping[str, Any]

MISSING = "-"
_SOURCES = {"model": "this model", "random": "random weights"}
# Metrics of the suites, by name in `known_suites`.
_GROUP_METRICS = {
    "mean_mcc": "MCC, mean over groups",
    "median_auroc": "AUROC, median over groups",
    "median_auprc": "AUPRC, median over groups",
}
_METRICS = {
    "mcc": "MCC",
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "macro F1",
    **_GROUP_METRICS,
}
_NEIGHBOURHOOD = {
    "purity": "purity of 10",
    "chance": "by chance",
    "precision": "mAP",
    "precision_chance": "by chance",
    "silhouette": "silhouette",
    "within": "within",
    "between": "between",
    "p_value": "p",
}


def evaluation_tables(results: Plain) -> list[Table]:
    """Return all tables of an evaluation.

    Args:
        results: Values of `eval_results.json`; a number that is not finite is None.
    """
    tables = [_held_out(prediction) for prediction in results["predictions"]]
    # Results of earlier releases have no such keys.
    if results.get("recovery"):
        tables.append(_recovery(results["recovery"], results["recovery_config"]))
    if results["tasks"]:
        tables += [_probes(results["tasks"]), _neighbourhoods(results["tasks"])]
        tables += _suites([task for task in results["tasks"] if task.get("metrics")])
    if results.get("variants"):
        tables.append(variant_table(results["variants"]))
    tables += [variant_table(variants) for variants in results.get("suite_variants", [])]
    tables += [chains_table(chains) for chains in results.get("gene_chains", [])]
    if results.get("codon_effects"):
        tables.append(codon_table(results["codon_effects"]))
    return tables


def _held_out(prediction: Plain) -> Table:
    return Table(
        title=f"Held-out bases: {prediction['question']}",
        headings=("part", "predictor", "bits per base", "accuracy", "gain over counts", "bases"),
        rows=tuple(
            (
                row["part"],
                _predictor(row),
                interval_text(row["bits"]),
                interval_text(row["accuracy"]),
                interval_text(row["gain"]),
                f"{row['num_bases']:,}",
            )
            for row in prediction["rows"]
        ),
        notes=tuple(_compare_with_counts(prediction["rows"])),
    )


def _predictor(row: Plain) -> str:
    if row["who"] == "counts":
        part = row.get("counted_on")
        return f"counts of {row['detail']} neighbours" + (f" in {part}" if part else "")
    return "this model" if row["who"] == "model" else f"random weights, seed {row['detail']}"


def _compare_with_counts(rows: Sequence[Plain]) -> Iterator[str]:
    gains = {row["part"]: row["gain"] for row in rows if row["who"] == "model" and row["gain"]}
    if not gains:
        yield "No table of counts was available for comparison."
        return
    bounded = {part: gain for part, gain in gains.items() if has_bounds(gain)}
    if not bounded:
        yield "A single window was scored: no interval, and no statement beyond chance."
        return
    behind = [part for part, gain in bounded.items() if gain["high"] < 0]
    undecided = [part for part, gain in bounded.items() if gain["low"] <= 0 <= gain["high"]]
    if not behind and not undecided:
        yield "The model is ahead of the table of counts beyond chance on every part."
    if behind:
        yield f"The table of counts is ahead of the model beyond chance on: {', '.join(behind)}."
    if undecided:
        yield f"Neither is ahead beyond chance on: {', '.join(undecided)}."


def _recovery(recovery: Plain, config: Plain) -> Table:
    name = "filled between both sides" if recovery["is_filled"] else "continued"
    skipped = recovery["num_skipped"]
    return Table(
        title=f"Sequence recovery: {config['bases']} hidden bases, {name}",
        headings=(
            "generator",
            "recovery",
            "recovery of this model - this",
            f"{config['kmer']}-mer divergence, bits",
        ),
        rows=tuple(
            (
                _generator(row),
                interval_text(row["recovery"], 3),
                interval_text(row["lead"], 3),
                f"{row['divergence']:.5f}",
            )
            for row in recovery["rows"]
        ),
        notes=(
            f"{recovery['num_windows']:,} stretches after {config['prompt']:,} visible bases"
            + (f", {skipped:,} places with other letters left out" if skipped else "")
            + "; the most probable bases are compared, drawn ones give the divergence.",
        ),
    )


def _generator(row: Plain) -> str:
    if row["order"] is not None:
        return f"Markov chain of order {row['order']}"
    predictor: str = row["predictor"]
    return _SOURCES.get(predictor, predictor)


def _probes(tasks: Sequence[Plain]) -> Table:
    rows = []
    for task in tasks:
        for vectors, seeds in vectors_by_source(task):
            logistic = [seed["logistic"] for seed in seeds]
            neighbours = [seed["neighbours"] or {} for seed in seeds]
            rows.append(
                (
                    f"{task['name']} ({len(task['classes'])} classes)",
                    vectors,
                    over_seeds([measures["mcc"] for measures in logistic]),
                    mean_or_missing([measures["accuracy"] for measures in logistic]),
                    over_seeds([measures["auroc"] for measures in logistic]),
                    over_seeds([measures.get("mcc") for measures in neighbours]),
                    over_seeds([seed.get("gain") for seed in seeds]),
                )
            )
    return Table(
        title="Labelled sequences: logistic regression on frozen vectors",
        headings=("task", "vectors", "MCC", "accuracy", "AUROC", "MCC, 10-NN", "MCC - best k-mers"),
        rows=tuple(rows),
        notes=tuple(_compare_with_kmers(tasks)),
    )


def vectors_by_source(
    task: Plain, names: Mapping[str, str] = _SOURCES
) -> Iterator[tuple[str, list[Plain]]]:
    """Return the rows of each kind of vectors; of the k-mers, the best k with the first seed.

    Args:
        task: Result on a task.
        names: Names of kinds of vectors in the table, where they differ.
    """
    rows = task["rows"]
    kmers = [row for row in rows if row["who"].endswith("-mers") and row["seed"] == rows[0]["seed"]]
    best = max(kmers, key=lambda row: row["logistic"]["mcc"].get("value") or 0.0, default=None)
    for who in dict.fromkeys(row["who"] for row in rows):
        if not who.endswith("-mers") or (best is not None and who == best["who"]):
            yield names.get(who, who), [row for row in rows if row["who"] == who]


def over_seeds(intervals: Sequence[Plain | None]) -> str:
    """Return one seed with its interval, or the mean and standard deviation over several seeds.

    Without random draws (an official split with all of its rows), every seed gives one value; the
    bootstrap interval is then more informative than a deviation of zero.
    """
    present = [interval for interval in intervals if interval is not None]
    values = [interval["value"] for interval in present if interval["value"] is not None]
    if len(set(values)) < 2:
        return interval_text(present[0] if present else None, 3)
    return f"{fmean(values):.3f} ± {stdev(values):.3f}"


def mean_or_missing(intervals: Sequence[Plain]) -> str:
    """Return the mean of the values, or `-` if one of them is unknown."""
    values = [interval["value"] for interval in intervals]
    return MISSING if None in values else f"{fmean(values):.3f}"


def _compare_with_kmers(tasks: Sequence[Plain]) -> Iterator[str]:
    ahead, behind = [], []
    for task in tasks:
        gain = next((row.get("gain") for row in task["rows"] if row["who"] == "model"), None)
        low, high = ((gain or {}).get(bound) for bound in ("low", "high"))
        if low is not None and low > 0:
            ahead.append(task["name"])
        elif high is not None and high < 0:
            behind.append(task["name"])
    if len(ahead) == len(tasks):
        yield "The model's vectors are ahead of the best k-mers beyond chance on every task."
        return
    yield (
        f"Beyond chance, the model's vectors are ahead of the best k-mers on {len(ahead)} of "
        f"{len(tasks)} tasks, behind on {len(behind)}."
    )
    remaining = [task["name"] for task in tasks if task["name"] not in ahead]
    yield f"Not ahead beyond chance on: {', '.join(remaining)}."


def _neighbourhoods(tasks: Sequence[Plain]) -> Table:
    rows = []
    for task in tasks:
        for vectors, seeds in vectors_by_source(task):
            neighbourhood = seeds[0].get("neighbourhood")
            if neighbourhood:
                numbers = (_number(neighbourhood.get(key)) for key in _NEIGHBOURHOOD)
                rows.append((task["name"], vectors, *numbers))
    return Table(
        title="Labelled sequences: neighbourhoods of the unchanged vectors",
        headings=("task", "vectors", *_NEIGHBOURHOOD.values()),
        rows=tuple(rows),
    )


def _number(value: float | None) -> str:
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def _suites(tasks: Sequence[Plain]) -> Iterator[Table]:
    """Yield the table of the suites' own metrics, if there is a task of a suite."""
    rows = []
    for task in tasks:
        sources = dict(vectors_by_source(task, names={}))
        kmers = next((rows for who, rows in sources.items() if who.endswith("-mers")), [])
        columns = [sources.get("model", []), sources.get("random", []), kmers]
        rows += [
            (
                task["name"],
                task.get("suite", ""),
                _METRICS.get(metric, metric),
                *(_suite_metric(metric, seeds) for seeds in (*columns, sources.get("one-hot", []))),
            )
            for metric in task["metrics"]
        ]
    if rows:
        yield Table(
            title="Labelled sequences: metrics of the suites",
            headings=(
                *("task", "suite", "metric", "this model", "random weights", "best k-mers"),
                "one-hot",
            ),
            rows=tuple(rows),
            notes=(
                "Rules of each suite, and those that differ here: `genomeformer models --suites`.",
            ),
        )


def _suite_metric(metric: str, seeds: Sequence[Plain]) -> str:
    if metric not in _GROUP_METRICS:
        return over_seeds([seed["logistic"].get(metric) for seed in seeds])
    values = [(seed.get("groups") or {}).get(metric) for seed in seeds]
    present = [value for value in values if value is not None]
    return _number(fmean(present) if present else None)
