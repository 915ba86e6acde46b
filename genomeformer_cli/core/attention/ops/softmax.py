"""Exact softmax attention; O(L^2) time, O(L) memory where torch has a fused kernel.

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1.
Shape letters: B batch, H heads, L length, M some of its positions, D head width, G gates of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.fused import FLEX, use_fused
from genomeformer_cli.core.attention.kernels.masked_attention import (
    document_rule,
    masked_attention,
)
from genomeformer_cli.core.attention.protocols import State

# On a CPU in bfloat16 the fused kernel's way back works on blocks that shorter rows do not fill.
_SHORT = 128


def softmax_attention(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None, *, causal: bool = False
) -> Tensor:
    """Compute softmax(q k^T / sqrt(D)) v over the positions where `mask_BL` is true (None: all)."""
    if _is_slow(q_BHLD):
        with torch.autocast("cpu", enabled=False):
            q, k, v = (tensor.float() for tensor in (q_BHLD, k_BHLD, v_BHLD))
            return softmax_attention(q, k, v, mask_BL, causal=causal).to(q_BHLD.dtype)
    if mask_BL is None or (causal and _is_padded_at_the_end(mask_BL)):
        return functional.scaled_dot_product_attention(q_BHLD, k_BHLD, v_BHLD, is_causal=causal)
    mask_B1LL = _visible_keys(mask_BL, causal=causal)
    return functional.scaled_dot_product_attention(q_BHLD, k_BHLD, v_BHLD, attn_mask=mask_B1LL)


def _is_slow(q_BHLD: Tensor) -> bool:
    """Return True if the backward pass of torch is much slower in bfloat16 than in float32."""
    on_cpu = q_BHLD.device.type == "cpu" and not torch.compiler.is_compiling()
    short = q_BHLD.shape[2] <= _SHORT
    return on_cpu and short and q_BHLD.requires_grad and q_BHLD.dtype == torch.bfloat16


def softmax_attention_reference(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None, *, causal: bool = False
) -> Tensor:
    """Compute softmax attention with the matrix of scores formed."""
    scores_BHLL = q_BHLD @ k_BHLD.transpose(-1, -2) / q_BHLD.shape[-1] ** 0.5
    if mask_BL is None:
        mask_BL = torch.ones(len(q_BHLD), q_BHLD.shape[2], dtype=torch.bool, device=q_BHLD.device)
    scores_BHLL = scores_BHLL.masked_fill(~_visible_keys(mask_BL, causal=causal), float("-inf"))
    return torch.softmax(scores_BHLL, dim=-1) @ v_BHLD


def _is_padded_at_the_end(mask_BL: Tensor) -> bool:
    """Return True if no real position follows padding."""
    return bool((mask_BL[:, 1:] <= mask_BL[:, :-1]).all())


def _visible_keys(mask_BL: Tensor, *, causal: bool) -> Tensor:
    """Return the keys visible to each query; a query without any sees all."""
    length = mask_BL.shape[1]
    visible_B11L = mask_BL[:, None, None, :]
    if causal:
        past_LL = torch.ones(length, length, dtype=torch.bool, device=mask_BL.device).tril()
        visible_B11L = visible_B11L & past_LL
    return visible_B11L | ~visible_B11L.any(dim=-1, keepdim=True)


class SoftmaxAttention(nn.Module):
    """Exact softmax attention without weights.

    Args:
        causal: True if a position sees only itself and earlier ones.
    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Attend."""
        del gates_BHLG
        return softmax_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, causal=self.causal)

    def attend_documents(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, documents_BL: Tensor
    ) -> Tensor | None:
        """Attend within the documents of each row; None without a fused kernel."""
        if not use_fused(FLEX, "softmax", q_BHLD):
            return None
        rule = document_rule(documents_BL, before=None, after=0 if self.causal else None)
        return masked_attention(q_BHLD, k_BHLD, v_BHLD, rule)

    def start_cache(self, batch: int, num_heads: int, like: Tensor) -> State:
        """Return the empty cache of keys and values."""
        empty_BH0D = like.new_zeros(batch, num_heads, 0, 0)
        return empty_BH0D, empty_BH0D

    def step_cached(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, cache: State
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens, and the keys and values of all earlier ones."""
        assert self.causal
        past = cache[0].shape[2]
        if past:
            k_BHLD = torch.cat((cache[0], k_BHLD), dim=2)
            v_BHLD = torch.cat((cache[1], v_BHLD), dim=2)
        length = q_BHLD.shape[2]
        seen_LM = None
        if length > 1:
            seen_LM = torch.ones(
                length, past + length, dtype=torch.bool, device=q_BHLD.device
            ).tril(past)
        mixed_BHLD = functional.scaled_dot_product_attention(
            q_BHLD, k_BHLD, v_BHLD, attn_mask=seen_LM
        )
        return mixed_BHLD, (k_BHLD, v_BHLD)

    def answer(
        self, q_BHMD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Attend from some positions to whole rows, bidirectionally."""
        assert not self.causal
        return softmax_attention(q_BHMD, k_BHLD, v_BHLD, mask_BL)
