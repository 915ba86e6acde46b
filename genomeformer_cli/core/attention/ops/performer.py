"""Performer attention (FAVOR+): softmax attention by positive random features.

O(L F D) time for F features, and O(L D) memory: the backward pass recomputes the features. Unbiased
in numerator and denominator; the error falls as 1/sqrt(F). Bidirectional or causal.
Source: Choromanski et al. 2021, "Rethinking Attention with Performers", equations 4 to 7 and Lemma
1.
Shape letters: B batch, H heads, L length, F features, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.feature_maps import SoftmaxFeatures
from genomeformer_cli.core.attention.kernels.random_features import (
    LARGEST_LOG_FEATURE,
    log_positive_features,
    orthogonal_projection,
)
from genomeformer_cli.core.attention.summed import CausalSummedAttention, SummedAttention


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
        self.head_width = head_width
        self.register_buffer(
            "projection_FD", orthogonal_projection(num_features, head_width, generator=generator)
        )

    def redraw(self, generator: torch.Generator) -> None:
        """Draw another projection.

        The tensor is new, so that forward passes with the old one can still be differentiated.
        """
        drawn_FD = orthogonal_projection(*self.projection_FD.shape, generator=generator)
        self.projection_FD = drawn_FD.to(self.projection_FD)

    def features(self, like: Tensor) -> SoftmaxFeatures:
        """Return the random features of at least float32."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return SoftmaxFeatures(self.projection_FD.to(dtype))


class PerformerAttention(_Projected, SummedAttention):
    """Bidirectional performer attention.

    Args:
        num_features: Number of random features, F.
        head_width: Features per head, D.
        generator: Source of the projection.
    """


class CausalPerformerAttention(_Projected, CausalSummedAttention):
    """Causal performer attention.

    Args:
        num_features: Number of random features, F.
        head_width: Features per head, D.
        generator: Source of the projection.
    """
