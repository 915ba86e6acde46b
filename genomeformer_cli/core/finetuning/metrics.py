"""How good answers are; every measure is better the larger it is, but for `loss` and `rmse`.

| kind                         | measures                                                         |
|------------------------------|------------------------------------------------------------------|
| `classification`, `per-base` | `mcc` (Gorodkin 2004), `accuracy`, `f1` of all classes, `auroc`  |
| `multi-label`                | the same, means over the labels that some rows hold and some not |
| `regression`                 | `r2`, `pearson`, `spearman`, `rmse`, means over the quantities   |

Of two classes, and of a label, `sensitivity` is the part of the second that is found and
`specificity` that of the first.

Shape letters: N rows or bases, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.probes import area_under_curve, correlation
from genomeformer_cli.core.evaluation.token_scores import (
    Interval,
    percentile_interval,
    without_interval,
)
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind, Truth

LOSS = "loss"
CLASS_MEASURES = ("mcc", "accuracy", "f1", "auroc")
NUMBER_MEASURES = ("r2", "pearson", "spearman", "rmse")
_SMALLER_IS_BETTER = (LOSS, "rmse")
_NUM_DRAWS = 200
_DEFAULT = {
    TaskKind.CLASSIFICATION: "mcc",
    TaskKind.PER_BASE: "mcc",
    TaskKind.MULTI_LABEL: "auroc",
    TaskKind.REGRESSION: "r2",
}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """How well labels were answered.

    Attributes:
        loss: Mean.
        measures: By name; one that the rows leave undefined is missing.
        num_rows: Rows.
    """

    loss: float
    measures: dict[str, float] = field(default_factory=dict)
    num_rows: int

    def by(self, metric: str) -> tuple[float, float]:
        """By a measure, and by the loss where that is alike: larger is better."""
        value = self.loss if metric == LOSS else self.measures.get(metric, float("nan"))
        value = -value if metric in _SMALLER_IS_BETTER else value
        return (value if value == value else -np.inf, -self.loss)


def choose_metric(targets: LabelSpace, wanted: str) -> str:
    """The measure that validation chooses by.

    Raises:
        ConfigError: The task has no such measure.
    """
    known = NUMBER_MEASURES if targets.kind is TaskKind.REGRESSION else CLASS_MEASURES
    chosen = wanted or _DEFAULT[targets.kind]
    if chosen not in (*known, LOSS):
        raise ConfigError(
            f"`{chosen}` is no measure of {targets.kind.value}",
            hint="choose one of " + ", ".join(f"`{one}`" for one in (*known, LOSS)),
        )
    return chosen


def measure(
    targets: LabelSpace, answers: Sequence[Floats], truth: Sequence[Truth]
) -> dict[str, float]:
    """Every measure that is defined.

    Args:
        targets: What was asked.
        answers: One (1, C) or (bases, C) array a row.
        truth: Its label as numbers.
    """
    answers_NC = np.concatenate(answers)
    if targets.kind is TaskKind.REGRESSION:
        means, spreads = np.array(targets.means), np.array(targets.spreads)
        truth_NC = np.stack(truth) * spreads + means
        columns = range(truth_NC.shape[1])
        return _means([_of_numbers(answers_NC[:, c], truth_NC[:, c]) for c in columns])
    if targets.kind is TaskKind.MULTI_LABEL:
        truth_NC = np.stack(truth).astype(np.float64)
        return _means(
            [_of_label(answers_NC[:, c], truth_NC[:, c]) for c in range(truth_NC.shape[1])]
        )
    truth_N = np.concatenate(truth).astype(np.int64)
    known_N = truth_N >= 0
    return _of_classes(answers_NC[known_N], truth_N[known_N])


def _means(found: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in found for name in one)
    return {name: float(np.mean([one[name] for one in found if name in one])) for name in names}


def _of_numbers(said_N: Floats, true_N: Floats) -> dict[str, float]:
    error = said_N - true_N
    found = {"rmse": float(np.sqrt(np.mean(error**2)))}
    spread = float(np.var(true_N))
    if spread > 0:
        found["r2"] = 1 - float(np.mean(error**2)) / spread
        if np.var(said_N) > 0:
            found["pearson"] = float(np.corrcoef(said_N, true_N)[0, 1])
            found["spearman"] = float(np.corrcoef(_ranks(said_N), _ranks(true_N))[0, 1])
    return found


def _ranks(values_N: Floats) -> Floats:
    """Ties share the mean of their ranks."""
    _, place_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place_N], dtype=np.float64)


def _of_label(chance_N: Floats, holds_N: Floats) -> dict[str, float]:
    both_N2 = np.stack((1 - chance_N, chance_N), axis=1)
    truth_N = holds_N.astype(np.int64)
    return _of_classes(both_N2, truth_N) if 0 < truth_N.sum() < truth_N.size else {}


def _of_classes(answers_NC: Floats, truth_N: npt.NDArray[np.int64]) -> dict[str, float]:
    if not truth_N.size:
        return {}
    number = answers_NC.shape[1]
    said_N = answers_NC.argmax(axis=1)
    confusion = np.bincount(truth_N * number + said_N, minlength=number * number)
    confusion_CC = confusion.astype(np.float64).reshape(number, number)
    found = {
        "mcc": correlation(confusion_CC),
        "accuracy": float(np.trace(confusion_CC) / confusion_CC.sum()),
    }
    if number == 2 and confusion_CC.sum(axis=1).min() > 0:
        found["specificity"], found["sensitivity"] = (
            float(part) for part in np.diag(confusion_CC) / confusion_CC.sum(axis=1)
        )
    # A class that neither is nor is said has no part in the mean.
    sums_C = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1)
    found["f1"] = float(np.mean((2 * np.diag(confusion_CC))[sums_C > 0] / sums_C[sums_C > 0]))
    areas = []
    for column in [1] if number == 2 else range(number):
        is_N = truth_N == column
        if 0 < is_N.sum() < is_N.size:
            _, rank_N = np.unique(answers_NC[:, column], return_inverse=True)
            areas.append(area_under_curve(rank_N, is_N, np.ones(is_N.size)))
    if areas:
        found["auroc"] = float(np.mean(areas))
    return found


def interval(
    targets: LabelSpace,
    answers: Sequence[Floats],
    truth: Sequence[Truth],
    metric: str,
    *,
    seed: int,
) -> Interval:
    """Return a measure with its bootstrap interval over rows; a single row has no interval."""
    value = measure(targets, answers, truth).get(metric, float("nan"))
    if len(truth) < 2:
        return without_interval(value)
    generator = np.random.default_rng([seed, 13])
    samples = []
    taken = _taker(targets, answers, truth)
    for _ in range(_NUM_DRAWS):
        drawn = generator.integers(0, len(truth), len(truth))
        found = measure(targets, *taken(drawn))
        samples.append(found.get(metric, np.nan))
    return percentile_interval(value, np.array(samples))


def _taker(
    targets: LabelSpace, answers: Sequence[Floats], truth: Sequence[Truth]
) -> Callable[[npt.NDArray[np.int64]], tuple[Sequence[Floats], Sequence[Truth]]]:
    """Takes rows; where each has one class, all at once, which is many times faster."""
    if targets.kind is not TaskKind.CLASSIFICATION:
        return lambda rows: ([answers[row] for row in rows], [truth[row] for row in rows])
    answers_NC, truth_N = np.concatenate(answers), np.concatenate(list(truth))
    return lambda rows: ([answers_NC[rows]], [truth_N[rows]])
