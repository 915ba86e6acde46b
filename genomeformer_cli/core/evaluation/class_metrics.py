"""Metrics of classes from weighted rows, and their summaries over groups of rows.

Weights and confusion matrices may have leading axes, such as one of bootstrap samples; metrics have
the same leading axes.
Shape letters: N rows, C classes, R ranks, S samples, U units that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import Flags

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
# Maximum number of weights that are in memory at once.
_WEIGHTS_PER_BATCH = 100_000


def draw_counts(
    num_units: int, generator: np.random.Generator, *, num_samples: int, num_rows: int
) -> Iterator[Floats]:
    """Yield how often each unit is drawn per bootstrap sample, (S, U), for batches of samples.

    Args:
        num_units: Number of units to draw from, and of draws per sample.
        generator: Source of the draws.
        num_samples: Number of samples of all batches together.
        num_rows: Number of weights per sample that the caller computes with.
    """
    batch_size = max(1, _WEIGHTS_PER_BATCH // num_rows)
    for first in range(0, num_samples, batch_size):
        size = min(batch_size, num_samples - first)
        sampled_SU = generator.integers(0, num_units, (size, num_units))
        sampled_SU += num_units * np.arange(size)[:, None]
        counts = np.bincount(sampled_SU.ravel(), minlength=size * num_units)
        yield counts.reshape(size, num_units).astype(np.float64)


def ratio(numerator: Floats, denominator: Floats, default: float) -> Floats:
    """Divide; the result is `default` where the denominator is not positive."""
    results = np.full(np.shape(numerator), default)
    return np.divide(numerator, denominator, out=results, where=np.asarray(denominator) > 0)


def _weights_by_rank(rank_N: Numbers, is_N: Flags, weights_N: Floats) -> tuple[Floats, Floats]:
    """Sum the weights of each rank, (..., R), of the rows of the class and of the others."""
    order_N = np.argsort(rank_N, kind="stable")
    ordered_N = np.take(weights_N, order_N, axis=-1)
    inside_N = ordered_N * is_N[order_N]
    outside_N = ordered_N - inside_N
    num_ranks = int(rank_N.max()) + 1
    if num_ranks == rank_N.size:
        return inside_N, outside_N
    starts_R = np.searchsorted(rank_N[order_N], np.arange(num_ranks))
    inside_R = np.add.reduceat(inside_N, starts_R, axis=-1)
    return inside_R, np.add.reduceat(outside_N, starts_R, axis=-1)


def correlation(confusion_CC: Floats) -> Floats:
    """Return the K-category correlation of a confusion matrix; 0 if it is undefined.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    total = confusion_CC.sum(axis=(-2, -1))
    true_C, predicted_C = confusion_CC.sum(axis=-1), confusion_CC.sum(axis=-2)
    correct = np.trace(confusion_CC, axis1=-2, axis2=-1)
    covariance = correct * total - (true_C * predicted_C).sum(axis=-1)
    spread = (total**2 - (true_C**2).sum(axis=-1)) * (total**2 - (predicted_C**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0.0)), 0.0)


def area_under_curve(rank_N: Numbers, is_N: Flags, weights_N: Floats) -> Floats:
    """Return the probability that a row of the class outranks a row of another; ties count half.

    Args:
        rank_N: Rank of each row, from 0 on, without gaps.
        is_N: True for rows of the class.
        weights_N: Weight of each row, (..., N).
    """
    inside_R, outside_R = _weights_by_rank(rank_N, is_N, weights_N)
    below_R = np.cumsum(outside_R, axis=-1) - outside_R / 2
    pairs = inside_R.sum(axis=-1) * outside_R.sum(axis=-1)
    return ratio(np.einsum("...r,...r->...", inside_R, below_R), pairs, np.nan)


def average_precision(rank_N: Numbers, is_N: Flags, weights_N: Floats) -> Floats:
    """Return the mean precision at each row of the class, by falling score; NaN without one.

    Args:
        rank_N: Rank of each row, from 0 on, without gaps.
        is_N: True for rows of the class.
        weights_N: Weight of each row, (..., N).
    """
    inside_R, outside_R = _weights_by_rank(rank_N, is_N, weights_N)
    inside_R, outside_R = inside_R[..., ::-1], outside_R[..., ::-1]
    found_R = np.cumsum(inside_R, axis=-1)
    precision_R = ratio(found_R, found_R + np.cumsum(outside_R, axis=-1), 0.0)
    total = inside_R.sum(axis=-1)
    return ratio(np.einsum("...r,...r->...", inside_R, precision_R), total, np.nan)


def macro_f1(confusion_CC: Floats) -> Floats:
    """Return the mean F1 over classes that are true or predicted for at least one row."""
    size_C = confusion_CC.sum(axis=-1) + confusion_CC.sum(axis=-2)
    f1_C = ratio(2 * np.diagonal(confusion_CC, axis1=-2, axis2=-1), size_C, 0.0)
    return ratio(f1_C.sum(axis=-1), (size_C > 0).sum(axis=-1), np.nan)


@dataclass(frozen=True, kw_only=True)
class GroupMetrics:
    """Metrics of two classes, computed per group of tested rows."""

    num_groups: int  # Groups of tested rows.
    num_both: int  # Groups with rows of both classes, which the areas need.
    mean_mcc: float  # Mean Matthews correlation over groups.
    median_auroc: float | None  # Median area under the ROC curve; None without such a group.
    median_auprc: float | None  # Median area under the precision-recall curve.


@dataclass(frozen=True, kw_only=True)
class GroupValues:
    """Metrics of one group."""

    mcc: float  # Matthews correlation.
    auroc: float  # Area under the ROC curve; NaN for rows of one class.
    auprc: float  # Area under the precision-recall curve; NaN for rows of one class.


def summarize_groups(groups: Sequence[GroupValues]) -> GroupMetrics:
    """Return the summary over groups."""
    ranked = [group for group in groups if np.isfinite(group.auroc)]
    return GroupMetrics(
        num_groups=len(groups),
        num_both=len(ranked),
        mean_mcc=fmean(group.mcc for group in groups),
        median_auroc=median(group.auroc for group in ranked) if ranked else None,
        median_auprc=median(group.auprc for group in ranked) if ranked else None,
    )
