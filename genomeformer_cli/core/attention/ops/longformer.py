"""Longformer attention: a window, and global positions that attend to all and are attended by all.

O(L (W + E) D) time and O(L D) memory for a window of W positions to either side and E global
positions: the first E real ones of a row. Every other position attends to its window and to the
global positions, each once. Local and global attention share their projections; Longformer has a
second set of projections for global attention, and agrees with this module if both are equal.
Source: Beltagy et al. 2020, "Longformer", section 3.1 (sliding window, global attention).
Shape letters: B batch, H heads, L length, W window, E global positions, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.fused import FLEX, use_fused
from genomeformer_cli.core.attention.kernels.masked_attention import (
    MaskRule,
    document_rule,
    masked_attention,
)
from genomeformer_cli.core.attention.kernels.sliding_window import sliding_window_attention
from genomeformer_cli.core.errors import ConfigError


def longformer_attention(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    *,
    window: int,
    num_global: int,
) -> Tensor:
    """Compute softmax over window and global keys, and over all keys for the global queries."""
    dtype = v_BHLD.dtype
    batch, _, length, _ = q_BHLD.shape
    real_BL = mask_BL
    if real_BL is None:
        real_BL = torch.ones(batch, length, dtype=torch.bool, device=q_BHLD.device)
    index_BE, is_global_BL = _global_positions(real_BL, num_global)
    if use_fused(FLEX, "longformer", q_BHLD):
        rule = MaskRule(before=window, after=window, real_BL=mask_BL, global_BL=is_global_BL)
        return masked_attention(q_BHLD, k_BHLD, v_BHLD, rule)
    if mask_BL is not None:
        padding_B1L1 = ~real_BL[:, None, :, None]
        q_BHLD, k_BHLD, v_BHLD = (x.masked_fill(padding_B1L1, 0) for x in (q_BHLD, k_BHLD, v_BHLD))
    q_BHLD, k_BHLD, v_BHLD = (
        x.to(torch.promote_types(dtype, torch.float32)) for x in (q_BHLD, k_BHLD, v_BHLD)
    )
    out_BHLD = sliding_window_attention(
        (q_BHLD, k_BHLD, v_BHLD),
        real_BL & ~is_global_BL,
        before=window,
        after=window,
        global_tokens=(index_BE, is_global_BL.gather(1, index_BE), real_BL),
    )
    if mask_BL is not None:
        out_BHLD = out_BHLD.masked_fill(padding_B1L1, 0)
    return out_BHLD.to(dtype)


def _global_positions(real_BL: Tensor, num_global: int) -> tuple[Tensor, Tensor]:
    """Return indices (B, E) of the first real positions, and a mask of those that exist."""
    is_global_BL = real_BL & (real_BL.cumsum(dim=1) <= num_global)
    order_BL = (~is_global_BL).to(torch.uint8).argsort(dim=1, stable=True)
    return order_BL[:, :num_global], is_global_BL


def longformer_attention_reference(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    *,
    window: int,
    num_global: int,
) -> Tensor:
    """Compute longformer attention through the L x L scores; empty queries are arbitrary."""
    batch, _, length, head_width = q_BHLD.shape
    seen_BLL = torch.zeros(batch, length, length, dtype=torch.bool)
    for row in range(batch):
        real = list(range(length))
        if mask_BL is not None:
            real = [position for position in real if mask_BL[row, position]]
        for query in real:
            for key in real:
                near = abs(query - key) <= window
                seen_BLL[row, query, key] = (
                    near or query in real[:num_global] or key in real[:num_global]
                )
    scores_BHLL = q_BHLD @ k_BHLD.transpose(-1, -2) / head_width**0.5
    scores_BHLL = scores_BHLL.masked_fill(~seen_BLL[:, None], torch.finfo(scores_BHLL.dtype).min)
    return torch.softmax(scores_BHLL, dim=-1) @ v_BHLD


class LongformerAttention(nn.Module):
    """Longformer attention without weights.

    Args:
        window: Positions to either side, W.
        num_global: Global positions, E.

    Raises:
        ConfigError: The window is empty or the number of global positions not positive.
    """

    def __init__(self, *, window: int, num_global: int) -> None:
        super().__init__()
        if window < 1 or num_global < 1:
            raise ConfigError(
                f"invalid longformer: a window of {window} positions and {num_global} global ones",
                hint="at least 1 each; without global positions the mechanism is `local`",
            )
        self.window = window
        self.num_global = num_global

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Attend."""
        assert gates_BHLG is None
        return longformer_attention(
            q_BHLD, k_BHLD, v_BHLD, mask_BL, window=self.window, num_global=self.num_global
        )

    def attend_documents(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, documents_BL: Tensor
    ) -> Tensor | None:
        """Attend within the documents of each row; None without a fused kernel."""
        if not use_fused(FLEX, "longformer", q_BHLD):
            return None
        rule = document_rule(
            documents_BL, before=self.window, after=self.window, num_global=self.num_global
        )
        return masked_attention(q_BHLD, k_BHLD, v_BHLD, rule)
