"""Scan of the linear mechanisms along a sequence, in blocks of whole chunks.

A chunk is solved by one masked matrix product. A block is as many chunks as are computed at once,
so that memory holds one state per block and not the whole sequence.
Shape letters: B batch, H heads, L length, D head width, N blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genomeformer_cli.core.attention.protocols import State

# (parts of the block, its padding or None, state, shared) -> (output, state after the block)
BlockStep = Callable[
    [Sequence[Tensor], Tensor | None, State, Sequence[Tensor]], tuple[Tensor, State]
]

# Numbers in the largest temporary of a block: half of a core's cache, and enough for a GPU's.
_BLOCK_NUMBERS = {"cpu": 2**18}
_BLOCK_NUMBERS_ELSEWHERE = 2**25
# A block that autograd goes back through keeps several temporaries of that size.
NUMBERS_KEPT = 4


def working_dtype(tensor: Tensor) -> torch.dtype:
    """Return float64 for float64 and float32 for every other type."""
    return torch.promote_types(tensor.dtype, torch.float32)


def block_length(like_BHLD: Tensor, *, chunk: int, numbers_a_token: int) -> int:
    """Return the number of tokens, a multiple of `chunk`, of a block of bounded size."""
    budget = _BLOCK_NUMBERS.get(like_BHLD.device.type, _BLOCK_NUMBERS_ELSEWHERE)
    rows = like_BHLD.shape[0] * like_BHLD.shape[1]
    return max(budget // max(rows * numbers_a_token, 1) // chunk, 1) * chunk


def spans(length: int, *, chunk: int, block: int) -> list[slice]:
    """Return blocks of whole chunks from the left; the remainder is a block of one short chunk."""
    whole = length - length % chunk
    cut = [slice(start, min(start + block, whole)) for start in range(0, whole, block)]
    return [*cut, slice(whole, length)] if whole < length else cut


def padding_of(mask_BL: Tensor | None, span: slice) -> Tensor | None:
    """Return True at the padding of a span, broadcastable to (B, H, L, D)."""
    return None if mask_BL is None else ~mask_BL[:, None, span, None]


def filled(tensor_BHLD: Tensor, padding_B1L1: Tensor | None) -> Tensor:
    """Replace the values at padding, including NaN, by zeros."""
    return tensor_BHLD if padding_B1L1 is None else tensor_BHLD.masked_fill(padding_B1L1, 0)


def in_chunks(x: Tensor, dim: int, chunk: int) -> Tensor:
    """Split the dimension `dim` into chunks and positions of a chunk."""
    return x.reshape(*x.shape[:dim], -1, chunk, *x.shape[dim + 1 :])


def empty_heads(like_BHLD: Tensor) -> Tensor:
    """Allocate (B, H, L, D) in the memory order (B, L, H, D), so that joining the heads is free."""
    batch, heads, length, width = like_BHLD.shape
    return like_BHLD.new_empty(batch, length, heads, width).transpose(1, 2)


def scan(
    step: BlockStep,
    parts: Sequence[Tensor],
    mask_BL: Tensor | None,
    state: State,
    shared: Sequence[Tensor],
    *,
    cut: Sequence[slice],
) -> tuple[Tensor, State]:
    """Run `step` along the sequence; the backward pass recomputes each block from its first state.

    The gradients are exact. Only the inputs and one state per block are kept for them.
    Source: the principle of Likhosherstov et al. 2020, "Sub-Linear Memory: How to Make Performers
        SLiM", section 3.2, within one layer, with states that are stored instead of recovered.

    Args:
        step: Function that solves one block in plain differentiable operations.
        parts: Tensors (B, H, L, any); the first are the values, which give the shape of the output.
        mask_BL: True at real positions; None if all are real.
        state: State before the sequence, in the working dtype.
        shared: Tensors used by all blocks, such as weights.
        cut: Blocks in order.

    Returns:
        Output (B, H, L, D) and the state after the last position.
    """
    counts = (len(parts), len(state))
    tensors = (*parts, *state, *shared)
    out_BHLD, *after = _Scan.apply(step, cut, counts, mask_BL, *tensors)  # type: ignore[no-untyped-call]
    return out_BHLD, tuple(after)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        step: BlockStep,
        cut: Sequence[slice],
        counts: tuple[int, int],
        mask_BL: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        parts, state, shared = _split(tensors, counts)
        out_BHLD = empty_heads(parts[0])
        num_kept = len(cut) if any(ctx.needs_input_grad) else 0
        firsts = [tensor.new_empty(num_kept, *tensor.shape) for tensor in state]
        state = tuple(tensor.clone() for tensor in state)
        with torch.autocast(parts[0].device.type, enabled=False):
            for number, span in enumerate(cut):
                if num_kept:
                    for first, tensor in zip(firsts, state, strict=True):
                        first[number] = tensor
                block = [part[:, :, span] for part in parts]
                out_BHLD[:, :, span], state = step(block, padding_of(mask_BL, span), state, shared)
        ctx.step, ctx.cut, ctx.counts = step, cut, counts
        ctx.save_for_backward(mask_BL, *parts, *firsts, *shared)
        return (out_BHLD, *state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        mask_BL, *tensors = ctx.saved_tensors
        parts, firsts, shared = _split(tensors, ctx.counts)
        d_out_BHLD, d_state = gradients[0], gradients[1:]
        d_parts = [torch.empty_like(part) for part in parts]
        d_shared = [torch.zeros_like(tensor) for tensor in shared]
        for number in reversed(range(len(ctx.cut))):
            span = ctx.cut[number]
            block = [part[:, :, span] for part in parts]
            state = [first[number] for first in firsts]
            leaves = [tensor.detach().requires_grad_() for tensor in (*block, *state, *shared)]
            with torch.enable_grad(), torch.autocast(d_out_BHLD.device.type, enabled=False):
                inputs = _split(leaves, ctx.counts)
                out_BHLD, after = ctx.step(inputs[0], padding_of(mask_BL, span), *inputs[1:])
            leaf_gradients = torch.autograd.grad(
                (out_BHLD, *after), leaves, (d_out_BHLD[:, :, span], *d_state)
            )
            d_block, d_state, d_weights = _split(leaf_gradients, ctx.counts)
            for total, tensor in zip(d_parts, d_block, strict=True):
                total[:, :, span] = tensor
            for total, tensor in zip(d_shared, d_weights, strict=True):
                total += tensor
        return (None, None, None, None, *d_parts, *d_state, *d_shared)


def _split(
    tensors: Sequence[Tensor], counts: tuple[int, int]
) -> tuple[tuple[Tensor, ...], State, tuple[Tensor, ...]]:
    num_parts, num_states = counts
    last = num_parts + num_states
    return tuple(tensors[:num_parts]), tuple(tensors[num_parts:last]), tuple(tensors[last:])
