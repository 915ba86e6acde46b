"""Blocks of queries, each against one window of keys: the softmax that local mechanisms share.

A tile of a few blocks is scored, normalised and read before the next is begun, so that its scores
never leave the processor's cache; the backward pass computes them again from the logarithms of the
normalisers (Dao et al. 2022, "FlashAttention", algorithms 1 and 4, without its inner loop). The
windows of neighbouring blocks overlap and are views of one tensor of keys: nothing is gathered.
Time O(L K D), memory O(L D) and one tile of scores. Scores and normalisers are kept as binary
logarithms: torch's `exp` takes fifty times longer where it underflows, as it does at every hidden
score, and its `exp2` does not.

Shape letters: B batch, H heads, G groups (B H), L length, D head width, N blocks, C queries of a
block, K keys of a window, M keys laid out ((N - 1) C + K), T blocks of a tile, E keys that
every query sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

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
class Windows:
    """Block n, queries n C to n C + C - 1, sees the keys n C to n C + K - 1 as laid out.

    Attributes:
        num_blocks: N.
        block: C.
        width: K.
        bias: What is added to the scores.
    """

    num_blocks: int
    block: int
    width: int
    bias: Bias

    def tiles(self, q_GLD: Tensor) -> Iterator[tuple[slice, slice]]:
        """Groups and blocks of one tile after the other."""
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
        """The rows of a tile's queries (g T, C, D)."""
        groups, blocks = tile
        rows = slice(blocks.start * self.block, blocks.stop * self.block)
        return x_GLD[groups, rows].reshape(-1, self.block, x_GLD.shape[-1])

    def keys(self, x_GMD: Tensor, tile: tuple[slice, slice]) -> Tensor:
        """The windows of a tile's blocks (g T, K, D); of one group, a view."""
        groups, blocks = tile
        part_GMD = x_GMD[groups, blocks.start * self.block :]
        by_group, by_row, _ = part_GMD.stride()
        size = (part_GMD.shape[0], blocks.stop - blocks.start, self.width, x_GMD.shape[-1])
        strides = (by_group, self.block * by_row, by_row, 1)
        return part_GMD.as_strided(size, strides).flatten(0, 1)

    def scores(self, q_SCD: Tensor, k_SKD: Tensor, tile: tuple[slice, slice]) -> Tensor:
        """Binary logarithms of weights: q k^T / (sqrt(D) ln 2) and the bias (S = g T, C, K)."""
        groups, blocks = tile
        size = (groups.stop - groups.start, blocks.stop - blocks.start, -1, -1)
        bias_SCK = self.bias(groups, blocks).expand(size).flatten(0, 1)
        scale = q_SCD.shape[-1] ** -0.5 / math.log(2)
        return torch.baddbmm(bias_SCK, q_SCD, k_SKD.mT, alpha=scale)

    def add_to_keys(self, sum_GMD: Tensor, part_SKD: Tensor, tile: tuple[slice, slice]) -> None:
        """Add what a tile has for its windows to where their keys lie, once for each overlap."""
        groups, blocks = tile
        part_gTKD = part_SKD.view(-1, blocks.stop - blocks.start, *part_SKD.shape[1:])
        for first in range(0, self.width, self.block):
            piece = part_gTKD[:, :, first : first + self.block]
            target = sum_GMD[groups, blocks.start * self.block + first :]
            strides = (target.stride(0), self.block * target.stride(1), target.stride(1), 1)
            target.as_strided(piece.shape, strides).add_(piece)


def window_softmax_forward(
    q_GLD: Tensor, k_GMD: Tensor, v_GMD: Tensor, windows: Windows
) -> tuple[Tensor, Tensor]:
    """Softmax over every window: values (G, N C, D), binary logarithms of normalisers (G, N C)."""
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


