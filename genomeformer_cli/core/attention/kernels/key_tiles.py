"""Softmax of query blocks over one window of keys each, shared by the local mechanisms.

A tile of a few blocks is scored, normalised and read before the next starts, so that its scores
stay in the processor's cache. The backward pass recomputes them from the log normalisers (Dao et
al. 2022, "FlashAttention", algorithms 1 and 4, without its inner loop). The windows of neighbouring
blocks overlap and are views of one tensor of keys. Time O(L K D), memory O(L D) and one tile of
scores. Scores and normalisers are base-2 logarithms: torch's `exp` is fifty times slower where it
underflows, as it does at every hidden score, and `exp2` is not.

Shape letters: B batch, H heads, G groups (B H), L length, D head width, N blocks, C queries of a
block, K keys of a window, M keys laid out ((N - 1) C + K), T blocks of a tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Added to scores that must not count. Finite, so that a query without any key gets an average of
# nothing in particular instead of NaN; far below any score, so that it never shows beside one.
HIDDEN = -1e30
# Blocks of fewer queries waste the matrix units, of more queries the rims of their windows.
BLOCK = 64
# Scores of a tile: a megabyte on a processor, so that it stays in the second cache.
TILE_SCORES = {"cpu": 1 << 18}
TILE_SCORES_ELSEWHERE = 1 << 26

# What is added to the scores of a tile, from its groups and its blocks: broadcasts to (g, T, C, K).
Bias = Callable[[slice, slice], Tensor]


@dataclass(frozen=True, kw_only=True)
class KeyTiles:
    """Tiling in which block n, queries n C to n C + C - 1, sees the keys n C to n C + K - 1."""

    num_blocks: int  # Number of blocks, N.
    block: int  # Queries per block, C.
    width: int  # Keys per window, K.
    bias: Bias  # Bias added to the scores.

    def tiles(self, q_GLD: Tensor) -> Iterator[tuple[slice, slice]]:
        """Yield groups and blocks of each tile."""
        groups = q_GLD.shape[0]
        limit = TILE_SCORES.get(q_GLD.device.type, TILE_SCORES_ELSEWHERE)
        blocks_a_tile = min(self.num_blocks, max(1, limit // (self.block * self.width)))
        groups_a_tile = max(1, limit // (self.num_blocks * self.block * self.width))
        for group in range(0, groups, groups_a_tile):
            for block in range(0, self.num_blocks, blocks_a_tile):
                yield (
                    slice(group, min(group + groups_a_tile, groups)),
                    slice(block, min(block + blocks_a_tile, self.num_blocks)),
                )

    def queries(self, x_GLD: Tensor, tile: tuple[slice, slice]) -> Tensor:
        """Return the rows of the queries of a tile, (g T, C, D)."""
        groups, blocks = tile
        rows = slice(blocks.start * self.block, blocks.stop * self.block)
        return x_GLD[groups, rows].reshape(-1, self.block, x_GLD.shape[-1])

    def keys(self, x_GMD: Tensor, tile: tuple[slice, slice]) -> Tensor:
        """Return the windows of the blocks of a tile, (g T, K, D); a view for one group."""
        groups, blocks = tile
        part_GMD = x_GMD[groups, blocks.start * self.block :]
        by_group, by_row, _ = part_GMD.stride()
        size = (part_GMD.shape[0], blocks.stop - blocks.start, self.width, x_GMD.shape[-1])
        strides = (by_group, self.block * by_row, by_row, 1)
        return part_GMD.as_strided(size, strides).flatten(0, 1)

    def scores(self, q_SCD: Tensor, k_SKD: Tensor, tile: tuple[slice, slice]) -> Tensor:
        """Return base-2 scores q k^T / (sqrt(D) ln 2) plus the bias (S = g T, C, K)."""
        groups, blocks = tile
        size = (groups.stop - groups.start, blocks.stop - blocks.start, -1, -1)
        bias_SCK = self.bias(groups, blocks).expand(size).flatten(0, 1)
        scale = q_SCD.shape[-1] ** -0.5 / math.log(2)
        return torch.baddbmm(bias_SCK, q_SCD, k_SKD.mT, alpha=scale)

    def add_to_keys(self, sum_GMD: Tensor, part_SKD: Tensor, tile: tuple[slice, slice]) -> None:
        """Add values of the windows of a tile to the rows of their keys, once per overlap."""
        groups, blocks = tile
        num_blocks, block = blocks.stop - blocks.start, self.block
        part_gTKD = part_SKD.view(-1, num_blocks, *part_SKD.shape[1:])
        for first in range(0, self.width, block):
            piece = part_gTKD[:, :, first : first + block]
            begin, height = blocks.start * block + first, piece.shape[2]
            # In plain views, which the compiler can follow; the last block may end with the keys.
            last = begin + (num_blocks - 1) * block
            size = (len(part_gTKD), num_blocks - 1, block, part_gTKD.shape[-1])
            sum_GMD[groups, begin:last].view(size)[:, :, :height].add_(piece[:, :-1])
            sum_GMD[groups, last : last + height].add_(piece[:, -1])


def tiled_softmax_forward(
    q_GLD: Tensor, k_GMD: Tensor, v_GMD: Tensor, windows: KeyTiles
) -> tuple[Tensor, Tensor]:
    """Return outputs (G, N C, D) and base-2 log normalisers (G, N C) of each window."""
    out_GLD = torch.empty_like(q_GLD, memory_format=torch.contiguous_format)
    log_norm_GL = q_GLD.new_empty(q_GLD.shape[:2])
    for tile in windows.tiles(q_GLD):
        scores = windows.scores(windows.queries(q_GLD, tile), windows.keys(k_GMD, tile), tile)
        largest = scores.amax(dim=-1, keepdim=True)
        scores.sub_(largest).exp2_()
        norm = scores.sum(dim=-1, keepdim=True)
        groups, blocks = tile
        rows = slice(blocks.start * windows.block, blocks.stop * windows.block)
        mixed = torch.bmm(scores, windows.keys(v_GMD, tile)).div_(norm)
        out_GLD[groups, rows] = mixed.view_as(out_GLD[groups, rows])
        log_norm_GL[groups, rows] = norm.log2_().add_(largest).view_as(log_norm_GL[groups, rows])
    return out_GLD, log_norm_GL


def tiled_softmax_backward(
    grad_GLD: Tensor,
    inner_GL: Tensor,
    log_norm_GL: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    windows: KeyTiles,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values in the layout.

    Args:
        grad_GLD: Gradient of the output.
        inner_GL: Inner product of output and its gradient for every query.
        log_norm_GL: Base-2 log normalisers. They may include more keys than those of the window,
            for example if several rounds of windows share one softmax.
        qkv: Queries (G, N C, D), keys and values (G, M, D).
        windows: Tiling of the forward pass.
    """
    q_GLD, k_GMD, v_GMD = qkv
    grad_q_GLD = torch.empty_like(q_GLD, memory_format=torch.contiguous_format)
    grad_k_GMD, grad_v_GMD = (k_GMD.new_zeros(k_GMD.shape) for _ in range(2))
    for tile in windows.tiles(q_GLD):
        q, k, v = windows.queries(q_GLD, tile), windows.keys(k_GMD, tile), windows.keys(v_GMD, tile)
        grad = windows.queries(grad_GLD, tile)
        log_norm, inner = (windows.queries(x[..., None], tile) for x in (log_norm_GL, inner_GL))
        weights = windows.scores(q, k, tile).sub_(log_norm).exp2_()
        windows.add_to_keys(grad_v_GMD, torch.bmm(weights.mT, grad), tile)
        grad_scores = torch.baddbmm(inner, grad, v.mT, beta=-1).mul_(weights)
        windows.add_to_keys(grad_k_GMD, torch.bmm(grad_scores.mT, q), tile)
        groups, blocks = tile
        rows = slice(blocks.start * windows.block, blocks.stop * windows.block)
        grad_q_GLD[groups, rows] = torch.bmm(grad_scores, k).view_as(grad_q_GLD[groups, rows])
    scale = q_GLD.shape[-1] ** -0.5
    return grad_q_GLD.mul_(scale), grad_k_GMD.mul_(scale), grad_v_GMD
