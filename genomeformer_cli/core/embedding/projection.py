"""Projection of rows onto a plane: principal components by NumPy, or UMAP if installed."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.options import PlotMethod
from genomeformer_cli.core.errors import InputError, MissingExtraError

_ROWS_PER_CHUNK = 1 << 14


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
    return [rows[start : start + _ROWS_PER_CHUNK] for start in range(0, len(rows), _ROWS_PER_CHUNK)]


def _principal(
    rows: npt.NDArray[Any], is_finite: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return points and variance fractions from the covariance, accumulated in chunks of rows."""
    chunks = [
        (chunk, is_finite[start : start + _ROWS_PER_CHUNK])
        for chunk, start in zip(_chunks(rows), range(0, len(rows), _ROWS_PER_CHUNK), strict=True)
    ]
    mean = (
        sum(chunk[is_finite].sum(axis=0, dtype=np.float64) for chunk, is_finite in chunks)
        / is_finite.sum()
    )
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for chunk, is_finite in chunks:
        centred = chunk[is_finite].astype(np.float64) - mean
        covariance += centred.T @ centred
    variances, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    shares = variances[::-1][:2] / max(float(variances.sum()), 1e-300)
    points = np.concatenate([(chunk[is_finite] - mean) @ axes for chunk, is_finite in chunks])
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 1)))
        shares = np.pad(shares, (0, 1))
    return points, shares
