"""Scores of single queries, from which means, intervals and curves are computed.

Queries are kept apart, not summed, so that the same ones can be grouped by genome, by position in
the window or by region, and resampled window by window.
Shape letters: N queries, G groups, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.training.metrics import Score

NUM_SAMPLES = 1_000
_COVERAGE = 0.95

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """One score per query."""

    bits_N: npt.NDArray[np.float64]  # -log2 of the probability of the true base or token.
    correct_N: npt.NDArray[np.bool_]  # True if the most probable candidate is the true one.
    # Number of bases of each queried token; None: queries are for single bases.
    bases_N: npt.NDArray[np.int64] | None = None

    def select(self, selected_N: npt.NDArray[np.bool_]) -> TokenScores:
        """Return the scores of some queries."""
        bases_N = None if self.bases_N is None else self.bases_N[selected_N]
        return TokenScores(
            bits_N=self.bits_N[selected_N], correct_N=self.correct_N[selected_N], bases_N=bases_N
        )

    def score(self) -> Score:
        """Return the mean over all queries, at least one."""
        num_queries = int(self.bits_N.size)
        num_bases = num_queries if self.bases_N is None else int(self.bases_N.sum())
        return Score(
            bits_per_base=float(self.bits_N.sum()) / num_bases,
            accuracy=float(self.correct_N.mean()),
            num_bases=num_bases,
            num_tokens=None if self.bases_N is None else num_queries,
        )


def concatenate_scores(chunks: Sequence[TokenScores]) -> TokenScores:
    """Concatenate scores: all of single bases, or all of whole tokens."""
    sizes = [chunk.bases_N for chunk in chunks if chunk.bases_N is not None]
    assert len(sizes) in (0, len(chunks))
    return TokenScores(
        bits_N=np.concatenate([chunk.bits_N for chunk in chunks]),
        correct_N=np.concatenate([chunk.correct_N for chunk in chunks]),
        bases_N=np.concatenate(sizes) if sizes else None,
    )


def scores_from_probabilities(
    probability_N4: npt.NDArray[np.float64], targets_N: npt.NDArray[np.int64]
) -> TokenScores:
    """Compute scores from the probabilities of the four bases."""
    true_probability_N = np.take_along_axis(probability_N4, targets_N[:, None], axis=1)[:, 0]
    return TokenScores(
        bits_N=-np.log2(true_probability_N), correct_N=probability_N4.argmax(axis=1) == targets_N
    )


@dataclass(frozen=True, kw_only=True)
class ConfidenceInterval:
    """Mean and the central 95 % range of its bootstrap samples."""

    value: float  # Mean.
    low: float  # 2.5 % quantile of the samples; NaN for a single unit.
    high: float  # 97.5 % quantile of the samples; NaN for a single unit.

    @property
    def is_known(self) -> bool:
        """True if there were at least two units to resample."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def bootstrap_mean(
    values_N: npt.NDArray[np.float64], groups_N: Groups, generator: np.random.Generator
) -> ConfidenceInterval:
    """Return the mean of grouped values, and a bootstrap interval over the groups.

    Bases of one window are not independent; windows nearly are. Efron and Tibshirani 1993, "An
    Introduction to the Bootstrap", chapter 13 (percentiles). A single group has no interval.
    """
    _, group_numbers_N = np.unique(groups_N, return_inverse=True)
    sums_G = np.bincount(group_numbers_N, weights=values_N)
    sizes_G = np.bincount(group_numbers_N).astype(np.float64)
    if sums_G.size < 2:
        return without_interval(float(values_N.mean()))
    samples_S = np.empty(NUM_SAMPLES)
    for sample in range(NUM_SAMPLES):
        sampled = generator.integers(0, sums_G.size, sums_G.size)
        samples_S[sample] = sums_G[sampled].sum() / sizes_G[sampled].sum()
    return percentile_interval(float(values_N.mean()), samples_S)


def without_interval(value: float) -> ConfidenceInterval:
    """Return the value of a single unit, which a bootstrap cannot resample."""
    return ConfidenceInterval(value=value, low=float("nan"), high=float("nan"))


def percentile_interval(value: float, samples_S: npt.NDArray[np.float64]) -> ConfidenceInterval:
    """Return the interval of a value from its bootstrap samples."""
    finite_S = samples_S[np.isfinite(samples_S)]
    if not finite_S.size:
        return without_interval(value)
    tail = 50 * (1 - _COVERAGE)
    low, high = np.percentile(finite_S, [tail, 100 - tail])
    return ConfidenceInterval(value=value, low=float(low), high=float(high))
