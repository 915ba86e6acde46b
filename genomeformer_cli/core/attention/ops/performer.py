"""Performer attention (FAVOR+): softmax attention by positive random features.

O(L F D) time for F features, and O(L D) memory: the backward pass recomputes the features. Unbiased
in numerator and denominator; the error falls as 1/sqrt(F). Bidirectional or causal.
Source: Choromanski et al. 2021, "Rethinking Attention with Performers", equations 4 to 7 and Lemma
1.
Shape letters: B batch, H heads, L length, M some of its positions, F features, D head width, G
gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.feature_maps import SoftmaxFeatures
from genomeformer_cli.core.attention.kernels.linear_state import (
    Sums,
    causal_scan,
    init_state,
    query_state,
    sum_keys_values,
)
from genomeformer_cli.core.attention.kernels.random_features import (
    LARGEST_LOG_FEATURE,
    log_positive_features,
    orthogonal_projection,
)
from genomeformer_cli.core.attention.streaming import StreamingAttention


def performer_attention_reference(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    projection_FD: Tensor,
    *,
    causal: bool = False,
) -> Tensor:
    """Compute performer attention through the L x L matrix of kernel estimates."""
    phi_q_BHLF = torch.exp(log_positive_features(q_BHLD, projection_FD))
    log_k_BHLF = log_positive_features(k_BHLD, projection_FD)
    phi_k_BHLF = torch.exp(log_k_BHLF.clamp_max(LARGEST_LOG_FEATURE))
    kernel_BHLL = phi_q_BHLF @ phi_k_BHLF.transpose(-1, -2)
    if mask_BL is not None:
        kernel_BHLL = kernel_BHLL * mask_BL[:, None, None, :]
    if causal:
        kernel_BHLL = kernel_BHLL.tril()
    return (kernel_BHLL / kernel_BHLL.sum(dim=-1, keepdim=True).clamp_min(1e-300)) @ v_BHLD


class _Projected(nn.Module):
    """Base class of both directions; holds the projection, saved with the weights."""

    projection_FD: Tensor

    def __init__(self, *, num_features: int, head_width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer(
            "projection_FD", orthogonal_projection(num_features, head_width, generator=generator)
        )

    def redraw(self, generator: torch.Generator) -> None:
        """Draw another projection.

        The tensor is new, so that forward passes with the old one can still be differentiated.
        """
        drawn_FD = orthogonal_projection(*self.projection_FD.shape, generator=generator)
        self.projection_FD = drawn_FD.to(self.projection_FD)

    def _features(self, like: Tensor) -> SoftmaxFeatures:
        dtype = torch.promote_types(like.dtype, torch.float32)
        return SoftmaxFeatures(self.projection_FD.to(dtype))


class PerformerAttention(_Projected):
    """Bidirectional performer attention.

    Args:
        num_features: Number of random features, F.
        head_width: Features per head, D.
        generator: Source of the projection.
    """

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
        features = self._features(q_BHLD)
        return query_state(
            q_BHLD, sum_keys_values(k_BHLD, v_BHLD, mask_BL, features), features, mask_BL
        )

    def answer(
        self, q_BHMD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Attend from some positions."""
        return self.read(q_BHMD, self.summary(k_BHLD, v_BHLD, mask_BL))

    def summary(self, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None) -> Sums:
        """Return the sums over a slice of the row; they add up to those of the row."""
        return sum_keys_values(k_BHLD, v_BHLD, mask_BL, self._features(k_BHLD))

    def read(self, q_BHLD: Tensor, summary: Sums) -> Tensor:
        """Return the output of queries that read the sums of the row."""
        return query_state(q_BHLD, summary, self._features(q_BHLD))


class CausalPerformerAttention(_Projected, StreamingAttention):
    """Causal performer attention, any number of tokens at a time.

    Args:
        num_features: Number of random features, F.
        head_width: Features per head, D.
        generator: Source of the projection.
    """

    def start(self, batch: int, num_heads: int, like: Tensor) -> Sums:
        """Return the sums over no tokens."""
        num_features, head_width = self.projection_FD.shape
        return init_state((batch, num_heads, num_features, head_width), like)

    def step(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
        state: Sums,
    ) -> tuple[Tensor, Sums]:
        """Attend over the next tokens."""
        del gates_BHLG
        return causal_scan(q_BHLD, k_BHLD, v_BHLD, mask_BL, state, self._features(q_BHLD))
