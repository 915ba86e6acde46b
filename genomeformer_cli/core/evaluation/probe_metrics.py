"""Metrics of a probe, with intervals, and its gain over another probe.

Intervals come from a bootstrap over tested rows: they do not cover the choice of training rows,
which several seeds show if rows are drawn.
Shape letters: N rows, C classes, S bootstrap samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.evaluation.class_metrics import (
    Floats,
    GroupMetrics,
    GroupValues,
    area_under_curve,
    average_precision,
    correlation,
    draw_counts,
    macro_f1,
    ratio,
    summarize_groups,
)
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
    values = metrics.measures(np.ones((1, predictions.targets_N.size)))[:, 0].tolist()
    if predictions.targets_N.size < 2:
        intervals = [without_interval(value) for value in values]
    else:
        batches = [metrics.measures(weights) for weights in _bootstrap_weights(predictions, seed)]
        samples_5S = np.concatenate(batches, axis=1)
        intervals = [
            percentile_interval(value, samples_S)
            for value, samples_S in zip(values, samples_5S, strict=True)
        ]
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
        metrics = _WeightedMetrics(predictions.rows(rows))
        _, mcc, auroc, auprc, _ = metrics.measures(np.ones((1, rows.size)))[:, 0].tolist()
        values.append(GroupValues(mcc=mcc, auroc=auroc, auprc=auprc))
    return summarize_groups(values)


def mcc_gain(
    predictions: ProbePredictions, baseline: ProbePredictions, seed: int
) -> ConfidenceInterval:
    """Return the gain in Matthews correlation over a baseline on the same rows."""
    metrics, baseline_metrics = _WeightedMetrics(predictions), _WeightedMetrics(baseline)
    ones = np.ones((1, predictions.targets_N.size))
    value = float((metrics.mcc(ones) - baseline_metrics.mcc(ones))[0])
    if ones.size < 2:
        return without_interval(value)
    samples = [
        metrics.mcc(weights) - baseline_metrics.mcc(weights)
        for weights in _bootstrap_weights(predictions, seed)
    ]
    return percentile_interval(value, np.concatenate(samples))


def _bootstrap_weights(predictions: ProbePredictions, seed: int) -> Iterator[Floats]:
    """Yield how often each row is drawn per bootstrap sample, (S, N), in batches of samples."""
    num_rows = predictions.targets_N.size
    generator = np.random.default_rng([seed, 7])
    return draw_counts(num_rows, generator, num_samples=NUM_SAMPLES, num_rows=num_rows)


class _WeightedMetrics:
    """Metrics of weighted rows; quantities independent of the weights are computed once."""

    def __init__(self, predictions: ProbePredictions) -> None:
        self._num_classes = predictions.probability_NC.shape[1]
        predicted_N = predictions.probability_NC.argmax(axis=1)
        self._pair_N = predictions.targets_N * self._num_classes + predicted_N
        self._curves = []
        columns = [1] if self._num_classes == 2 else range(self._num_classes)
        for column in columns:
            scores_N = predictions.probability_NC[:, column]
            _, rank_N = np.unique(scores_N, return_inverse=True)
            self._curves.append((rank_N, predictions.targets_N == column))

    def _confusion(self, weights_SN: Floats) -> Floats:
        shape = (len(weights_SN), self._num_classes, self._num_classes)
        cells_SN = self._pair_N + self._num_classes**2 * np.arange(len(weights_SN))[:, None]
        sums = np.bincount(cells_SN.ravel(), weights=weights_SN.ravel(), minlength=math.prod(shape))
        return sums.astype(np.float64).reshape(shape)

    def mcc(self, weights_SN: Floats) -> Floats:
        return correlation(self._confusion(weights_SN))

    def measures(self, weights_SN: Floats) -> Floats:
        """Return accuracy, Matthews correlation, both areas, and F1, (5, S)."""
        confusion_SCC = self._confusion(weights_SN)
        areas = [area_under_curve(rank_N, is_N, weights_SN) for rank_N, is_N in self._curves]
        precisions = [average_precision(rank_N, is_N, weights_SN) for rank_N, is_N in self._curves]
        correct_S = np.trace(confusion_SCC, axis1=1, axis2=2)
        return np.stack(
            [
                correct_S / confusion_SCC.sum(axis=(1, 2)),
                correlation(confusion_SCC),
                _finite_mean(areas),
                _finite_mean(precisions),
                macro_f1(confusion_SCC),
            ]
        )


def _finite_mean(values: Sequence[Floats]) -> Floats:
    values_CS = np.stack(values)
    is_finite_CS = np.isfinite(values_CS)
    sums_S = np.where(is_finite_CS, values_CS, 0.0).sum(axis=0)
    return ratio(sums_S, is_finite_CS.sum(axis=0), np.nan)
