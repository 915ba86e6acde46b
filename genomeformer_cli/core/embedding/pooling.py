"""Pooling of the features of windows into one row per sequence.

A pool has parts, each with a state per window that is merged over the windows of a sequence:

- `mean`: sum of the features.
- `max`, `first`, `last`: maximum, first or last features.
- `moments`: mean, and sum of squared differences from it (Chan et al. 1983, "Algorithms for
  Computing the Sample Variance"); the row has mean and standard deviation.
- `bins`: sums over `NUM_BINS` equal parts of the sequence, and their weights. A position on the
  boundary of two parts counts in both by its overlap, so that the parts of the reverse complement
  are these parts in reverse order. A part without a real position has the mean of the others.

Shape letters: B batch, L length, W windows, S columns of the state, P spans, K columns,
N sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.options import Pool
from genomeformer_cli.core.embedding.windows import Numbers

Floats = npt.NDArray[np.float64]
NUM_BINS = 8
_PARTS: dict[str, tuple[str, ...]] = {"mean-max": ("mean", "max")}
# Smallest variance of the module, whose square root has a gradient.
_SMALLEST_VARIANCE = 1e-12


def num_parts(pool: Pool) -> int:
    """Return the number of features of each layer that a row has."""
    return {"mean-max": 2, "moments": 2, "bins": NUM_BINS}.get(pool, 1)


def state_columns(pool: Pool, columns: int) -> int:
    """Return the number of columns of the state of a window."""
    return max(part.stop for _, part in _state_parts(pool, columns))


def _state_parts(pool: Pool, columns: int) -> Iterator[tuple[str, slice]]:
    """Yield the name and the columns of each part of a state."""
    start = 0
    for name in _PARTS.get(pool, (pool,)):
        size = {"moments": 2 * columns, "bins": NUM_BINS * (columns + 1)}.get(name, columns)
        yield name, slice(start, start + size)
        start += size


def pool_windows(
    features_BLK: Tensor, real_BL: Tensor, pool: Pool, start_B: Numbers, size_B: Numbers
) -> Tensor:
    """Return the state (B, S) of each window.

    Args:
        features_BLK: Features of windows.
        real_BL: True for positions that are pooled.
        pool: Pooling.
        start_B: Position of each window in its sequence.
        size_B: Length of the sequence of each window.
    """
    states = []
    for name in _PARTS.get(pool, (pool,)):
        if name == "bins":
            weights_BnL = _bin_weights(real_BL, start_B, size_B).to(features_BLK.dtype)
            states += [(weights_BnL @ features_BLK).flatten(1), weights_BnL.sum(dim=2)]
        else:
            states.append(_POOLS[name](features_BLK, real_BL))
    return states[0] if len(states) == 1 else torch.cat(states, dim=1)


def _sum(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    if real_BL.all():
        return features_BLK.sum(dim=1)
    return torch.bmm(real_BL[:, None].to(features_BLK.dtype), features_BLK).squeeze(1)


def _max(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    return features_BLK.masked_fill(~real_BL[..., None], -torch.inf).amax(dim=1)


def _first(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    rows_B = torch.arange(len(features_BLK), device=features_BLK.device)
    return features_BLK[rows_B, real_BL.int().argmax(dim=1)]


def _last(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    return _first(features_BLK.flip(1), real_BL.flip(1))


def _moments(features_BLK: Tensor, real_BL: Tensor) -> Tensor:
    mask_BL1 = real_BL[..., None].to(features_BLK.dtype)
    mean_BK = _sum(features_BLK, real_BL) / mask_BL1.sum(dim=1).clamp_min(1)
    differences_BLK = (features_BLK - mean_BK[:, None]) * mask_BL1
    return torch.cat((mean_BK, differences_BLK.square().sum(dim=1)), dim=1)


_POOLS = {"mean": _sum, "max": _max, "first": _first, "last": _last, "moments": _moments}


def _bin_weights(real_BL: Tensor, start_B: Numbers, size_B: Numbers) -> Tensor:
    """Return the overlap of each real position with each part of its sequence, (B, bins, L)."""
    edges_BnE = np.arange(NUM_BINS + 1) * (size_B[:, None] / NUM_BINS)
    position_BL = start_B[:, None] + np.arange(real_BL.shape[1])
    low = np.maximum(edges_BnE[:, :-1, None], position_BL[:, None])
    high = np.minimum(edges_BnE[:, 1:, None], position_BL[:, None] + 1)
    overlap_BnL = np.maximum(high - low, 0).astype(np.float32)
    return torch.from_numpy(overlap_BnL).to(real_BL.device) * real_BL[:, None]


def pool_rows(features_BLK: Tensor, real_BL: Tensor, pool: Pool, size_B: Numbers) -> Tensor:
    """Return the pooled features of whole sequences, with gradients; zero without a real position.

    Args:
        features_BLK: Features of sequences.
        real_BL: True for positions that are pooled.
        pool: Pooling.
        size_B: Length of each sequence.
    """
    state_BS = pool_windows(features_BLK, real_BL, pool, np.zeros_like(size_B), size_B)
    count_B1 = real_BL.sum(dim=1, keepdim=True)
    parts = []
    for name, columns in _state_parts(pool, features_BLK.shape[2]):
        values = state_BS[:, columns]
        if name == "mean":
            values = values / count_B1.clamp_min(1)
        elif name == "moments":
            mean_BK, squares_BK = values.chunk(2, dim=1)
            variance_BK = squares_BK / count_B1.clamp_min(1)
            values = torch.cat((mean_BK, variance_BK.clamp_min(_SMALLEST_VARIANCE).sqrt()), dim=1)
        elif name == "bins":
            sums_BnK = values[:, :-NUM_BINS].reshape(len(values), NUM_BINS, -1)
            weights_Bn1 = values[:, -NUM_BINS:, None]
            mean_B1K = sums_BnK.sum(dim=1, keepdim=True) / count_B1.clamp_min(1)[..., None]
            means_BnK = sums_BnK / weights_Bn1.where(weights_Bn1 > 0, 1.0)
            values = torch.where(weights_Bn1 > 0, means_BnK, mean_B1K).flatten(1)
        parts.append(values)
    return torch.cat(parts, dim=1).where(count_B1 > 0, 0.0)


def pool_spans(
    features_LK: Tensor, real_L: Tensor, spans: Sequence[slice], pool: Pool
) -> tuple[Tensor, Numbers]:
    """Return the state of spans of one window, (P, S), and their real positions, (P,)."""
    counts_P = np.array([int(real_L[span].sum()) for span in spans], dtype=np.int64)
    if pool != "mean":
        rows = [
            pool_windows(
                features_LK[None, span],
                real_L[None, span],
                pool,
                np.zeros(1, dtype=np.int64),
                np.array([span.stop - span.start]),
            )
            for span in spans
        ]
        return torch.cat(rows), counts_P
    weights_PL = torch.zeros(len(spans), real_L.numel(), dtype=features_LK.dtype)
    for row, span in enumerate(spans):
        weights_PL[row, span] = real_L[span].to(features_LK.dtype).cpu()
    return weights_PL.to(features_LK.device) @ features_LK, counts_P


@dataclass
class PooledRows:
    """Accumulator of pooled rows."""

    values_NS: Floats  # Merged state so far.
    counts_N: Numbers  # Real positions so far.
    pool: Pool
    columns: int  # Columns of the features.

    @classmethod
    def empty(cls, number: int, columns: int, pool: Pool) -> PooledRows:
        """Return an accumulator without positions."""
        values_NS = np.zeros((number, state_columns(pool, columns)))
        for name, part in _state_parts(pool, columns):
            if name == "max":
                values_NS[:, part] = -np.inf
        return cls(values_NS, np.zeros(number, dtype=np.int64), pool, columns)

    def add(self, row_W: Numbers, values_WS: npt.NDArray[np.float32], counts_W: Numbers) -> None:
        """Add pooled windows.

        Args:
            row_W: Row of each window, ascending; the windows of a row from left to right.
            values_WS: States, from `pool_windows`.
            counts_W: Real positions of each window.
        """
        is_nonempty = counts_W > 0
        row_W, values_WS, counts_W = (
            row_W[is_nonempty],
            values_WS[is_nonempty],
            counts_W[is_nonempty],
        )
        if not row_W.size:
            return
        firsts = np.flatnonzero(np.append(True, row_W[1:] != row_W[:-1]))
        rows = row_W[firsts]
        is_new = self.counts_N[rows] == 0
        for name, part in _state_parts(self.pool, self.columns):
            values, of_rows = values_WS[:, part], self.values_NS[:, part]
            if name == "max":
                of_rows[rows] = np.maximum(of_rows[rows], np.maximum.reduceat(values, firsts))
            elif name == "last":
                of_rows[rows] = values[np.append(firsts[1:], row_W.size) - 1]
            elif name == "first":
                of_rows[rows[is_new]] = values[firsts[is_new]]
            elif name == "moments":
                self._add_moments(rows, values.astype(np.float64), counts_W, firsts)
            else:
                of_rows[rows] += np.add.reduceat(values.astype(np.float64), firsts)
        self.counts_N[rows] += np.add.reduceat(counts_W, firsts)

    def _add_moments(
        self, rows: Numbers, values_WS: Floats, counts_W: Numbers, firsts: Numbers
    ) -> None:
        """Merge the means and squared differences of windows with those of their rows."""
        columns = self.columns
        before = self.counts_N[rows][:, None]
        means_WK, squares_WK = values_WS[:, :columns], values_WS[:, columns:]
        count_W1 = counts_W[:, None]
        total = before + np.add.reduceat(count_W1, firsts)
        old_mean, old_squares = self.values_NS[rows, :columns], self.values_NS[rows, columns:]
        mean = (before * old_mean + np.add.reduceat(count_W1 * means_WK, firsts)) / total
        sizes = np.diff(np.append(firsts, counts_W.size))
        differences_WK = means_WK - np.repeat(mean, sizes, axis=0)
        squares = old_squares + before * (old_mean - mean) ** 2
        squares += np.add.reduceat(squares_WK + count_W1 * differences_WK**2, firsts)
        self.values_NS[rows] = np.concatenate((mean, squares), axis=1)

    def result(self) -> Floats:
        """Return the rows (N, parts x K); NaN for a row without a real position."""
        count_N1 = np.maximum(self.counts_N, 1)[:, None]
        parts = []
        for name, part in _state_parts(self.pool, self.columns):
            values = self.values_NS[:, part]
            if name == "mean":
                values /= count_N1
            elif name == "moments":
                values[:, self.columns :] = np.sqrt(values[:, self.columns :] / count_N1)
            elif name == "bins":
                values = _bin_means(values)
            parts.append(values)
        rows_NK = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        rows_NK[self.counts_N == 0] = np.nan
        return rows_NK


def _bin_means(values_NS: Floats) -> Floats:
    """Return the mean of each part, or that of the row for a part without a real position."""
    sums_NnK = values_NS[:, :-NUM_BINS].reshape(len(values_NS), NUM_BINS, -1)
    weights_Nn1 = values_NS[:, -NUM_BINS:, None]
    total_N11 = np.maximum(weights_Nn1.sum(axis=1, keepdims=True), 1e-9)
    mean_N1K = sums_NnK.sum(axis=1, keepdims=True) / total_N11
    means_NnK = sums_NnK / np.where(weights_Nn1 > 0, weights_Nn1, 1)
    return np.where(weights_Nn1 > 0, means_NnK, mean_N1K).reshape(len(values_NS), -1)
