"""Pooling of the features of windows into one row per sequence.

Shape letters: B batch, L length, W windows, S spans, K columns, N sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.options import Pool
from genomeformer_cli.core.embedding.windows import Numbers

Real = npt.NDArray[np.bool_]


def pool_windows(features_BLK: Tensor, real_BL: Real, pool: Pool) -> Tensor:
    """Pool the real positions of each window (B, K): sum, maximum, first or last."""
    if pool == "mean" and real_BL.all():
        return features_BLK.sum(dim=1)
    if pool in ("first", "last"):
        first_B = real_BL.argmax(axis=1)
        last_B = real_BL.shape[1] - 1 - real_BL[:, ::-1].argmax(axis=1)
        position_B = torch.from_numpy(first_B if pool == "first" else np.ascontiguousarray(last_B))
        rows_B = torch.arange(len(features_BLK), device=features_BLK.device)
        return features_BLK[rows_B, position_B.to(features_BLK.device)]
    mask_BL = torch.from_numpy(real_BL).to(features_BLK.device)
    if pool == "max":
        return features_BLK.masked_fill(~mask_BL[..., None], -torch.inf).amax(dim=1)
    return torch.bmm(mask_BL[:, None].to(features_BLK.dtype), features_BLK).squeeze(1)


def pool_spans(
    features_LK: Tensor, real_L: Real, spans: Sequence[slice], pool: Pool
) -> tuple[Tensor, Numbers]:
    """Pool the real positions of spans of one window, (S, K), and count them, (S,)."""
    counts_S = np.array([real_L[span].sum() for span in spans], dtype=np.int64)
    if pool != "mean":
        rows = [pool_windows(features_LK[None, s], real_L[None, s], pool) for s in spans]
        return torch.cat(rows), counts_S
    weights_SL = np.zeros((len(spans), real_L.size), dtype=bool)
    for row, span in enumerate(spans):
        weights_SL[row, span] = real_L[span]
    weights = torch.from_numpy(weights_SL).to(features_LK.device, features_LK.dtype)
    return weights @ features_LK, counts_S


@dataclass
class PooledRows:
    """Accumulator of pooled rows."""

    values_NK: npt.NDArray[np.float64]  # Sum, maximum, first or last features so far.
    counts_N: Numbers  # Real positions so far.

    @classmethod
    def empty(cls, number: int, columns: int, pool: Pool) -> PooledRows:
        """Return an accumulator without positions."""
        start = -np.inf if pool == "max" else 0.0
        return cls(np.full((number, columns), start), np.zeros(number, dtype=np.int64))

    def add(
        self, row_W: Numbers, values_WK: npt.NDArray[np.float32], counts_W: Numbers, pool: Pool
    ) -> None:
        """Add pooled windows.

        Args:
            row_W: Row of each window, ascending; the windows of a row from left to right.
            values_WK: Pooled features, from `pool_windows`.
            counts_W: Real positions of each window.
            pool: Pooling.
        """
        is_nonempty = counts_W > 0
        row_W, values_WK, counts_W = (
            row_W[is_nonempty],
            values_WK[is_nonempty],
            counts_W[is_nonempty],
        )
        if not row_W.size:
            return
        firsts = np.flatnonzero(np.append(True, row_W[1:] != row_W[:-1]))
        rows = row_W[firsts]
        if pool == "mean":
            self.values_NK[rows] += np.add.reduceat(values_WK.astype(np.float64), firsts)
        elif pool == "max":
            max_values = np.maximum.reduceat(values_WK, firsts)
            self.values_NK[rows] = np.maximum(self.values_NK[rows], max_values)
        elif pool == "last":
            lasts = np.append(firsts[1:], row_W.size) - 1
            self.values_NK[rows] = values_WK[lasts]
        else:
            is_new = self.counts_N[rows] == 0
            self.values_NK[rows[is_new]] = values_WK[firsts[is_new]]
        self.counts_N[rows] += np.add.reduceat(counts_W, firsts)

    def result(self, pool: Pool) -> npt.NDArray[np.float64]:
        """Return the rows (N, K), in place; NaN for a row without a real position."""
        values_NK = self.values_NK
        if pool == "mean":
            values_NK /= np.maximum(self.counts_N, 1)[:, None]
        values_NK[self.counts_N == 0] = np.nan
        return values_NK
