"""Sliding-window attention: exact softmax over a band of keys around every query, in blocks.

Shape letters: B batch, H heads, G groups (B H), L length, D head width, C queries of a block, K
keys of a window, M keys laid out, E global tokens, R rows of a mask (B or 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.global_tokens import (
    GlobalTokens,
    attend_global,
    attend_global_backward,
)
from genomeformer_cli.core.attention.kernels.key_tiles import (
    BLOCK,
    HIDDEN,
    Bias,
    KeyTiles,
    tiled_softmax_backward,
    tiled_softmax_forward,
)
from genomeformer_cli.core.attention.kernels.masked_attention import in_window


class _SlidingWindowAttention(torch.autograd.Function):
    """Softmax over a window and the global keys, if any."""

    @staticmethod
    def forward(
        ctx: Any,
        windows: KeyTiles,
        global_tokens: GlobalTokens | None,
        q_GLD: Tensor,
        k_GMD: Tensor,
        v_GMD: Tensor,
    ) -> Tensor:
        own_norm_GE = None
        with torch.autocast(q_GLD.device.type, enabled=False):
            out_GLD, log_norm_GL = tiled_softmax_forward(q_GLD, k_GMD, v_GMD, windows)
            if global_tokens is not None:
                log_norm_GL, own_norm_GE = attend_global(
                    out_GLD, log_norm_GL, (q_GLD, k_GMD, v_GMD), global_tokens
                )
        ctx.save_for_backward(q_GLD, k_GMD, v_GMD, out_GLD, log_norm_GL, own_norm_GE)
        ctx.windows, ctx.everywhere = windows, global_tokens
        return out_GLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_GLD: Tensor) -> tuple[Tensor | None, ...]:
        q_GLD, k_GMD, v_GMD, out_GLD, log_norm_GL, own_norm_GE = ctx.saved_tensors
        qkv = (q_GLD, k_GMD, v_GMD)
        with torch.autocast(q_GLD.device.type, enabled=False):
            inner_GL = torch.linalg.vecdot(out_GLD, grad_GLD)
            sums = tiled_softmax_backward(grad_GLD, inner_GL, log_norm_GL, qkv, ctx.windows)
            if ctx.everywhere is not None:
                saved = (out_GLD, inner_GL, log_norm_GL, own_norm_GE)
                attend_global_backward(grad_GLD, saved, qkv, sums, ctx.everywhere)
        return None, None, *sums


def sliding_window_attention(
    qkv: tuple[Tensor, Tensor, Tensor],
    seen_BM: Tensor | None,
    *,
    before: int,
    after: int,
    past: int = 0,
    global_tokens: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Attend to the keys from `before` positions to the left to `after` positions to the right.

    Args:
        qkv: Queries (B, H, L, D), keys and values (B, H, past + L, D), finite throughout.
        seen_BM: True at the visible keys (past + L); None if all are visible.
        before: Visible positions to the left.
        after: Visible positions to the right.
        past: Keys before the first query.
        global_tokens: Global positions: their indices (B, E), which of them exist (B, E), and which
            keys are real (B, L); `seen_BM` leaves them out, and `past` is 0.

    Returns:
        Output (B, H, L, D), float32 at least; finite where a query sees nothing.
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
    band_CK = _band(q_GLD, (block, width), front + past, (before, after))
    windows = KeyTiles(
        num_blocks=num_blocks,
        block=block,
        width=width,
        bias=_band_bias(band_CK, seen_BM, (front, past + length, back), heads),
    )
    q_GLD = _padded(q_GLD, 0, num_blocks * block - length)
    k_GMD, v_GMD = (_padded(x, front, back) for x in (k_GMD, v_GMD))
    more = None
    if global_tokens is not None:
        assert past == 0
        index_GE, exists_GE, real_GL = (
            tensor.repeat_interleave(heads, dim=0) for tensor in global_tokens
        )
        real_GM = functional.pad(real_GL, (front, back), value=False)
        hidden_GM = k_GMD.new_zeros(real_GM.shape).masked_fill(~real_GM, HIDDEN)
        more = GlobalTokens(index_GE=index_GE, exists_GE=exists_GE, bias_GM=hidden_GM, front=front)
    out_GLD: Tensor = _SlidingWindowAttention.apply(  # type: ignore[no-untyped-call]
        windows, more, q_GLD, k_GMD, v_GMD
    )
    return out_GLD[:, :length].view(batch, heads, length, -1)


def _padded(x_GLD: Tensor, front: int, back: int) -> Tensor:
    """Pad with rows of zeros at both ends; return the tensor itself if none are needed."""
    return functional.pad(x_GLD, (0, 0, front, back)) if front or back else x_GLD


def _in_groups(x_BHLD: Tensor) -> Tensor:
    """Merge batch and heads, in float32 at least."""
    return x_BHLD.to(torch.promote_types(x_BHLD.dtype, torch.float32)).flatten(0, 1)


def _band(like: Tensor, size: tuple[int, int], first: int, window: tuple[int, int]) -> Tensor:
    """Return (C, K): 0 where a query sees a key of its window, `HIDDEN` elsewhere.

    `first` is the index of the key at the position of the first query.
    """
    block, width = size
    query_C1 = torch.arange(block, device=like.device)[:, None] + first
    offset_CK = torch.arange(width, device=like.device) - query_C1
    return like.new_zeros(size).masked_fill(~in_window(offset_CK, *window), HIDDEN)


def _band_bias(
    band_CK: Tensor, seen_BM: Tensor | None, parts: tuple[int, int, int], heads: int
) -> Bias:
    """Return the band with hidden keys and added rows masked.

    Args:
        band_CK: Band.
        seen_BM: Visible keys, as in `sliding_window_attention`.
        parts: Number of rows added before the keys, of keys, and of rows added after them.
        heads: Number of heads, H.
    """
    block, width = band_CK.shape
    front, num_keys, back = parts
    seen_RM = band_CK.new_ones(1, num_keys, dtype=torch.bool) if seen_BM is None else seen_BM
    seen_RM = functional.pad(seen_RM, (front, back), value=False)
    hidden_RM = band_CK.new_zeros(seen_RM.shape).masked_fill(~seen_RM, HIDDEN)
    clean = _is_clean(seen_RM, block, width)

    def bias(groups: slice, blocks: slice) -> Tensor:
        first, last = blocks.start * block, (blocks.stop - 1) * block + width
        if clean(blocks):
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


def _is_clean(seen_RM: Tensor, block: int, width: int) -> Callable[[slice], bool]:
    """Return a test of whether the windows of some blocks hold only visible keys."""
    if seen_RM.device.type != "cpu":
        # To ask would be to wait.
        return lambda blocks: False
    so_far_M = functional.pad((~seen_RM).any(dim=0), (1, 0)).cumsum(0)
    before, up_to = so_far_M[::block].tolist(), so_far_M[width::block].tolist()
    return lambda blocks: bool(before[blocks.start] == up_to[blocks.stop - 1])
