"""Clustering of classes in the space of frozen vectors, without training.

Distances are one minus the cosine of centred vectors: vectors of a language model share a large
common component, which would make all of them look alike.
Shape letters: N rows, E width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_NEIGHBOURS = 10
NUM_PERMUTATIONS = 999
MOST_ROWS = 1_000
_PERMUTATIONS_PER_BATCH = 50

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """Measures of how closely classes cluster."""

    purity: float  # Fraction of the ten nearest neighbours with the row's own class.
    precision: float  # Mean average precision of retrieving a row's class by distance.
    chance: float  # Expected purity of vectors without information about the class.
    precision_chance: float  # Expected mean average precision of such vectors.
    silhouette: float  # Mean silhouette: 1 separated, 0 mixed, negative for misplaced rows.
    within: float  # Mean distance of two rows of one class.
    between: float  # Mean distance of two rows of different classes.
    p_value: float  # Fraction of label permutations whose between - within is as large.
    num_rows: int  # Number of rows.


def draw_rows(classes_N: Rows, seed: int, max_rows: int = MOST_ROWS) -> Rows:
    """Draw at most `max_rows` rows, stratified by class."""
    if classes_N.size <= max_rows:
        return np.arange(classes_N.size)
    generator = np.random.default_rng([seed, 11])
    sampled: list[Rows] = []
    for label in np.unique(classes_N):
        rows = np.flatnonzero(classes_N == label)
        class_size = max(2, round(max_rows * rows.size / classes_N.size))
        sampled.append(generator.choice(rows, min(class_size, rows.size), replace=False))
    return np.sort(np.concatenate(sampled))


def distances(vectors_NE: Vectors) -> npt.NDArray[np.float32]:
    """Return one minus the cosine of the centred vectors, shape (N, N)."""
    centred_NE = vectors_NE - vectors_NE.mean(axis=0)
    lengths_N1 = np.linalg.norm(centred_NE, axis=1, keepdims=True)
    unit_NE = centred_NE / np.maximum(lengths_N1, 1e-12)
    return np.clip(1 - unit_NE @ unit_NE.T, 0, 2).astype(np.float32)


def neighbourhood(vectors_NE: Vectors, classes_N: Rows, seed: int) -> Neighbourhood:
    """Measure how closely classes cluster; every class has at least two rows."""
    distance_NN = distances(vectors_NE)
    num_rows = classes_N.size
    same_NN = classes_N[:, None] == classes_N[None, :]
    is_other_NN = ~np.eye(num_rows, dtype=np.bool_)
    mates_N = same_NN.sum(axis=1) - 1
    within, between = distance_NN[same_NN & is_other_NN], distance_NN[~same_NN]
    ordered_NN = _order(distance_NN)
    hits_NN = np.take_along_axis(same_NN, ordered_NN, axis=1)
    ranks_N = np.arange(1, num_rows)
    precision_NN = np.cumsum(hits_NN, axis=1) / ranks_N
    has_mates_N = mates_N > 0
    average_N = (precision_NN * hits_NN).sum(axis=1)[has_mates_N] / mates_N[has_mates_N]
    return Neighbourhood(
        purity=float(hits_NN[:, :NUM_NEIGHBOURS].mean()),
        precision=float(average_N.mean()),
        chance=float(mates_N.mean() / (num_rows - 1)),
        precision_chance=float(
            np.mean(
                [expected_precision(int(mates), num_rows - 1) for mates in mates_N[has_mates_N]]
            )
        ),
        silhouette=_silhouette(distance_NN, classes_N),
        within=float(within.mean()),
        between=float(between.mean()),
        p_value=_p_value(distance_NN, classes_N, seed),
        num_rows=num_rows,
    )


def expected_precision(mates: int, num_ranked: int) -> float:
    """Return the expected average precision of retrieving `mates` rows in random order.

    A mate at rank k has on average (mates - 1) (k - 1) / (num_ranked - 1) mates before it. The
    expectation is ((m - 1) / (n - 1) (n - H_n) + H_n) / n for m mates among n rows, with H_n the
    harmonic number.

    Args:
        mates: Rows to retrieve, at least one.
        num_ranked: Ranked rows, including the mates.
    """
    harmonic = float((1 / np.arange(1, num_ranked + 1)).sum())
    before = (mates - 1) / (num_ranked - 1) if num_ranked > 1 else 0.0
    return (before * (num_ranked - harmonic) + harmonic) / num_ranked


def _order(distance_NN: npt.NDArray[np.float32]) -> Rows:
    """Return the other rows of every row, nearest first."""
    distance_with_self_NN = distance_NN.copy()
    np.fill_diagonal(distance_with_self_NN, -1)
    return np.argsort(distance_with_self_NN, axis=1, kind="stable")[:, 1:]


def _one_hot(classes_N: Rows) -> npt.NDArray[np.float32]:
    _, class_numbers_N = np.unique(classes_N, return_inverse=True)
    return np.eye(int(class_numbers_N.max()) + 1, dtype=np.float32)[class_numbers_N]


def _silhouette(distance_NN: npt.NDArray[np.float32], classes_N: Rows) -> float:
    """Return the mean silhouette (Rousseeuw 1987); a class of one row counts 0."""
    member_NC = _one_hot(classes_N)
    sizes_C = member_NC.sum(axis=0)
    sums_NC = distance_NN @ member_NC
    own_class_N = (sums_NC * member_NC).sum(axis=1) / np.maximum(sizes_C @ member_NC.T - 1, 1)
    means_NC = np.where(member_NC > 0, np.inf, sums_NC / sizes_C)
    nearest_N = means_NC.min(axis=1)
    silhouette_N = (nearest_N - own_class_N) / np.maximum(np.maximum(nearest_N, own_class_N), 1e-12)
    silhouette_N[(sizes_C @ member_NC.T) == 1] = 0
    return float(silhouette_N.mean())


def _p_value(distance_NN: npt.NDArray[np.float32], classes_N: Rows, seed: int) -> float:
    """Run a one-sided permutation test; the observed labels count as one permutation."""
    generator = np.random.default_rng([seed, 13])
    member_NC = _one_hot(classes_N)
    # The sum of all distances stays, and so does the number of pairs: within alone decides.
    observed = float(_within(distance_NN, member_NC[None])[0])
    num_as_small = 0
    for start in range(0, NUM_PERMUTATIONS, _PERMUTATIONS_PER_BATCH):
        num_shuffled = min(_PERMUTATIONS_PER_BATCH, NUM_PERMUTATIONS - start)
        permutations = [generator.permutation(classes_N.size) for _ in range(num_shuffled)]
        shuffled_PNC = member_NC[np.stack(permutations)]
        num_as_small += int((_within(distance_NN, shuffled_PNC) <= observed * (1 + 1e-6)).sum())
    return (1 + num_as_small) / (1 + NUM_PERMUTATIONS)


def _within(
    distance_NN: npt.NDArray[np.float32], member_PNC: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return the sum of distances within classes for several labellings, in one matrix product."""
    num_permutations, num_rows, num_classes = member_PNC.shape
    flat_NK = member_PNC.transpose(1, 0, 2).reshape(num_rows, -1)
    sums_K = ((distance_NN @ flat_NK) * flat_NK).sum(axis=0, dtype=np.float64)
    return sums_K.reshape(num_permutations, num_classes).sum(axis=1)


def principal_axes(vectors_NE: Vectors) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """Project onto the two axes of largest variance, (N, 2); also return their variance fractions.

    The sign of an axis is such that its largest entry is positive.
    """
    centred_NE = (vectors_NE - vectors_NE.mean(axis=0)).astype(np.float64)
    left_NK, sizes_K, right_KE = np.linalg.svd(centred_NE, full_matrices=False)
    signs_K = np.sign(right_KE[np.arange(len(right_KE)), np.abs(right_KE).argmax(axis=1)])
    points_N2 = np.zeros((len(vectors_NE), 2))
    num_axes = min(2, sizes_K.size)
    points_N2[:, :num_axes] = (left_NK * sizes_K * signs_K)[:, :num_axes]
    shares = np.zeros(2)
    shares[:num_axes] = (sizes_K**2 / max(float((sizes_K**2).sum()), 1e-12))[:num_axes]
    return points_N2.astype(np.float32), (float(shares[0]), float(shares[1]))
