"""Pairs of a dependency map: the strongest ones, and the stems and repeats among them.

The strength of a pair is the mean of both directions. Pairs are ranked by the corrected strength:
the strength minus the product of the mean strengths of both bases over the mean of the map
(average product correction, Dunn et al. 2008), which removes bases that move with all others.

The stem score of a pair is the pairing, standardised by rows and then by columns, averaged over
both directions and over the five pairs (i - 2, j + 2), ... (i + 2, j - 2): stems are runs of pairs.
A fifth as many pairs, those of the highest stem score, are added to the strongest pairs.

| kind            | run of pairs                                                       |
|-----------------|--------------------------------------------------------------------|
| stem            | (i, j), (i + 1, j - 1), ... that pair as A-T, C-G or G-T, 3 or more |
| inverted repeat | a stem of A-T and C-G alone, 6 or more pairs                       |
| direct repeat   | (i, j), (i + 1, j + 1), ... of equal bases, 6 or more              |

A run is marked if two or more of its pairs are among the strongest.
Shape letters: L length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.explanation.dependencies import DependencyMap, Strengths
from genomeformer_cli.core.sequence import Codes

MIN_DISTANCE = 4
_MIN_STEM, _MIN_REPEAT, _MIN_PEAKS = 3, 6, 2
_STEM_REACH = 2
_A, _C, _G, _T = range(4)
_WATSON_CRICK = {(_A, _T), (_T, _A), (_C, _G), (_G, _C)}
_WOBBLE = {(_G, _T), (_T, _G)}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run of pairs."""

    kind: str  # `stem`, `inverted repeat` or `direct repeat`.
    first: int  # First base of the outermost pair.
    second: int  # Second base of this pair.
    num_pairs: int

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs of the run."""
        step = 1 if self.kind == "direct repeat" else -1
        for offset in range(self.num_pairs):
            yield self.first + offset, self.second + step * offset


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Pair of bases of a dependency map."""

    first: int  # 0-based position.
    second: int  # 0-based position, after the first.
    strength: float  # Mean of both directions.
    corrected: float  # After the average product correction.
    stem_score: float  # Mean standardised pairing of the pair and its neighbours in a stem.
    run: int | None = None  # Index of the run that holds the pair.


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Strongest pairs of a map, the strongest first, and their runs."""

    pairs: tuple[Pair, ...]
    runs: tuple[Run, ...]


def symmetric(strengths_LL: Strengths) -> Floats:
    """Return the mean of both directions (L, L), 0 where a value is missing."""
    known_LL = np.nan_to_num(strengths_LL.astype(np.float64))
    return (known_LL + known_LL.T) / 2


def corrected(strengths_LL: Strengths) -> Floats:
    """Return the symmetric strengths (L, L) after the average product correction."""
    mean_LL = symmetric(strengths_LL)
    np.fill_diagonal(mean_LL, 0)
    total = mean_LL.sum()
    if not total:
        return mean_LL
    sum_L = mean_LL.sum(axis=0)
    corrected_LL: Floats = mean_LL - np.outer(sum_L, sum_L) / total
    return corrected_LL


def stem_scores(pairing_LL: Strengths) -> Floats:
    """Return the stem scores (L, L); 0 where every value is missing."""
    values_LL = np.nan_to_num(pairing_LL.astype(np.float64))
    if not values_LL.size:
        return values_LL
    np.fill_diagonal(values_LL, 0)
    for axis in (1, 0):
        centred_LL = values_LL - values_LL.mean(axis=axis, keepdims=True)
        values_LL = centred_LL / values_LL.std(axis=axis, keepdims=True).clip(1e-9)
    values_LL = (values_LL + values_LL.T) / 2
    length = len(values_LL)
    padded = np.pad(values_LL, _STEM_REACH)
    shifts = range(2 * _STEM_REACH + 1)
    mean_LL: Floats = np.mean(
        [padded[shift : shift + length, 2 * _STEM_REACH - shift :][:, :length] for shift in shifts],
        axis=0,
    )
    return mean_LL


def strongest_pairs(dependencies: DependencyMap, codes: Codes, limit: int | None = None) -> Pairs:
    """Return the strongest pairs of a map, those of the largest corrected strength first.

    Args:
        dependencies: Dependency map.
        codes: Base codes.
        limit: Number of pairs; None: as many as bases. Pairs closer than `MIN_DISTANCE` and pairs
            of a corrected strength of 0 or less are left out. A fifth as many pairs of the highest
            positive stem score are added.
    """
    limit = codes.size if limit is None else limit
    mean_LL, corrected_LL = (
        symmetric(dependencies.strengths_LL),
        corrected(dependencies.strengths_LL),
    )
    stem_LL = stem_scores(dependencies.pairing_LL)
    first_N, second_N = np.triu_indices(codes.size, k=MIN_DISTANCE)
    is_strong_N = np.zeros(first_N.size, dtype=bool)
    for score_LL, number in ((corrected_LL, limit), (stem_LL, limit // 5)):
        score_N = score_LL[first_N, second_N]
        best = np.argsort(-score_N, kind="stable")[:number]
        is_strong_N[best[score_N[best] > 0]] = True
    score_N = np.where(is_strong_N, corrected_LL[first_N, second_N], -np.inf)
    order = np.argsort(-score_N, kind="stable")[: is_strong_N.sum()]
    places = [(int(first_N[rank]), int(second_N[rank])) for rank in order.tolist()]
    runs = tuple(_runs(codes, set(places)))
    # A pair of several runs belongs to the longest one.
    run_of = {
        pair: number
        for number, run in sorted(enumerate(runs), key=lambda item: item[1].num_pairs)
        for pair in run.pairs()
    }
    return Pairs(
        pairs=tuple(
            Pair(
                first=i,
                second=j,
                strength=float(mean_LL[i, j]),
                corrected=float(corrected_LL[i, j]),
                stem_score=float(stem_LL[i, j]),
                run=run_of.get((i, j)),
            )
            for i, j in places
        ),
        runs=runs,
    )


def _runs(codes: Codes, peaks: set[tuple[int, int]]) -> Iterator[Run]:
    """Yield the runs that hold enough of the strongest pairs."""
    visited: set[tuple[str, int, int]] = set()
    for pair in sorted(peaks):
        for run in (_stem(codes, *pair), _direct_repeat(codes, *pair)):
            if run is None or (run.kind, run.first, run.second) in visited:
                continue
            visited.add((run.kind, run.first, run.second))
            if sum(place in peaks for place in run.pairs()) >= _MIN_PEAKS:
                yield run


def _stem(codes: Codes, first: int, second: int) -> Run | None:
    """Return the longest stem that holds a pair; None if it is too short."""

    def fits(i: int, j: int) -> bool:
        return (int(codes[i]), int(codes[j])) in _WATSON_CRICK | _WOBBLE

    if not fits(first, second):
        return None
    while first > 0 and second < codes.size - 1 and fits(first - 1, second + 1):
        first, second = first - 1, second + 1
    num_pairs = 1
    while second - first - 2 * num_pairs >= MIN_DISTANCE and fits(
        first + num_pairs, second - num_pairs
    ):
        num_pairs += 1
    if num_pairs < _MIN_STEM:
        return None
    stem = Run(kind="stem", first=first, second=second, num_pairs=num_pairs)
    is_exact = all((int(codes[i]), int(codes[j])) in _WATSON_CRICK for i, j in stem.pairs())
    if is_exact and num_pairs >= _MIN_REPEAT:
        return Run(kind="inverted repeat", first=first, second=second, num_pairs=num_pairs)
    return stem


def _direct_repeat(codes: Codes, first: int, second: int) -> Run | None:
    """Return the longest direct repeat that holds a pair; None if it is too short."""

    def fits(i: int, j: int) -> bool:
        return bool(codes[i] == codes[j] and codes[i] < len("ACGT"))

    if not fits(first, second):
        return None
    while first > 0 and fits(first - 1, second - 1):
        first, second = first - 1, second - 1
    num_pairs = 1
    while second + num_pairs < codes.size and fits(first + num_pairs, second + num_pairs):
        num_pairs += 1
    if num_pairs < _MIN_REPEAT:
        return None
    return Run(kind="direct repeat", first=first, second=second, num_pairs=num_pairs)


def mean_by_distance(strengths_LL: Strengths, longest: int) -> Floats:
    """Return the mean strength of pairs at distances 1 to `longest`; NaN beyond the sequence."""
    mean_LL = symmetric(strengths_LL)
    return np.array(
        [
            mean_LL.diagonal(distance).mean() if distance < len(mean_LL) else np.nan
            for distance in range(1, longest + 1)
        ]
    )


def codon_periodicity(strengths_LL: Strengths) -> float:
    """Return the mean strength at distances 6, 9, ... 30 over that at their neighbours.

    A coding sequence has a value above 1. NaN for sequences shorter than 32 bases.
    """
    mean_D = mean_by_distance(strengths_LL, 31)
    in_frame = np.arange(6, 31, 3) - 1
    beside = (mean_D[in_frame - 1] + mean_D[in_frame + 1]) / 2
    total = beside.mean()
    return float(mean_D[in_frame].mean() / total) if total else float("nan")
