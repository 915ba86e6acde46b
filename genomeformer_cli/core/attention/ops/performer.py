"""Performer attention (FAVOR+), bidirectional: softmax attention by positive random features.

O(L F D) time and O(L F) memory, where F is the number of features; unbiased, its error falls as
1/sqrt(F).
Source: Choromanski et al. 2021, "Rethinking Attention with Performers", equations 4 to 7 and Lemma
1.
Shape letters: B batch, H heads, L length, F features, D head width, G gates of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.features import log_positive_features, orthogonal_projection


def performer_attention(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None, projection_FD: Tensor
) -> Tensor:
    """Sum features of the keys and values once, then let every query read the sum.

    The stabilisers cancel between numerator and denominator: a query's own maximum, and one
    maximum over all real keys of the row and head, so that no row depends on another and padding
    changes nothing.
    """
    log_q_BHLF = log_positive_features(q_BHLD, projection_FD)
    log_k_BHLF = log_positive_features(k_BHLD, projection_FD)
    if mask_BL is not None:
        log_k_BHLF = log_k_BHLF.masked_fill(~mask_BL[:, None, :, None], float("-inf"))
    phi_q_BHLF = torch.exp(log_q_BHLF - log_q_BHLF.detach().amax(dim=-1, keepdim=True))
    largest_BH11 = log_k_BHLF.detach().amax(dim=(-1, -2), keepdim=True)
    largest_BH11 = largest_BH11.clamp_min(torch.finfo(log_k_BHLF.dtype).min)
    phi_k_BHLF = torch.exp(log_k_BHLF - largest_BH11)
    kv_BHFD = phi_k_BHLF.transpose(-1, -2) @ v_BHLD
    norm_BHL1 = phi_q_BHLF @ phi_k_BHLF.sum(dim=-2)[..., None]
    return (phi_q_BHLF @ kv_BHFD) / norm_BHL1.clamp_min(torch.finfo(norm_BHL1.dtype).tiny)


def performer_attention_reference(
    q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None, projection_FD: Tensor
) -> Tensor:
    """The same through the L x L matrix of kernel estimates, without stabilisers."""
    phi_q_BHLF = torch.exp(log_positive_features(q_BHLD, projection_FD))
    phi_k_BHLF = torch.exp(log_positive_features(k_BHLD, projection_FD))
    kernel_BHLL = phi_q_BHLF @ phi_k_BHLF.transpose(-1, -2)
    if mask_BL is not None:
        kernel_BHLL = kernel_BHLL * mask_BL[:, None, None, :]
    return (kernel_BHLL / kernel_BHLL.sum(dim=-1, keepdim=True)) @ v_BHLD


class PerformerAttention(nn.Module):
    """Performer attention; holds the projection of its features, saved with the weights.

    Args:
        num_features: F.
        head_width: D.
        generator: Draws the projection.
    """

    projection_FD: Tensor

    def __init__(self, *, num_features: int, head_width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer(
            "projection_FD", orthogonal_projection(num_features, head_width, generator=generator)
        )

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
        return performer_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, self.projection_FD)
