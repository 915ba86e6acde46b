"""Nystromformer attention: softmax attention through the means of M segments (landmarks).

    softmax(Q K~^T) pinv(softmax(Q~ K~^T)) softmax(Q~ K^T) V + convolution(V)

O(L M D + M^3) time and O(L D + M^2) memory: evaluated from the right, the outer factors are softmax
attention of landmarks to the sequence and of the sequence to landmarks, which torch fuses, so that
no L x M matrix is formed. For rows of at most M real positions the only difference to softmax
attention is the remaining error of the iterative inverse.
Source: Xiong et al. 2021, "Nystromformer: A Nystrom-Based Algorithm for Approximating
Self-Attention", equations 11 to 14.
Shape letters: B batch, H heads, L length, M landmarks, D head width, K kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.head_convolution import (
    convolve_heads,
    convolve_heads_reference,
)
from genomeformer_cli.core.attention.kernels.landmarks import filled_segments, segment_means
from genomeformer_cli.core.attention.kernels.pseudo_inverse import (
    pseudo_inverse_reference,
    pseudo_inverse_times,
)
from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class NystromformerOptions:
    """Options of nystromformer attention."""

    num_landmarks: int  # Number of landmarks, M; independent of L.
    iterations: int  # Steps of the pseudo-inverse.
    kernel_HK: Tensor | None  # Kernel of the added convolution of the values; None adds nothing.


def nystromformer_attention(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    options: NystromformerOptions,
) -> Tensor:
    """Attend over the positions where `mask_BL` is true (None: all).

    Args:
        q_BHLD: Queries.
        k_BHLD: Keys.
        v_BHLD: Values.
        mask_BL: True at real positions.
        options: Landmarks, iterations and the convolution of the values that is added.
    """
    if mask_BL is not None:
        padding_B1L1 = ~mask_BL[:, None, :, None]
        q_BHLD, k_BHLD, v_BHLD = (
            x_BHLD.masked_fill(padding_B1L1, 0.0) for x_BHLD in (q_BHLD, k_BHLD, v_BHLD)
        )
    filled_BM = _filled(q_BHLD, mask_BL, options.num_landmarks)
    landmark_q_BHMD = segment_means(q_BHLD, mask_BL, options.num_landmarks)
    landmark_k_BHMD = segment_means(k_BHLD, mask_BL, options.num_landmarks)
    middle_BHMM = _middle(landmark_q_BHMD, landmark_k_BHMD, filled_BM)
    gathered_BHMD = functional.scaled_dot_product_attention(
        landmark_q_BHMD.to(q_BHLD.dtype), k_BHLD, v_BHLD, attn_mask=_at_least_one(mask_BL)
    )
    solved_BHMD = pseudo_inverse_times(middle_BHMM, gathered_BHMD, options.iterations)
    out_BHLD = functional.scaled_dot_product_attention(
        q_BHLD,
        landmark_k_BHMD.to(q_BHLD.dtype),
        solved_BHMD.to(v_BHLD.dtype),
        attn_mask=None if filled_BM is None else filled_BM[:, None, None, :],
    )
    if options.kernel_HK is None:
        return out_BHLD
    return out_BHLD + convolve_heads(v_BHLD, options.kernel_HK)


def _filled(x_BHLD: Tensor, mask_BL: Tensor | None, num_landmarks: int) -> Tensor | None:
    """Return (B, M): True for landmarks of at least one position; None if all are."""
    if mask_BL is None:
        if x_BHLD.shape[2] >= num_landmarks:
            return None
        mask_BL = torch.ones(
            x_BHLD.shape[0], x_BHLD.shape[2], dtype=torch.bool, device=x_BHLD.device
        )
    filled_BM = filled_segments(mask_BL, num_landmarks)
    return None if bool(filled_BM.all()) else filled_BM


def _at_least_one(mask_BL: Tensor | None) -> Tensor | None:
    """Return a mask (B, 1, 1, L) for the fused kernel; rows without real positions are unmasked."""
    if mask_BL is None:
        return None
    return (mask_BL | ~mask_BL.any(dim=1, keepdim=True))[:, None, None, :]


def _middle(q_BHMD: Tensor, k_BHMD: Tensor, filled_BM: Tensor | None) -> Tensor:
    """Return softmax(Q~ K~^T), with rows and columns of empty landmarks set to 0."""
    with torch.autocast(q_BHMD.device.type, enabled=False):
        scores_BHMM = q_BHMD @ k_BHMD.mT * q_BHMD.shape[-1] ** -0.5
        if filled_BM is None:
            return torch.softmax(scores_BHMM, dim=-1)
        filled_B11M = filled_BM[:, None, None, :]
        middle_BHMM = torch.softmax(scores_BHMM.masked_fill(~filled_B11M, float("-inf")), dim=-1)
        return middle_BHMM * filled_B11M.mT


def nystromformer_attention_reference(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    options: NystromformerOptions,
) -> Tensor:
    """Compute nystromformer attention row by row with all factors formed."""
    out_BHLD = torch.zeros_like(v_BHLD)
    for row in range(len(q_BHLD)):
        kept_L = torch.ones_like(q_BHLD[row, 0, :, 0], dtype=torch.bool)
        kept_L = kept_L if mask_BL is None else mask_BL[row]
        q_HLD, k_HLD, v_HLD = (x_BHLD[row, :, kept_L] for x_BHLD in (q_BHLD, k_BHLD, v_BHLD))
        count = q_HLD.shape[1]
        if count == 0:
            continue
        landmarks = (
            torch.stack(
                [
                    part.mean(dim=1)
                    for part in x.tensor_split(min(options.num_landmarks, count), dim=1)
                ],
                dim=1,
            )
            for x in (q_HLD, k_HLD)
        )
        few_q_HMD, few_k_HMD = landmarks
        outer_HLM, middle_HMM, inner_HML = (
            torch.softmax(a @ b.mT / q_HLD.shape[-1] ** 0.5, dim=-1)
            for a, b in ((q_HLD, few_k_HMD), (few_q_HMD, few_k_HMD), (few_q_HMD, k_HLD))
        )
        inverse_HMM = pseudo_inverse_reference(middle_HMM, options.iterations)
        out_BHLD[row, :, kept_L] = outer_HLM @ inverse_HMM @ inner_HML @ v_HLD
    if options.kernel_HK is None:
        return out_BHLD
    real_v_BHLD = v_BHLD if mask_BL is None else v_BHLD * mask_BL[:, None, :, None]
    return out_BHLD + convolve_heads_reference(real_v_BHLD, options.kernel_HK)


class NystromformerAttention(nn.Module):
    """Nystromformer attention; holds the kernels of its residual convolution, if any.

    Args:
        num_heads: Number of heads, H.
        num_landmarks: Number of landmarks, M; 64 are usual.
        iterations: Steps of the pseudo-inverse; 6 are usual.
        kernel: Kernel size K of the depthwise convolution of the values; odd, 0 for none.
        generator: Source of the initial kernels.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self,
        *,
        num_heads: int,
        num_landmarks: int = 64,
        iterations: int = 6,
        kernel: int = 33,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if num_landmarks < 1 or iterations < 1:
            raise ConfigError(
                f"nystromformer with {num_landmarks} landmarks and {iterations} iterations",
                hint="at least one of each; 64 and 6 are usual",
            )
        if kernel < 0 or (kernel and kernel % 2 == 0):
            raise ConfigError(
                f"nystromformer with a convolution {kernel} positions wide",
                hint="an odd number, such as 33, or 0 for none",
            )
        self.num_landmarks = num_landmarks
        self.iterations = iterations
        self.kernel_HK = (
            nn.Parameter(torch.randn(num_heads, kernel, generator=generator) * kernel**-0.5)
            if kernel
            else None
        )

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
    ) -> Tensor:
        """Attend."""
        del gates_BHLG
        dials = NystromformerOptions(
            num_landmarks=self.num_landmarks, iterations=self.iterations, kernel_HK=self.kernel_HK
        )
        return nystromformer_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, dials)
