"""Softmax attention, exact; O(L^2) time, O(L) memory where torch has a fused kernel.

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1.
Shape letters: B batch, H heads, L length, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def softmax_attention(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over the positions where `mask_BL` is true (None: all)."""
    mask_B11L = None if mask_BL is None else mask_BL[:, None, None, :]
    return functional.scaled_dot_product_attention(q_BHLD, k_BHLD, v_BHLD, attn_mask=mask_B11L)


def softmax_attention_reference(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
) -> Tensor:
    """The same, written out."""
    scores_BHLL = q_BHLD @ k_BHLD.transpose(-1, -2) / q_BHLD.shape[-1] ** 0.5
    if mask_BL is not None:
        scores_BHLL = scores_BHLL.masked_fill(~mask_BL[:, None, None, :], float("-inf"))
    return torch.softmax(scores_BHLL, dim=-1) @ v_BHLD


class SoftmaxAttention(nn.Module):
    """Exact softmax attention; holds nothing."""

    def forward(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Attend."""
        return softmax_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL)
