"""Ranking of variants of two classes: areas under curves, with a bootstrap over groups.

Variants of one gene or chromosome are not independent, so whole groups are drawn.
Shape letters: N rows, G groups, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.class_metrics import area_under_curve
from genomeformer_cli.core.evaluation.token_scores import (
    NUM_SAMPLES,
    ConfidenceInterval,
    percentile_interval,
    without_interval,
)
from genomeformer_cli.core.sequence import Flags

Scores = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Area = Callable[[Numbers, Flags, Scores], float]


@dataclass(frozen=True)
class Ranking:
    """Scores of rows of which some are positive; a higher score predicts the positive class."""

    scores_N: Scores  # Finite scores.
    is_positive_N: Flags  # True for rows of the positive class.
    groups_N: Numbers  # Group of each row, from 0 on.

    def auroc(self, weights_N: Scores | None = None) -> float:
        """Return the area under the ROC curve; NaN without rows of both classes."""
        weights_N = np.ones(self.scores_N.size) if weights_N is None else weights_N
        return area_under_curve(self.ranks(), self.is_positive_N, weights_N)

    def auprc(self, weights_N: Scores | None = None) -> float:
        """Return the average precision; equal scores are one threshold."""
        weights_N = np.ones(self.scores_N.size) if weights_N is None else weights_N
        return average_precision(self.ranks(), self.is_positive_N, weights_N)

    def auroc_interval(self, seed: int) -> ConfidenceInterval:
        """Return the area under the ROC curve with its interval."""
        return self._interval(area_under_curve, seed)

    def auprc_interval(self, seed: int) -> ConfidenceInterval:
        """Return the average precision with its interval."""
        return self._interval(average_precision, seed)

    def _interval(self, area: Area, seed: int) -> ConfidenceInterval:
        ranks_N = self.ranks()
        value = area(ranks_N, self.is_positive_N, np.ones(self.scores_N.size))
        if np.unique(self.groups_N).size < 2:
            return without_interval(value)
        samples_S = [
            area(ranks_N, self.is_positive_N, weights_N)
            for weights_N in group_weights(self.groups_N, seed)
        ]
        return percentile_interval(value, np.array(samples_S))

    def ranks(self) -> Numbers:
        """Return the rank of each row; equal scores have one rank."""
        return np.unique(self.scores_N, return_inverse=True)[1].astype(np.int64)


def auroc_gain(first: Ranking, second: Ranking, seed: int) -> ConfidenceInterval:
    """Return by how much the first AUROC is above the second on the same rows."""
    ranks = [ranking.ranks() for ranking in (first, second)]

    def gain(weights_N: Scores) -> float:
        areas = [area_under_curve(ranks_N, first.is_positive_N, weights_N) for ranks_N in ranks]
        return areas[0] - areas[1]

    value = gain(np.ones(first.scores_N.size))
    if np.unique(first.groups_N).size < 2:
        return without_interval(value)
    samples_S = [gain(weights_N) for weights_N in group_weights(first.groups_N, seed)]
    return percentile_interval(value, np.array(samples_S))


def group_weights(groups_N: Numbers, seed: int) -> Iterator[Scores]:
    """Yield, per bootstrap sample of groups, how many times each row is drawn."""
    generator = np.random.default_rng([seed, 31])
    _, number_N = np.unique(groups_N, return_inverse=True)
    num_groups = int(number_N.max()) + 1
    for _ in range(NUM_SAMPLES):
        sampled_G = generator.integers(0, num_groups, num_groups)
        yield np.bincount(sampled_G, minlength=num_groups).astype(np.float64)[number_N]


def average_precision(ranks_N: Numbers, is_positive_N: Flags, weights_N: Scores) -> float:
    """Return the mean precision at each positive row, by falling score; NaN without one."""
    num_ranks = int(ranks_N.max()) + 1
    inside = np.bincount(ranks_N, weights=weights_N * is_positive_N, minlength=num_ranks)[::-1]
    totals = np.bincount(ranks_N, weights=weights_N, minlength=num_ranks)[::-1]
    total = inside.sum()
    if not total:
        return float("nan")
    reached = np.cumsum(totals)
    precision = np.divide(np.cumsum(inside), reached, out=np.zeros_like(reached), where=reached > 0)
    return float(inside @ precision / total)


def precision_by_group(ranking: Ranking) -> float | None:
    """Return the average precision of each group, weighted by rows; None without two classes."""
    precisions, sizes = [], []
    for group in np.unique(ranking.groups_N):
        rows_N = ranking.groups_N == group
        is_positive_N = ranking.is_positive_N[rows_N]
        if 0 < is_positive_N.sum() < is_positive_N.size:
            inner = Ranking(ranking.scores_N[rows_N], is_positive_N, ranking.groups_N[rows_N])
            precisions.append(inner.auprc())
            sizes.append(is_positive_N.size)
    return float(np.average(precisions, weights=sizes)) if precisions else None


def rank_correlation(
    first_N: Scores, second_N: Scores, groups_N: Numbers, seed: int
) -> ConfidenceInterval:
    """Return Spearman's correlation with an interval over groups; ranks are of all rows."""
    from scipy.stats import rankdata

    ranks_2N = np.stack([rankdata(first_N), rankdata(second_N)])

    def correlation(weights_N: Scores) -> float:
        centred_2N = ranks_2N - np.average(ranks_2N, axis=1, weights=weights_N)[:, None]
        products = (centred_2N * weights_N) @ centred_2N.T
        spread = np.sqrt(products[0, 0] * products[1, 1])
        return float(products[0, 1] / spread) if spread else float("nan")

    value = correlation(np.ones(first_N.size))
    if np.unique(groups_N).size < 2:
        return without_interval(value)
    samples_S = [correlation(weights_N) for weights_N in group_weights(groups_N, seed)]
    return percentile_interval(value, np.array(samples_S))
