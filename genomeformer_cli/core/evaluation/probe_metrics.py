"""Metrics of a probe, with intervals, and its gain over another probe.

Intervals come from a bootstrap over tested rows: they do not cover the choice of training rows,
which several seeds show if rows are drawn.
Shape letters: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.class_metrics import (
    GroupMetrics,
    GroupValues,
    area_under_curve,
    correlation,
    macro_f1,
    summarize_groups,
)
from genomeformer_cli.core.evaluation.grouped_ranking import average_precision
from genomeformer_cli.core.evaluation.probes import ProbePredictions
from genomeformer_cli.core.evaluation.token_scores import (
    NUM_SAMPLES,
    ConfidenceInterval,
    percentile_interval,
    without_interval,
)


@dataclass(frozen=True, kw_only=True)
class ProbeMetrics:
    """Metrics of a probe."""

    accuracy: ConfidenceInterval  # Fraction of the rows whose most probable class is the true one.
    mcc: ConfidenceInterval  # Matthews correlation; for several classes Gorodkin's (2004).
    # Area under the ROC curve; for several classes the mean of one against the rest, over the
    # classes among the tested rows.
    auroc: ConfidenceInterval
    # Area under the precision-recall curve of the second class; for several classes the mean of
    # one against the rest.
    auprc: ConfidenceInterval
    f1: ConfidenceInterval  # Mean F1 over classes.
    num_rows: int  # Number of tested rows.


def measure_probe(predictions: ProbePredictions, seed: int) -> ProbeMetrics:
    """Compute the metrics of a probe with bootstrap intervals."""
    metrics = _WeightedMetrics(predictions)
    values = metrics.measures(np.ones(predictions.targets_N.size))
    if predictions.targets_N.size < 2:
        intervals = [without_interval(value) for value in values]
    else:
        samples = np.array(
            [metrics.measures(weights) for weights in _bootstrap_weights(predictions, seed)]
        )
        intervals = [percentile_interval(value, samples[:, i]) for i, value in enumerate(values)]
    accuracy, mcc, auroc, auprc, f1 = intervals
    return ProbeMetrics(
        accuracy=accuracy,
        mcc=mcc,
        auroc=auroc,
        auprc=auprc,
        f1=f1,
        num_rows=int(predictions.targets_N.size),
    )


def measure_groups(predictions: ProbePredictions, groups: Sequence[str]) -> GroupMetrics | None:
    """Compute the metrics of two classes per group; None without groups or for more classes.

    Args:
        predictions: Predictions of a probe.
        groups: Group of each tested row.
    """
    if not all(groups) or predictions.probability_NC.shape[1] != 2:
        return None
    _, group_N = np.unique(np.array(groups), return_inverse=True)
    values = []
    for group in range(int(group_N.max()) + 1):
        rows = np.flatnonzero(group_N == group)
        metrics = _WeightedMetrics(
            ProbePredictions(
                targets_N=predictions.targets_N[rows],
                probability_NC=predictions.probability_NC[rows],
                strength=None,
            )
        )
        _, mcc, auroc, auprc, _ = metrics.measures(np.ones(rows.size))
        values.append(GroupValues(mcc=mcc, auroc=auroc, auprc=auprc))
    return summarize_groups(values)


def mcc_gain(
    predictions: ProbePredictions, baseline: ProbePredictions, seed: int
) -> ConfidenceInterval:
    """Return the gain in Matthews correlation over a baseline on the same rows."""
    metrics, baseline_metrics = _WeightedMetrics(predictions), _WeightedMetrics(baseline)
    ones = np.ones(predictions.targets_N.size)
    if ones.size < 2:
        return without_interval(metrics.mcc(ones) - baseline_metrics.mcc(ones))
    samples = np.array(
        [metrics.mcc(w) - baseline_metrics.mcc(w) for w in _bootstrap_weights(predictions, seed)]
    )
    return percentile_interval(metrics.mcc(ones) - baseline_metrics.mcc(ones), samples)


def _bootstrap_weights(
    predictions: ProbePredictions, seed: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the number of times each row is drawn, for each bootstrap sample."""
    generator = np.random.default_rng([seed, 7])
    num_rows = predictions.targets_N.size
    for _ in range(NUM_SAMPLES):
        sampled = generator.integers(0, num_rows, num_rows)
        yield np.bincount(sampled, minlength=num_rows).astype(np.float64)


class _WeightedMetrics:
    """Metrics of weighted rows; quantities independent of the weights are computed once."""

    def __init__(self, predictions: ProbePredictions) -> None:
        self._targets_N = predictions.targets_N
        self._num_classes = predictions.probability_NC.shape[1]
        predicted_N = predictions.probability_NC.argmax(axis=1)
        self._pair_N = predictions.targets_N * self._num_classes + predicted_N
        self._curves = []
        columns = [1] if self._num_classes == 2 else range(self._num_classes)
        for column in columns:
            scores_N = predictions.probability_NC[:, column]
            _, rank_N = np.unique(scores_N, return_inverse=True)
            self._curves.append((rank_N, predictions.targets_N == column))

    def _confusion(self, weights_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        num_classes = self._num_classes
        flat = np.bincount(self._pair_N, weights=weights_N, minlength=num_classes * num_classes)
        return flat.astype(np.float64).reshape(num_classes, num_classes)

    def mcc(self, weights_N: npt.NDArray[np.float64]) -> float:
        return correlation(self._confusion(weights_N))

    def measures(
        self, weights_N: npt.NDArray[np.float64]
    ) -> tuple[float, float, float, float, float]:
        """Return accuracy, Matthews correlation, both areas, and F1."""
        confusion = self._confusion(weights_N)
        areas = [area_under_curve(rank_N, is_N, weights_N) for rank_N, is_N in self._curves]
        precisions = [average_precision(rank_N, is_N, weights_N) for rank_N, is_N in self._curves]
        accuracy = float(np.trace(confusion) / confusion.sum())
        return (
            accuracy,
            correlation(confusion),
            _finite_mean(areas),
            _finite_mean(precisions),
            macro_f1(confusion),
        )


def _finite_mean(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
