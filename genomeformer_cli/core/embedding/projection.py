"""Rows on a plane: principal components by numpy, or UMAP where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError, MissingExtraError

Method = Literal["pca", "umap"]
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Plane:
    """Rows as points.

    Attributes:
        points: (N, 2); NaN where the row is.
        axes: What the axes are.
    """

    points: npt.NDArray[np.float64]
    axes: tuple[str, str]


def check_method(method: str) -> None:
    """Refuse a projection that cannot be made here.

    Raises:
        MissingExtraError: UMAP is not installed.
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise MissingExtraError(
            "UMAP needs `umap-learn`",
            hint="`pip install 'genomeformer[umap]'`, or leave `--plot-method` at `pca`",
        )


def project(rows: npt.NDArray[Any], method: Method = "pca") -> Plane:
    """Put rows on a plane.

    Args:
        rows: (N, K), perhaps mapped; NaN rows are left out.
        method: Principal components, their signs fixed so that runs agree; or UMAP, seeded.

    Raises:
        InputError: Fewer than two rows are numbers.
    """
    real = np.concatenate(
        [np.isfinite(part).all(axis=1) for part in _parts(rows)] or [np.empty(0, dtype=bool)]
    )
    if real.sum() < 2:
        raise InputError(
            f"{real.sum()} rows with numbers make no picture", hint="give two sequences or more"
        )
    points = np.full((len(rows), 2), np.nan)
    if method == "umap":
        umap = importlib.import_module("umap")
        points[real] = umap.UMAP(random_state=0, n_jobs=1).fit_transform(np.asarray(rows)[real])
        return Plane(points, ("UMAP 1", "UMAP 2"))
    points[real], shares = _principal(rows, real)
    first, second = (f"component {k + 1}, {shares[k]:.0%} of variance" for k in (0, 1))
    return Plane(points, (first, second))


def _parts(rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [rows[at : at + _ROWS_AT_ONCE] for at in range(0, len(rows), _ROWS_AT_ONCE)]


def _principal(
    rows: npt.NDArray[Any], real: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """From the covariance, gathered a stretch of rows at a time."""
    stretches = [
        (part, real[at : at + _ROWS_AT_ONCE])
        for part, at in zip(_parts(rows), range(0, len(rows), _ROWS_AT_ONCE), strict=True)
    ]
    mean = sum(part[kept].sum(axis=0, dtype=np.float64) for part, kept in stretches) / real.sum()
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for part, kept in stretches:
        centred = part[kept].astype(np.float64) - mean
        covariance += centred.T @ centred
    variances, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    shares = variances[::-1][:2] / max(float(variances.sum()), 1e-300)
    points = np.concatenate([(part[kept] - mean) @ axes for part, kept in stretches])
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 1)))
        shares = np.pad(shares, (0, 1))
    return points, shares
