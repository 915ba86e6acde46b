"""Do sequences of one class lie in one neighbourhood? Measured on the vectors as they are.

Distances are one minus the cosine of vectors whose common mean is taken away: vectors of a language
model share a large part, which would make all of them look alike. Nothing is learned here.
Shape letters: N rows, E width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_NEIGHBOURS = 10
NUM_PERMUTATIONS = 999
MOST_ROWS = 1_000
_AT_ONCE = 50

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """How far classes keep together.

    Attributes:
        purity: Part of the ten nearest neighbours that are of the row's own class.
        precision: Mean average precision of finding a row's class among all others by distance.
        chance: Expected purity of vectors that hold no information about the class.
        precision_chance: Expected mean average precision of such vectors.
        silhouette: Mean silhouette: 1 apart, 0 mixed, negative in the wrong place.
        within: Mean distance of two rows of one class.
        between: Mean distance of two rows of different classes.
        p_value: Share of permutations of the labels whose between - within is as large.
        num_rows: Looked at.
    """

    purity: float
    precision: float
    chance: float
    precision_chance: float
    silhouette: float
    within: float
    between: float
    p_value: float
    num_rows: int


def draw_rows(classes_N: Rows, seed: int, most: int = MOST_ROWS) -> Rows:
    """At most so many rows, each class in its share."""
    if classes_N.size <= most:
        return np.arange(classes_N.size)
    generator = np.random.default_rng([seed, 11])
    chosen: list[Rows] = []
    for label in np.unique(classes_N):
        rows = np.flatnonzero(classes_N == label)
        number = max(2, round(most * rows.size / classes_N.size))
        chosen.append(generator.choice(rows, min(number, rows.size), replace=False))
    return np.sort(np.concatenate(chosen))


def distances(vectors_NE: Vectors) -> npt.NDArray[np.float32]:
    """(N, N) one minus the cosine of the centred vectors."""
    centred_NE = vectors_NE - vectors_NE.mean(axis=0)
    lengths_N1 = np.linalg.norm(centred_NE, axis=1, keepdims=True)
    unit_NE = centred_NE / np.maximum(lengths_N1, 1e-12)
    return np.clip(1 - unit_NE @ unit_NE.T, 0, 2).astype(np.float32)


def neighbourhood(vectors_NE: Vectors, classes_N: Rows, seed: int) -> Neighbourhood:
    """Measure how closely classes cluster; every class has at least two rows."""
    distance_NN = distances(vectors_NE)
    number = classes_N.size
    same_NN = classes_N[:, None] == classes_N[None, :]
    others_NN = ~np.eye(number, dtype=np.bool_)
    mates_N = same_NN.sum(axis=1) - 1
    within, between = distance_NN[same_NN & others_NN], distance_NN[~same_NN]
    ordered_NN = _order(distance_NN)
    hits_NN = np.take_along_axis(same_NN, ordered_NN, axis=1)
    ranks_N = np.arange(1, number)
    precision_NN = np.cumsum(hits_NN, axis=1) / ranks_N
    found = mates_N > 0
    average_N = (precision_NN * hits_NN).sum(axis=1)[found] / mates_N[found]
    return Neighbourhood(
        purity=float(hits_NN[:, :NUM_NEIGHBOURS].mean()),
        precision=float(average_N.mean()),
        chance=float(mates_N.mean() / (number - 1)),
        precision_chance=float(
            np.mean([expected_precision(int(mates), number - 1) for mates in mates_N[found]])
        ),
        silhouette=_silhouette(distance_NN, classes_N),
        within=float(within.mean()),
        between=float(between.mean()),
        p_value=_p_value(distance_NN, classes_N, seed),
        num_rows=number,
    )


def expected_precision(mates: int, others: int) -> float:
    """Return the expected average precision of retrieving `mates` rows in random order.

    A mate at rank k has on average (mates - 1) (k - 1) / (others - 1) mates before it, which gives
    ((m - 1) / (n - 1) (n - H_n) + H_n) / n for m mates among n others, H_n the harmonic number.

    Args:
        mates: Rows to retrieve, at least one.
        others: Rows that are ranked, mates among them.
    """
    harmonic = float((1 / np.arange(1, others + 1)).sum())
    before = (mates - 1) / (others - 1) if others > 1 else 0.0
    return (before * (others - harmonic) + harmonic) / others


def _order(distance_NN: npt.NDArray[np.float32]) -> Rows:
    """Every row's others, the nearest first."""
    apart_NN = distance_NN.copy()
    np.fill_diagonal(apart_NN, -1)
    return np.argsort(apart_NN, axis=1, kind="stable")[:, 1:]


