"""Local attention: exact softmax over the positions within a window, bidirectional or causal.

O(L W D) time and O(L D) memory for a window of W positions to either side (bidirectional, 2 W + 1
in all) or to the left (causal, W + 1 in all). Positions include padding.
Source: Beltagy et al. 2020, "Longformer", section 3.1 (sliding window), without dilation.
Shape letters: B batch, H heads, L length, W window, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.fused import FLEX, refuse_fused, use_fused
from genomeformer_cli.core.attention.kernels.masked_attention import (
    MaskRule,
    document_rule,
    masked_attention,
)
from genomeformer_cli.core.attention.kernels.sliding_window import sliding_window_attention
from genomeformer_cli.core.errors import ConfigError


def local_attention(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    *,
    window: int,
    causal: bool,
) -> Tensor:
    """Attend to the real positions within the window; the output is 0 at padding."""
    after = 0 if causal else window
    if use_fused(FLEX, "local", q_BHLD):
        rule = MaskRule(before=window, after=after, real_BL=mask_BL)
        return masked_attention(q_BHLD, k_BHLD, v_BHLD, rule)
    if mask_BL is None:
        out_BHLD = sliding_window_attention(
            (q_BHLD, k_BHLD, v_BHLD), None, before=window, after=after
        )
        return out_BHLD.to(v_BHLD.dtype)
    padding_B1L1 = ~mask_BL[:, None, :, None]
    q, k, v = (x.masked_fill(padding_B1L1, 0) for x in (q_BHLD, k_BHLD, v_BHLD))
    out_BHLD = sliding_window_attention((q, k, v), mask_BL, before=window, after=after)
    return out_BHLD.masked_fill(padding_B1L1, 0).to(v_BHLD.dtype)


def local_attention_reference(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    *,
    window: int,
    causal: bool,
) -> Tensor:
    """Compute local attention through the L x L matrix of scores; empty queries are arbitrary."""
    position_L = torch.arange(q_BHLD.shape[2], device=q_BHLD.device)
    back_LL = position_L[:, None] - position_L
    seen_LL = (back_LL <= window) & (back_LL >= (0 if causal else -window))
    scores_BHLL = q_BHLD @ k_BHLD.transpose(-1, -2) / q_BHLD.shape[-1] ** 0.5
    if mask_BL is not None:
        seen_LL = seen_LL & mask_BL[:, None, None, :]
    scores_BHLL = scores_BHLL.masked_fill(~seen_LL, torch.finfo(scores_BHLL.dtype).min)
    return torch.softmax(scores_BHLL, dim=-1) @ v_BHLD


class LocalAttention(nn.Module):
    """Bidirectional local attention without weights.

    Args:
        window: Window W, the `reach` of the mechanism.

    Raises:
        ConfigError: The window is empty.
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.reach = _checked(window)

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
        return local_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, window=self.reach, causal=False)

    def attend_documents(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, documents_BL: Tensor
    ) -> Tensor | None:
        """Attend within the documents of each row; None without a fused kernel."""
        if not use_fused(FLEX, "local", q_BHLD):
            return None
        rule = document_rule(documents_BL, before=self.reach, after=self.reach)
        return masked_attention(q_BHLD, k_BHLD, v_BHLD, rule)


class CausalLocalAttention(nn.Module):
    """Causal local attention; its state holds the last W keys and values.

    Args:
        window: Window W, the `reach` of the mechanism.
        head_width: Features per head, D.

    Raises:
        ConfigError: The window is empty.
    """

    def __init__(self, *, window: int, head_width: int) -> None:
        super().__init__()
        self.reach = _checked(window)
        self.head_width = head_width

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
        return local_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, window=self.reach, causal=True)

    def attend_documents(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, documents_BL: Tensor
    ) -> Tensor | None:
        """Attend within the documents of each row; None without a fused kernel."""
        if not use_fused(FLEX, "local", q_BHLD):
            return None
        rule = document_rule(documents_BL, before=self.reach, after=0)
        return masked_attention(q_BHLD, k_BHLD, v_BHLD, rule)

    def start(self, batch: int, num_heads: int, like: Tensor) -> tuple[Tensor, ...]:
        """Return keys and values (B, H, W, D) and their mask (B, W), all masked.

        Args:
            batch: Number of rows, B.
            num_heads: Number of heads, H.
            like: Tensor that gives the device and the dtype (float32 at least).
        """
        dtype = torch.promote_types(like.dtype, torch.float32)
        k_BHWD = like.new_zeros(batch, num_heads, self.reach, self.head_width, dtype=dtype)
        return k_BHWD, k_BHWD.clone(), like.new_zeros(batch, self.reach, dtype=dtype)

    def step(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
        state: tuple[Tensor, ...],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Attend over the next positions; keep the last W of them."""
        assert gates_BHLG is None
        refuse_fused("local", "it goes slice by slice; use `--memory full`")
        if q_BHLD.shape[2] == 0:
            return v_BHLD, state
        if mask_BL is None:
            mask_BL = q_BHLD.new_ones(q_BHLD.shape[0], q_BHLD.shape[2], dtype=torch.bool)
        padding_B1L1 = ~mask_BL[:, None, :, None]
        q, k, v = (x.masked_fill(padding_B1L1, 0) for x in (q_BHLD, k_BHLD, v_BHLD))
        k = torch.cat((state[0], k.to(state[0].dtype)), dim=2)
        v = torch.cat((state[1], v.to(state[1].dtype)), dim=2)
        real = torch.cat((state[2], mask_BL.to(state[2].dtype)), dim=1)
        out_BHLD = sliding_window_attention(
            (q, k, v), real > 0, before=self.reach, after=0, past=self.reach
        )
        out_BHLD = out_BHLD.masked_fill(padding_B1L1, 0).to(v_BHLD.dtype)
        next_state = (k[:, :, -self.reach :], v[:, :, -self.reach :], real[:, -self.reach :])
        return out_BHLD, next_state


def _checked(window: int) -> int:
    if window < 1:
        raise ConfigError(
            f"invalid local window of {window} positions: it contains no neighbour",
            hint="64 to 512 are usual",
        )
    return window
