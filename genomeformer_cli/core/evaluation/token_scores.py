"""What a model or a table said to each question: from here all scores, intervals and curves.

Questions are kept apart, not summed, so that the same ones can be looked at genome by genome, by
place in the window or by region, and resampled window by window.
Shape letters: N questions, G groups, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.training.metrics import Score

NUM_SAMPLES = 1_000
_COVERED = 0.95

Chosen = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """One answer a question.

    Attributes:
        bits_N: -log2 of the probability given to the true base, or to the true token.
        correct_N: Whether the most probable one was the true one.
        bases_N: Bases of each token that was asked for as a whole; None: single bases were.
    """

    bits_N: npt.NDArray[np.float64]
    correct_N: npt.NDArray[np.bool_]
    bases_N: npt.NDArray[np.int64] | None = None

    def score(self, chosen_N: Chosen | None = None) -> Score:
        """Mean over all questions, or the chosen ones, of which there must be one."""
        chosen = slice(None) if chosen_N is None else chosen_N
        bits_N, right_N = self.bits_N[chosen], self.correct_N[chosen]
        if self.bases_N is None:
            return Score(
                bits_per_base=float(bits_N.mean()),
                accuracy=float(right_N.mean()),
                num_bases=int(bits_N.size),
            )
        num_bases = int(self.bases_N[chosen].sum())
        return Score(
            bits_per_base=float(bits_N.sum()) / num_bases,
            accuracy=float(right_N.mean()),
            num_bases=num_bases,
            num_tokens=int(bits_N.size),
        )


def concatenate_scores(parts: Sequence[TokenScores]) -> TokenScores:
    """Answers one after the other: all about single bases, or all about whole tokens."""
    sizes = [part.bases_N for part in parts if part.bases_N is not None]
    assert len(sizes) in (0, len(parts))
    return TokenScores(
        bits_N=np.concatenate([part.bits_N for part in parts]),
        correct_N=np.concatenate([part.correct_N for part in parts]),
        bases_N=np.concatenate(sizes) if sizes else None,
    )


def scores_from_probabilities(
    probability_N4: npt.NDArray[np.float64], truth_N: npt.NDArray[np.int64]
) -> TokenScores:
    """Answers of someone who gives probabilities of the four bases."""
    true_N = np.take_along_axis(probability_N4, truth_N[:, None], axis=1)[:, 0]
    return TokenScores(bits_N=-np.log2(true_N), correct_N=probability_N4.argmax(axis=1) == truth_N)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and the range of 95 % of its bootstrap samples.

    Attributes:
        value: Mean.
        low: 2.5 % of the samples are below; NaN where a single unit cannot be resampled.
        high: 2.5 % of the samples are above; NaN likewise.
    """

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """True where there were at least two units to resample."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def bootstrap_mean(
    values_N: npt.NDArray[np.float64], groups_N: Groups, generator: np.random.Generator
) -> Interval:
    """Return the mean of values in groups, such as windows, and an interval over the groups.

    Bases of one window are no independent witnesses; windows nearly are. Efron and Tibshirani 1993,
    "An Introduction to the Bootstrap", chapter 13 (percentiles). A single group has no interval.
    """
    _, which_N = np.unique(groups_N, return_inverse=True)
    sums_G = np.bincount(which_N, weights=values_N)
    sizes_G = np.bincount(which_N).astype(np.float64)
    if sums_G.size < 2:
        return without_interval(float(values_N.mean()))
    samples_S = np.empty(NUM_SAMPLES)
    for sample in range(NUM_SAMPLES):
        drawn = generator.integers(0, sums_G.size, sums_G.size)
        samples_S[sample] = sums_G[drawn].sum() / sizes_G[drawn].sum()
    return percentile_interval(float(values_N.mean()), samples_S)


def resampled(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    num_rows: int,
    generator: np.random.Generator,
    num_samples: int = NUM_SAMPLES,
) -> Interval:
    """Return a statistic of rows, and its interval when rows are drawn with replacement.

    Args:
        statistic: Of the rows with these numbers; NaN where it cannot be had of them.
        num_rows: How many there are.
        generator: Draws them.
        num_samples: How often.
    """
    value = statistic(np.arange(num_rows))
    if num_rows < 2:
        return without_interval(value)
    samples = [statistic(generator.integers(0, num_rows, num_rows)) for _ in range(num_samples)]
    return percentile_interval(value, np.asarray(samples))


def without_interval(value: float) -> Interval:
    """Return a value of a single unit, of which a bootstrap would draw nothing but itself."""
    return Interval(value=value, low=float("nan"), high=float("nan"))


def percentile_interval(value: float, samples_S: npt.NDArray[np.float64]) -> Interval:
    """Return the interval of a value from its bootstrap samples."""
    known_S = samples_S[np.isfinite(samples_S)]
    if not known_S.size:
        return without_interval(value)
    tail = 50 * (1 - _COVERED)
    low, high = np.percentile(known_S, [tail, 100 - tail])
    return Interval(value=value, low=float(low), high=float(high))
