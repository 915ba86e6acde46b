"""Random features of the softmax kernel, shared by the mechanisms that approximate it.

Shape letters: B batch, H heads, L length, F features, D head width, N blocks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Features of keys stay below e^60: a sum of 2^30 of them is still a float32.
LARGEST_LOG_FEATURE = 60.0


def orthogonal_projection(
    num_features: int, head_width: int, *, generator: torch.Generator
) -> Tensor:
    """Return rows that are N(0, I) each and orthogonal to each other in blocks of `head_width`.

    Source: Choromanski et al. 2021, "Rethinking Attention with Performers", section 3.2
        (orthogonal random features).

    Returns:
        (F, D) float32.
    """
    num_blocks = math.ceil(num_features / head_width)
    gaussian_NDD = torch.randn(num_blocks, head_width, head_width, generator=generator)
    orthogonal_NDD, triangular_NDD = torch.linalg.qr(gaussian_NDD)
    # LAPACK leaves the signs of R's diagonal to its reflections; only positive ones give a
    # uniformly distributed Q (Mezzadri 2007, arXiv math-ph/0609050, section 5).
    signs_ND = triangular_NDD.diagonal(dim1=-2, dim2=-1).sign()
    directions_FD = (orthogonal_NDD * signs_ND[:, None]).mT.reshape(-1, head_width)[:num_features]
    norms_F = torch.randn(num_features, head_width, generator=generator).norm(dim=1)
    return directions_FD * norms_F[:, None]


def log_positive_features(x_BHLD: Tensor, projection_FD: Tensor) -> Tensor:
    """Return the logarithm of the positive features of the softmax kernel: w.x - |x|^2 / 2.

    x is scaled by D^(-1/4) first.

    Source: Choromanski et al. 2021, Lemma 1: softmax kernel exp(q.k / sqrt(D)) = E[exp(w.q -
        |q|^2/2) exp(w.k - |k|^2/2)].

    Returns:
        (B, H, L, F), not yet exponentiated so that the caller can subtract a stabiliser.
    """
    x_BHLD = x_BHLD * x_BHLD.shape[-1] ** -0.25
    projected_BHLF = x_BHLD @ projection_FD.T
    return projected_BHLF - x_BHLD.square().sum(dim=-1, keepdim=True) / 2
