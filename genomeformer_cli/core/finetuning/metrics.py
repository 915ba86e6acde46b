"""Metrics of predictions; larger is better for all but `loss` and `rmse`.

| kind                         | metrics                                                          |
|------------------------------|------------------------------------------------------------------|
| `classification`, `per-base` | `mcc` (Gorodkin 2004), `accuracy`, `f1` of all classes, `auroc`  |
| `multi-label`                | as above, means over the labels with positive and negative rows  |
| `regression`                 | `r2`, `pearson`, `spearman`, `rmse`, means over the quantities   |

For two classes, and for a label, `sensitivity` is the recall of the second class and `specificity`
that of the first.

Shape letters: N rows or bases, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.class_metrics import area_under_curve, correlation
from genomeformer_cli.core.evaluation.token_scores import (
    ConfidenceInterval,
    percentile_interval,
    without_interval,
)
from genomeformer_cli.core.finetuning.labels import LabelSpace, TargetArray, TaskKind

LOSS = "loss"
CLASS_MEASURES = ("mcc", "accuracy", "f1", "auroc")
NUMBER_MEASURES = ("r2", "pearson", "spearman", "rmse")
_SMALLER_IS_BETTER = (LOSS, "rmse")
_NUM_SAMPLES = 200
_DEFAULT = {
    TaskKind.CLASSIFICATION: "mcc",
    TaskKind.PER_BASE: "mcc",
    TaskKind.MULTI_LABEL: "auroc",
    TaskKind.REGRESSION: "r2",
}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """Scores of predictions."""

    loss: float  # Mean loss.
    # Metrics by name; a metric that the rows leave undefined is missing.
    measures: dict[str, float] = field(default_factory=dict)
    num_rows: int  # Number of rows.

    def sort_key(self, metric: str) -> tuple[float, float]:
        """Return the metric, with ties broken by the loss; larger is better."""
        value = self.loss if metric == LOSS else self.measures.get(metric, float("nan"))
        value = -value if metric in _SMALLER_IS_BETTER else value
        return (value if value == value else -np.inf, -self.loss)


def choose_metric(label_space: LabelSpace, name: str) -> str:
    """Return the metric of model selection.

    Raises:
        ConfigError: The task does not support the metric.
    """
    known_metrics = NUMBER_MEASURES if label_space.kind is TaskKind.REGRESSION else CLASS_MEASURES
    metric = name or _DEFAULT[label_space.kind]
    if metric not in (*known_metrics, LOSS):
        raise ConfigError(
            f"invalid metric `{metric}` for {label_space.kind.value}",
            hint="choose one of "
            + ", ".join(f"`{known_metric}`" for known_metric in (*known_metrics, LOSS)),
        )
    return metric


def task_metrics(
    label_space: LabelSpace, predictions: Sequence[Floats], targets: Sequence[TargetArray]
) -> dict[str, float]:
    """Return every metric that is defined.

    Args:
        label_space: Classes or quantities.
        predictions: One (1, C) or (bases, C) array per row.
        targets: Numeric label of each row.
    """
    predictions_NC = np.concatenate(predictions)
    if label_space.kind is TaskKind.REGRESSION:
        means, spreads = np.array(label_space.means), np.array(label_space.spreads)
        targets_NC = np.stack(targets) * spreads + means
        columns = range(targets_NC.shape[1])
        return _means(
            [_regression_metrics(predictions_NC[:, c], targets_NC[:, c]) for c in columns]
        )
    if label_space.kind is TaskKind.MULTI_LABEL:
        targets_NC = np.stack(targets).astype(np.float64)
        return _means(
            [
                _binary_metrics(predictions_NC[:, c], targets_NC[:, c])
                for c in range(targets_NC.shape[1])
            ]
        )
    targets_N = np.concatenate(targets).astype(np.int64)
    is_known_N = targets_N >= 0
    return _class_metrics(predictions_NC[is_known_N], targets_N[is_known_N])


def _means(metrics_by_output: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(
        name for metrics_of_output in metrics_by_output for name in metrics_of_output
    )
    return {
        name: float(
            np.mean(
                [
                    metrics_of_output[name]
                    for metrics_of_output in metrics_by_output
                    if name in metrics_of_output
                ]
            )
        )
        for name in names
    }


def _regression_metrics(predicted_N: Floats, targets_N: Floats) -> dict[str, float]:
    error = predicted_N - targets_N
    metrics = {"rmse": float(np.sqrt(np.mean(error**2)))}
    spread = float(np.var(targets_N))
    if spread > 0:
        metrics["r2"] = 1 - float(np.mean(error**2)) / spread
        if np.var(predicted_N) > 0:
            metrics["pearson"] = float(np.corrcoef(predicted_N, targets_N)[0, 1])
            metrics["spearman"] = float(np.corrcoef(_ranks(predicted_N), _ranks(targets_N))[0, 1])
    return metrics


def _ranks(values_N: Floats) -> Floats:
    """Return ranks; ties share the mean of their ranks."""
    _, group_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[group_N], dtype=np.float64)


def _binary_metrics(probability_N: Floats, labels_N: Floats) -> dict[str, float]:
    probabilities_N2 = np.stack((1 - probability_N, probability_N), axis=1)
    targets_N = labels_N.astype(np.int64)
    return (
        _class_metrics(probabilities_N2, targets_N) if 0 < targets_N.sum() < targets_N.size else {}
    )


def _class_metrics(predictions_NC: Floats, targets_N: npt.NDArray[np.int64]) -> dict[str, float]:
    if not targets_N.size:
        return {}
    num_classes = predictions_NC.shape[1]
    predicted_N = predictions_NC.argmax(axis=1)
    confusion = np.bincount(
        targets_N * num_classes + predicted_N, minlength=num_classes * num_classes
    )
    confusion_CC = confusion.astype(np.float64).reshape(num_classes, num_classes)
    metrics = {
        "mcc": float(correlation(confusion_CC)),
        "accuracy": float(np.trace(confusion_CC) / confusion_CC.sum()),
    }
    if num_classes == 2 and confusion_CC.sum(axis=1).min() > 0:
        metrics["specificity"], metrics["sensitivity"] = (
            float(fraction) for fraction in np.diag(confusion_CC) / confusion_CC.sum(axis=1)
        )
    # A class without true or predicted rows is left out of the mean.
    sums_C = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1)
    metrics["f1"] = float(np.mean((2 * np.diag(confusion_CC))[sums_C > 0] / sums_C[sums_C > 0]))
    areas = []
    for column in [1] if num_classes == 2 else range(num_classes):
        is_N = targets_N == column
        if 0 < is_N.sum() < is_N.size:
            _, rank_N = np.unique(predictions_NC[:, column], return_inverse=True)
            areas.append(area_under_curve(rank_N, is_N, np.ones(is_N.size)))
    if areas:
        metrics["auroc"] = float(np.mean(areas))
    return metrics


def bootstrap_interval(
    label_space: LabelSpace,
    predictions: Sequence[Floats],
    targets: Sequence[TargetArray],
    metric: str,
    *,
    seed: int,
) -> ConfidenceInterval:
    """Return a metric with its bootstrap interval over rows; a single row has no interval."""
    value = task_metrics(label_space, predictions, targets).get(metric, float("nan"))
    if len(targets) < 2:
        return without_interval(value)
    generator = np.random.default_rng([seed, 13])
    samples = []
    select = _row_selector(label_space, predictions, targets)
    for _ in range(_NUM_SAMPLES):
        rows = generator.integers(0, len(targets), len(targets))
        sample = task_metrics(label_space, *select(rows))
        samples.append(sample.get(metric, np.nan))
    return percentile_interval(value, np.array(samples))


def _row_selector(
    label_space: LabelSpace, predictions: Sequence[Floats], targets: Sequence[TargetArray]
) -> Callable[[npt.NDArray[np.int64]], tuple[Sequence[Floats], Sequence[TargetArray]]]:
    """Return a function that selects rows; one class per row is indexed at once, for speed."""
    if label_space.kind is not TaskKind.CLASSIFICATION:
        return lambda rows: ([predictions[row] for row in rows], [targets[row] for row in rows])
    predictions_NC, targets_N = np.concatenate(predictions), np.concatenate(list(targets))
    return lambda rows: ([predictions_NC[rows]], [targets_N[rows]])
