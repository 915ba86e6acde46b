"""Softmax attention under a mask rule by torch's FlexAttention, which skips hidden blocks.

A rule states which keys a query sees. The mask of single positions and the list of visible blocks
are both computed from it, without the L x L matrix.
Source: Dong et al. 2024, "Flex Attention", arXiv 2412.05496.
Shape letters: B batch, R rows of a rule (B or 1), H heads, L length, D head width, N blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.chunked_scan import in_chunks
from genomeformer_cli.core.attention.kernels.fused import fused_dtype

BLOCK = 128
# Shapes, and modes of gradients, for which kernels may be made before torch gives up.
_MOST_VARIANTS = 64


def in_window(offset: Tensor, before: int | None, after: int | None) -> Tensor:
    """Return True where key position minus query position lies within a window.

    Args:
        offset: Position of the key minus that of the query.
        before: Visible positions to the left; None: all.
        after: Visible positions to the right; None: all.
    """
    visible = torch.ones_like(offset, dtype=torch.bool)
    if before is not None:
        visible = visible & (offset >= -before)
    if after is not None:
        visible = visible & (offset <= after)
    return visible


@dataclass(frozen=True, kw_only=True)
class MaskRule:
    """Keys that a query sees: within a window, of its document, real, or global."""

    before: int | None = None  # Visible positions to the left; None: all.
    after: int | None = None  # Visible positions to the right; None: all.
    real_BL: Tensor | None = None  # True at real positions; None: all are real.
    # True at positions that see, and are visible from, beyond the window.
    global_BL: Tensor | None = None
    # Number of the document of each position, which never falls along a row; None: one document.
    document_BL: Tensor | None = None

    def sees(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Return True where a query sees a key; the arguments are indices of one shape."""
        visible = in_window(key - query, self.before, self.after)
        if self.global_BL is not None:
            visible = visible | self.global_BL[row, query] | self.global_BL[row, key]
        if self.document_BL is not None:
            visible = visible & (self.document_BL[row, query] == self.document_BL[row, key])
        if self.real_BL is not None:
            visible = visible & self.real_BL[row, key]
        return visible

    def padded(self, like_BHLD: Tensor, surplus: int) -> MaskRule:
        """Return the rule of rows with padding added at the end."""
        if not surplus:
            return self
        real_BL = self.real_BL
        if real_BL is None:
            shape = like_BHLD.shape[0], like_BHLD.shape[2]
            real_BL = torch.ones(shape, dtype=torch.bool, device=like_BHLD.device)
        document_BL, global_BL = self.document_BL, self.global_BL
        if document_BL is not None:
            last_B1 = document_BL[:, -1:]
            document_BL = torch.cat((document_BL, last_B1.expand(-1, surplus)), dim=1)
        if global_BL is not None:
            global_BL = functional.pad(global_BL, (0, surplus), value=False)
        return MaskRule(
            before=self.before,
            after=self.after,
            real_BL=functional.pad(real_BL, (0, surplus), value=False),
            global_BL=global_BL,
            document_BL=document_BL,
        )

    def blocks(self, length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the visible blocks (R, N, N), query blocks by key blocks.

        Args:
            length: Positions per row, a multiple of `size`.
            size: Positions per block.
            device: Device of the result.

        Returns:
            True at blocks that may hold a visible pair, and at those whose pairs are all visible.
        """
        start_N = torch.arange(0, length, size, device=device)
        offset_NN = start_N[None, :] - start_N[:, None]
        nearest, farthest = offset_NN - (size - 1), offset_NN + (size - 1)
        # A window is an interval: it meets that of the offsets, or holds both its ends.
        touched = in_window(nearest, None, self.after) & in_window(farthest, self.before, None)
        whole = in_window(nearest, self.before, None) & in_window(farthest, None, self.after)
        touched, whole = touched[None], whole[None]
        if self.global_BL is not None:
            any_RN = in_chunks(self.global_BL, 1, size).any(dim=2)
            touched = touched | any_RN[:, :, None] | any_RN[:, None, :]
        if self.document_BL is not None:
            first_RN, last_RN = self.document_BL[:, ::size], self.document_BL[:, size - 1 :: size]
            meets = first_RN[:, :, None] <= last_RN[:, None, :]
            touched = touched & meets & meets.mT
            single = first_RN == last_RN
            equal = first_RN[:, :, None] == first_RN[:, None, :]
            whole = whole & equal & single[:, :, None] & single[:, None, :]
        if self.real_BL is not None:
            real_RNC = in_chunks(self.real_BL, 1, size)
            touched = touched & real_RNC.any(dim=2)[:, None, :]
            whole = whole & real_RNC.all(dim=2)[:, None, :]
        return touched, whole & touched


def document_rule(
    documents_BL: Tensor, *, before: int | None, after: int | None, num_global: int = 0
) -> MaskRule:
    """Return the rule of rows with several documents, which do not see each other.

    Args:
        documents_BL: Document numbers, negative at padding; equal neighbours are one document.
        before: Visible positions to the left; None: all.
        after: Visible positions to the right; None: all.
        num_global: First positions of each document that see, and are visible from, all of it.
    """
    starts_BL = torch.ones_like(documents_BL, dtype=torch.bool)
    starts_BL[:, 1:] = documents_BL[:, 1:] != documents_BL[:, :-1]
    global_BL = None
    if num_global:
        position_L = torch.arange(documents_BL.shape[1], device=documents_BL.device)
        first_BL = torch.where(starts_BL, position_L, 0).cummax(dim=1).values
        global_BL = position_L - first_BL < num_global
    return MaskRule(
        before=before,
        after=after,
        real_BL=documents_BL >= 0,
        global_BL=global_BL,
        document_BL=starts_BL.cumsum(dim=1),
    )


def masked_attention(q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, rule: MaskRule) -> Tensor:
    """Compute softmax attention under a rule; padding, and a query that sees nothing, get 0.

    Returns:
        Output (B, H, L, D) in the dtype of the values.
    """
    length = q_BHLD.shape[2]
    surplus = -length % BLOCK
    rule = rule.padded(q_BHLD, surplus)
    dtype = fused_dtype(q_BHLD)
    q, k, v = (_padded(x, rule.real_BL, surplus).to(dtype) for x in (q_BHLD, k_BHLD, v_BHLD))
    with torch.autocast(q.device.type, enabled=False):
        out_BHLD = _flex_attention(q, k, v, _block_mask(rule, length + surplus, q.device))
    out_BHLD = out_BHLD[:, :, :length].to(v_BHLD.dtype)
    if rule.real_BL is None:
        return out_BHLD
    return out_BHLD.masked_fill(~rule.real_BL[:, None, :length, None], 0)


def _padded(x_BHLD: Tensor, real_BL: Tensor | None, surplus: int) -> Tensor:
    """Append padding, and replace the values at all padding, including NaN, by zeros."""
    if surplus:
        x_BHLD = functional.pad(x_BHLD, (0, 0, 0, surplus))
    return x_BHLD if real_BL is None else x_BHLD.masked_fill(~real_BL[:, None, :, None], 0)


def _block_mask(rule: MaskRule, length: int, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import BlockMask

    touched, whole = rule.blocks(length, BLOCK, device)

    def mask(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del head
        return rule.sees(row, query, key)

    partial = _block_lists(touched & ~whole)
    return BlockMask.from_kv_blocks(*partial, *_block_lists(whole), BLOCK_SIZE=BLOCK, mask_mod=mask)


def _block_lists(blocks_RNN: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of key blocks of each query block, and their indices first."""
    counts_RN = blocks_RNN.sum(dim=-1, dtype=torch.int32)
    order_RNN = blocks_RNN.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return counts_RN[:, None], order_RNN.to(torch.int32)[:, None]


@cache
def _compiled() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    # Never silently eager, which would form the L x L matrix.
    compiled: Callable[..., Any] = torch.compile(flex_attention, fullgraph=True)
    return compiled


def _flex_attention(q: Tensor, k: Tensor, v: Tensor, block_mask: Any) -> Tensor:
    if torch.compiler.is_compiling():
        from torch.nn.attention.flex_attention import flex_attention

        traced: Tensor = flex_attention(q, k, v, block_mask=block_mask)
        return traced
    from torch._dynamo import config

    with config.patch(recompile_limit=_MOST_VARIANTS):
        out: Tensor = _compiled()(q, k, v, block_mask=block_mask)
    return out