def window_softmax_backward(
    grad_GLD: Tensor,
    inner_GL: Tensor,
    log_norm_GL: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    windows: Windows,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values as laid out.

    Args:
        grad_GLD: Gradient of the values read.
        inner_GL: For every query the sum over D of values read times their gradient.
        log_norm_GL: Binary logarithms of the normalisers. They may count more keys than the
            window's, as they do where several rounds of windows share one softmax.
        qkv: Queries (G, N C, D), keys and values (G, M, D).
        windows: As in the forward pass.
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


def _everywhere_scores(q_GLD: Tensor, k_GED: Tensor, hidden_GE: Tensor) -> Tensor:
    """Binary logarithms of weights of the keys that every query sees (G, L, E)."""
    scale = q_GLD.shape[-1] ** -0.5 / math.log(2)
    return torch.baddbmm(hidden_GE[:, None], q_GLD, k_GED.mT, alpha=scale)


def _join_everywhere(
    out_GLD: Tensor, log_norm_GL: Tensor, scores_GLE: Tensor, v_GED: Tensor
) -> Tensor:
    """Add keys that every query sees to what the windows read, in place; the joint normalisers."""
    largest_GL = torch.maximum(log_norm_GL, scores_GLE.amax(dim=-1))
    norm_GL = (scores_GLE - largest_GL[..., None]).exp2_().sum(dim=-1)
    norm_GL.add_((log_norm_GL - largest_GL).exp2_())
    joint_GL = norm_GL.log2_().add_(largest_GL)
    out_GLD.mul_((log_norm_GL - joint_GL).exp2_()[..., None])
    out_GLD.baddbmm_((scores_GLE - joint_GL[..., None]).exp2_(), v_GED)
    return joint_GL


class _WindowSoftmax(torch.autograd.Function):
    """One softmax over a window and the keys, if any, that every query sees."""

    @staticmethod
    def forward(
        ctx: Any,
        windows: Windows,
        qkv: tuple[Tensor, Tensor, Tensor],
        everywhere: tuple[Tensor, Tensor, Tensor] | None,
        *_: Tensor,
    ) -> Tensor:
        with torch.autocast(qkv[0].device.type, enabled=False):
            out_GLD, log_norm_GL = window_softmax_forward(*qkv, windows)
            if everywhere is not None:
                k_GED, v_GED, hidden_GE = everywhere
                scores_GLE = _everywhere_scores(qkv[0], k_GED, hidden_GE)
                log_norm_GL = _join_everywhere(out_GLD, log_norm_GL, scores_GLE, v_GED)
        ctx.save_for_backward(out_GLD, log_norm_GL, *qkv, *(everywhere or ()))
        ctx.windows = windows
        return out_GLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_GLD: Tensor) -> tuple[Tensor | None, ...]:
        out_GLD, log_norm_GL, q_GLD, k_GMD, v_GMD, *everywhere = ctx.saved_tensors
        with torch.autocast(q_GLD.device.type, enabled=False):
            inner_GL = torch.linalg.vecdot(out_GLD, grad_GLD)
            grad_q_GLD, grad_k_GMD, grad_v_GMD = window_softmax_backward(
                grad_GLD, inner_GL, log_norm_GL, (q_GLD, k_GMD, v_GMD), ctx.windows
            )
            gradients: tuple[Tensor, ...] = (grad_q_GLD, grad_k_GMD, grad_v_GMD)
            if everywhere:
                k_GED, v_GED, hidden_GE = everywhere
                weights_GLE = _everywhere_scores(q_GLD, k_GED, hidden_GE)
                weights_GLE.sub_(log_norm_GL[..., None]).exp2_()
                grad_scores_GLE = torch.baddbmm(inner_GL[..., None], grad_GLD, v_GED.mT, beta=-1)
                grad_scores_GLE.mul_(weights_GLE).mul_(q_GLD.shape[-1] ** -0.5)
                grad_q_GLD.baddbmm_(grad_scores_GLE, k_GED)
                gradients += (grad_scores_GLE.mT @ q_GLD, weights_GLE.mT @ grad_GLD)
        return None, None, None, *gradients


