"""Projection of rows onto a plane: principal components, or UMAP if installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.options import PlotMethod
from genomeformer_cli.core.errors import InputError, MissingExtraError

_NUMBERS_PER_CHUNK = 1 << 22
_WIDEST_DENSE = 1 << 11  # Widest vectors with a covariance in memory.


@dataclass(frozen=True)
class Projection:
    """Rows as points of a plane."""

    points: npt.NDArray[np.float64]  # (N, 2); NaN for rows with NaN.
    axes: tuple[str, str]  # Axis labels.


def check_method(method: str) -> None:
    """Check that a projection method is available.

    Raises:
        MissingExtraError: UMAP is not installed.
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise MissingExtraError(
            "UMAP needs `umap-learn`",
            hint="`pip install 'genomeformer[umap]'`, or leave `plot_method` at `pca`",
        )


def project(rows: npt.NDArray[Any], method: PlotMethod = "pca") -> Projection:
    """Project rows onto a plane.

    Args:
        rows: (N, K), perhaps memory-mapped; NaN rows are left out.
        method: Principal components with fixed signs, so that runs agree; or seeded UMAP.

    Raises:
        InputError: Fewer than two rows are finite.
    """
    is_finite = np.concatenate(
        [np.isfinite(chunk).all(axis=1) for chunk in _chunks(rows)] or [np.empty(0, dtype=bool)]
    )
    if is_finite.sum() < 2:
        raise InputError(
            f"{is_finite.sum()} finite rows cannot be projected",
            hint="give two sequences or more",
        )
    points = np.full((len(rows), 2), np.nan)
    if method == "umap":
        umap = importlib.import_module("umap")
        points[is_finite] = umap.UMAP(random_state=0, n_jobs=1).fit_transform(
            np.asarray(rows)[is_finite]
        )
        return Projection(points, ("UMAP 1", "UMAP 2"))
    points[is_finite], shares = _principal(rows, is_finite)
    first, second = (f"component {k + 1}, {shares[k]:.0%} of variance" for k in (0, 1))
    return Projection(points, (first, second))


def _chunks(rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    size = max(_NUMBERS_PER_CHUNK // max(rows.shape[1], 1), 1)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _principal(
    rows: npt.NDArray[Any], is_finite: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return points and variance fractions, from chunks of rows."""
    mean = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in _finite_chunks(rows, is_finite))
    mean = mean / is_finite.sum()

    def centred_chunks() -> Iterator[npt.NDArray[np.float64]]:
        return (chunk - mean for chunk in _finite_chunks(rows, is_finite))

    width = rows.shape[1]
    total = sum(float(np.square(centred).sum()) for centred in centred_chunks())
    if not total:
        return np.zeros((int(is_finite.sum()), 2)), np.zeros(2)
    if width <= _WIDEST_DENSE:
        covariance = np.zeros((width, width))
        for centred in centred_chunks():
            covariance += centred.T @ centred
        variances, vectors = np.linalg.eigh(covariance)
    else:
        from scipy.sparse.linalg import LinearOperator, eigsh

        # The covariance of wide vectors takes gigabytes, and all its eigenvectors hours.
        def covariance_times(x_K: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return sum(
                (centred.T @ (centred @ x_K) for centred in centred_chunks()), np.zeros(width)
            )

        operator = LinearOperator((width, width), matvec=covariance_times, dtype=np.float64)
        variances, vectors = eigsh(operator, k=2, v0=np.random.default_rng(0).normal(size=width))
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    shares = variances[::-1][:2] / total
    points = np.concatenate([centred @ axes for centred in centred_chunks()])
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 1)))
        shares = np.pad(shares, (0, 1))
    return points, shares


def _finite_chunks(
    rows: npt.NDArray[Any], is_finite: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the finite rows of each chunk."""
    start = 0
    for chunk in _chunks(rows):
        yield chunk[is_finite[start : start + len(chunk)]].astype(np.float64)
        start += len(chunk)
