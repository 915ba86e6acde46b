"""Metrics of classes from weighted rows, and their summaries over groups of rows.

Shape letters: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def correlation(confusion_CC: npt.NDArray[np.float64]) -> float:
    """Return the K-category correlation of a confusion matrix.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    total = confusion_CC.sum()
    true_C, predicted_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    covariance = np.trace(confusion_CC) * total - true_C @ predicted_C
    spread = (total**2 - true_C @ true_C) * (total**2 - predicted_C @ predicted_C)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def area_under_curve(
    rank_N: npt.NDArray[np.int64], is_N: npt.NDArray[np.bool_], weights_N: npt.NDArray[np.float64]
) -> float:
    """Return the probability that a row of the class outranks a row of another; ties count half."""
    num_ranks = int(rank_N.max()) + 1
    inside = np.bincount(rank_N, weights=weights_N * is_N, minlength=num_ranks)
    outside = np.bincount(rank_N, weights=weights_N * ~is_N, minlength=num_ranks)
    pairs = inside.sum() * outside.sum()
    below = np.cumsum(outside) - outside / 2
    return float(inside @ below / pairs) if pairs else float("nan")


def macro_f1(confusion_CC: Floats) -> float:
    """Return the mean F1 over classes that are true or predicted for at least one row."""
    true_C, predicted_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    size_C = true_C + predicted_C
    f1_C = 2 * np.diag(confusion_CC)[size_C > 0] / size_C[size_C > 0]
    return float(f1_C.mean()) if f1_C.size else float("nan")


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