def _one_hot(classes_N: Rows) -> npt.NDArray[np.float32]:
    _, which_N = np.unique(classes_N, return_inverse=True)
    return np.eye(int(which_N.max()) + 1, dtype=np.float32)[which_N]


def _silhouette(distance_NN: npt.NDArray[np.float32], classes_N: Rows) -> float:
    """Rousseeuw 1987; a class of one row counts 0."""
    member_NC = _one_hot(classes_N)
    sizes_C = member_NC.sum(axis=0)
    sums_NC = distance_NN @ member_NC
    own_N = (sums_NC * member_NC).sum(axis=1) / np.maximum(sizes_C @ member_NC.T - 1, 1)
    means_NC = np.where(member_NC > 0, np.inf, sums_NC / sizes_C)
    nearest_N = means_NC.min(axis=1)
    silhouette_N = (nearest_N - own_N) / np.maximum(np.maximum(nearest_N, own_N), 1e-12)
    silhouette_N[(sizes_C @ member_NC.T) == 1] = 0
    return float(silhouette_N.mean())


def _p_value(distance_NN: npt.NDArray[np.float32], classes_N: Rows, seed: int) -> float:
    """One-sided permutation test; the labels as they are count as one permutation."""
    generator = np.random.default_rng([seed, 13])
    member_NC = _one_hot(classes_N)
    # The sum of all distances stays, and so does the number of pairs: within alone decides.
    observed = float(_within(distance_NN, member_NC[None])[0])
    as_small = 0
    for start in range(0, NUM_PERMUTATIONS, _AT_ONCE):
        number = min(_AT_ONCE, NUM_PERMUTATIONS - start)
        turns = [generator.permutation(classes_N.size) for _ in range(number)]
        shuffled_PNC = member_NC[np.stack(turns)]
        as_small += int((_within(distance_NN, shuffled_PNC) <= observed * (1 + 1e-6)).sum())
    return (1 + as_small) / (1 + NUM_PERMUTATIONS)


def _within(
    distance_NN: npt.NDArray[np.float32], member_PNC: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Sum of the distances within classes, for several labellings in one product of matrices."""
    num_turns, number, num_classes = member_PNC.shape
    flat_NK = member_PNC.transpose(1, 0, 2).reshape(number, -1)
    sums_K = ((distance_NN @ flat_NK) * flat_NK).sum(axis=0, dtype=np.float64)
    return sums_K.reshape(num_turns, num_classes).sum(axis=1)


def principal_axes(vectors_NE: Vectors) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """(N, 2) on the two axes of largest variance, and the share of the variance on each.

    The sign of an axis is such that its largest entry is positive.
    """
    centred_NE = (vectors_NE - vectors_NE.mean(axis=0)).astype(np.float64)
    left_NK, sizes_K, right_KE = np.linalg.svd(centred_NE, full_matrices=False)
    signs_K = np.sign(right_KE[np.arange(len(right_KE)), np.abs(right_KE).argmax(axis=1)])
    points_N2 = np.zeros((len(vectors_NE), 2))
    number = min(2, sizes_K.size)
    points_N2[:, :number] = (left_NK * sizes_K * signs_K)[:, :number]
    shares = np.zeros(2)
    shares[:number] = (sizes_K**2 / max(float((sizes_K**2).sum()), 1e-12))[:number]
    return points_N2.astype(np.float32), (float(shares[0]), float(shares[1]))
