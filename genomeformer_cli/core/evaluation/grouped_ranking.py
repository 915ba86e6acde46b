"""Ranking of variants of two classes: areas under curves, with a bootstrap over groups.

Variants of one gene or chromosome are not independent, so whole groups are drawn.
Shape letters: N rows, G groups, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.class_metrics import (
    area_under_curve,
    average_precision,
    draw_counts,
    ratio,
)
from genomeformer_cli.core.evaluation.token_scores import (
    NUM_SAMPLES,
    ConfidenceInterval,
    percentile_interval,
    without_interval,
)
from genomeformer_cli.core.sequence import Flags

Scores = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Area = Callable[[Numbers, Flags, Scores], Scores]


@dataclass(frozen=True)
class Ranking:
    """Scores of rows of which some are positive; a higher score predicts the positive class."""

    scores_N: Scores  # Finite scores.
    is_positive_N: Flags  # True for rows of the positive class.
    groups_N: Numbers  # Group of each row, from 0 on.

    def auroc(self, weights_N: Scores | None = None) -> float:
        """Return the area under the ROC curve; NaN without rows of both classes."""
        weights_N = np.ones(self.scores_N.size) if weights_N is None else weights_N
        return float(area_under_curve(self.ranks(), self.is_positive_N, weights_N))

    def auprc(self, weights_N: Scores | None = None) -> float:
        """Return the average precision; equal scores are one threshold."""
        weights_N = np.ones(self.scores_N.size) if weights_N is None else weights_N
        return float(average_precision(self.ranks(), self.is_positive_N, weights_N))

    def auroc_interval(self, seed: int) -> ConfidenceInterval:
        """Return the area under the ROC curve with its interval."""
        return self._interval(area_under_curve, seed)

    def auprc_interval(self, seed: int) -> ConfidenceInterval:
        """Return the average precision with its interval."""
        return self._interval(average_precision, seed)

    def _interval(self, area: Area, seed: int) -> ConfidenceInterval:
        ranks_N = self.ranks()
        value = float(area(ranks_N, self.is_positive_N, np.ones(self.scores_N.size)))
        if np.unique(self.groups_N).size < 2:
            return without_interval(value)
        samples = [
            area(ranks_N, self.is_positive_N, weights_SN)
            for weights_SN in group_weights(self.groups_N, seed)
        ]
        return percentile_interval(value, np.concatenate(samples))

    def ranks(self) -> Numbers:
        """Return the rank of each row; equal scores have one rank."""
        return np.unique(self.scores_N, return_inverse=True)[1].astype(np.int64)


def auroc_gain(first: Ranking, second: Ranking, seed: int) -> ConfidenceInterval:
    """Return by how much the first AUROC is above the second on the same rows."""
    ranks = [ranking.ranks() for ranking in (first, second)]

    def gain(weights_N: Scores) -> Scores:
        areas = [area_under_curve(ranks_N, first.is_positive_N, weights_N) for ranks_N in ranks]
        return areas[0] - areas[1]

    value = float(gain(np.ones(first.scores_N.size)))
    if np.unique(first.groups_N).size < 2:
        return without_interval(value)
    samples = [gain(weights_SN) for weights_SN in group_weights(first.groups_N, seed)]
    return percentile_interval(value, np.concatenate(samples))


def group_weights(groups_N: Numbers, seed: int) -> Iterator[Scores]:
    """Yield how often each row is drawn per bootstrap sample of groups, (S, N), in batches."""
    generator = np.random.default_rng([seed, 31])
    _, number_N = np.unique(groups_N, return_inverse=True)
    num_groups = int(number_N.max()) + 1
    draws = draw_counts(
        num_groups, generator, num_samples=NUM_SAMPLES, num_rows=max(num_groups, number_N.size)
    )
    for counts_SG in draws:
        yield counts_SG[:, number_N]


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

    def correlation(weights_SN: Scores) -> Scores:
        means_2S = ranks_2N @ weights_SN.T / weights_SN.sum(axis=1)
        centred_2SN = ranks_2N[:, None] - means_2S[:, :, None]
        first_S, second_S = (weights_SN * centred_2SN**2).sum(axis=2)
        products_S = (weights_SN * centred_2SN[0] * centred_2SN[1]).sum(axis=1)
        return ratio(products_S, np.sqrt(first_S * second_S), np.nan)

    value = float(correlation(np.ones((1, first_N.size)))[0])
    if np.unique(groups_N).size < 2:
        return without_interval(value)
    samples = [correlation(weights_SN) for weights_SN in group_weights(groups_N, seed)]
    return percentile_interval(value, np.concatenate(samples))