def band_softmax(
    qkv: tuple[Tensor, Tensor, Tensor],
    seen_BM: Tensor | None,
    *,
    before: int,
    after: int,
    past: int = 0,
    everywhere: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Softmax over the keys from `before` positions back to `after` positions ahead.

    Args:
        qkv: Queries (B, H, L, D), keys and values (B, H, past + L, D), finite throughout.
        seen_BM: True at the keys (past + L) that count; None if all do.
        before: Positions back.
        after: Positions ahead.
        past: Keys that come before the first query.
        everywhere: More keys and values (B, H, E, D), which every query sees, and which of them
            count (B, E).

    Returns:
        Values read (B, H, L, D), float32 at least; finite where a query sees nothing.
    """
    batch, heads, length, _ = qkv[0].shape
    q_GLD, k_GMD, v_GMD = (_in_groups(x) for x in qkv)
    before, after = min(before, past + length - 1), min(after, length - 1)
    assert past <= before or length == 1
    if past + length <= before + after + BLOCK:
        block, width, front = length, past + length, 0
    else:
        block, width, front = BLOCK, before + BLOCK + after, before - past
    num_blocks = -(-length // block)
    back = (num_blocks - 1) * block + width - front - past - length
    band_CK = _band(q_GLD, (block, width), (front + past - before, front + past + after))
    windows = Windows(
        num_blocks=num_blocks,
        block=block,
        width=width,
        bias=_band_bias(band_CK, seen_BM, (front, past + length, back), heads),
    )
    q_GLD = functional.pad(q_GLD, (0, 0, 0, num_blocks * block - length))
    k_GMD, v_GMD = (functional.pad(x, (0, 0, front, back)) for x in (k_GMD, v_GMD))
    leaves, more = (q_GLD, k_GMD, v_GMD), None
    if everywhere is not None:
        k_GED, v_GED = (_in_groups(x) for x in everywhere[:2])
        hidden_BE = k_GED.new_zeros(everywhere[2].shape).masked_fill(~everywhere[2], HIDDEN)
        more = (k_GED, v_GED, hidden_BE.repeat_interleave(heads, dim=0))
    out_GLD: Tensor = _WindowSoftmax.apply(  # type: ignore[no-untyped-call]
        windows, leaves, more, *leaves, *(() if more is None else more[:2])
    )
    return out_GLD[:, :length].view(batch, heads, length, -1)


def _in_groups(x_BHLD: Tensor) -> Tensor:
    """Batch and heads as one, in float32 at least."""
    return x_BHLD.to(torch.promote_types(x_BHLD.dtype, torch.float32)).flatten(0, 1)


def _band(like: Tensor, size: tuple[int, int], limits: tuple[int, int]) -> Tensor:
    """0 where key less query is within the limits, both included; elsewhere hidden (C, K)."""
    block, width = size
    query_C1 = torch.arange(block, device=like.device)[:, None]
    offset_CK = torch.arange(width, device=like.device) - query_C1
    outside_CK = (offset_CK < limits[0]) | (offset_CK > limits[1])
    return like.new_zeros(size).masked_fill(outside_CK, HIDDEN)


def _band_bias(
    band_CK: Tensor, seen_BM: Tensor | None, parts: tuple[int, int, int], heads: int
) -> Bias:
    """The band, less keys that are not seen and what was added around the keys.

    Args:
        band_CK: The band.
        seen_BM: As in `band_softmax`.
        parts: Rows added before the keys, keys, rows added behind them.
        heads: H.
    """
    block, width = band_CK.shape
    front, num_keys, back = parts
    seen_RM = band_CK.new_ones(1, num_keys, dtype=torch.bool) if seen_BM is None else seen_BM
    seen_RM = functional.pad(seen_RM, (front, back), value=False)
    hidden_RM = band_CK.new_zeros(seen_RM.shape).masked_fill(~seen_RM, HIDDEN)

    def bias(groups: slice, blocks: slice) -> Tensor:
        first, last = blocks.start * block, (blocks.stop - 1) * block + width
        if seen_BM is None and first >= front and last <= front + num_keys:
            return band_CK
        if seen_BM is None:
            rows_RM = hidden_RM[:, first:last]
        elif groups.stop - groups.start == 1:
            rows_RM = hidden_RM[groups.start // heads, None, first:last]
        else:
            row_of_group = torch.arange(groups.start, groups.stop, device=hidden_RM.device) // heads
            rows_RM = hidden_RM[row_of_group, first:last]
        return band_CK + rows_RM.unfold(1, width, block)[:, :, None]

    return bias
