"""Feature maps of the linear mechanisms, each with the gradient written out.

A map is computed twice, going forward and again going back, so that features, which are wider than
what they are made of, are never kept; in between it works in place.
Shape letters: R rows (any leading dimensions), F features, D head width.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.random_features import LARGEST_LOG_FEATURE


class FeatureMap(Protocol):
    """Positive features of queries and keys.

    Attributes:
        smallest_sum: What the denominator is kept above.
    """

    smallest_sum: float

    def num_features(self, head_width: int, /) -> int:
        """F."""

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """(R, F); may be scaled by any positive number a row, which the denominator cancels."""

    def keys(self, k_RD: Tensor, /) -> Tensor:
        """(R, F); each row a function of that key alone."""

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """(R, D): the gradient of the queries from that of their features, which it overwrites."""

    def keys_back(self, k_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """(R, D): the gradient of the keys from that of their features, which it overwrites."""


class EluFeatures:
    """elu(x) + 1: Katharopoulos et al. 2020, "Transformers are RNNs", equation 7."""

    smallest_sum = 1e-6

    def num_features(self, head_width: int, /) -> int:
        """As many as the head is wide."""
        return head_width

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """X + 1 where x is positive, e^x elsewhere: the larger of x + 1 and e^min(x, 0)."""
        return torch.maximum(q_RD + 1, q_RD.clamp_max(0).exp_())

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """The derivative is 1 where x is positive, e^x elsewhere: the feature, at most 1."""
        del q_RD
        return d_phi_RF.mul_(phi_RF.clamp_max(1))

    keys, keys_back = queries, queries_back


class SquaredFeatures:
    """Elementwise square, as in the published code of Likhosherstov et al. 2020 (SLiM)."""

    smallest_sum = 1e-6

    def num_features(self, head_width: int, /) -> int:
        """As many as the head is wide."""
        return head_width

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """x^2."""
        return q_RD.square()

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """2 x."""
        del phi_RF
        return d_phi_RF.mul_(q_RD).mul_(2)

    keys, keys_back = queries, queries_back


class SoftmaxFeatures:
    """Positive random features of the softmax kernel, as `log_positive_features` has them.

    A query is scaled so that its largest feature is 1. A key's features are not scaled at all: a
    scale that depended on other keys could not be summed slice by slice. They are kept below
    e^LARGEST_LOG_FEATURE instead, which no key reaches whose projection rows are shorter than
    sqrt(2 LARGEST_LOG_FEATURE).

    Args:
        projection_FD: As from `orthogonal_projection`.
    """

    # Far below what normalised queries and keys give, far above where 1 / sum overflows.
    smallest_sum = 1e-30

    def __init__(self, projection_FD: Tensor) -> None:
        self._projection_FD = projection_FD * projection_FD.shape[-1] ** -0.25
        # Elsewhere than on the CPU asking would cost a wait.
        self._can_be_too_large = projection_FD.device.type != "cpu" or bool(
            projection_FD.square().sum(dim=1).amax() > 2 * LARGEST_LOG_FEATURE
        )

    def num_features(self, head_width: int, /) -> int:
        """As many as the projection has rows."""
        del head_width
        return self._projection_FD.shape[0]

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """exp(w.q - max over w of w.q): |q|^2 / 2 would cancel."""
        log_RF = q_RD @ self._projection_FD.T
        return log_RF.sub_(log_RF.amax(dim=-1, keepdim=True)).exp_()

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """The maximum is a scale, whose gradient is zero."""
        del q_RD
        return d_phi_RF.mul_(phi_RF) @ self._projection_FD

    def keys(self, k_RD: Tensor, /) -> Tensor:
        """exp(min(w.k - |k|^2 / 2, LARGEST_LOG_FEATURE))."""
        log_RF = k_RD @ self._projection_FD.T
        half_R1 = k_RD.square().sum(dim=-1, keepdim=True).mul_(k_RD.shape[-1] ** -0.5 / 2)
        log_RF.sub_(half_R1)
        if self._can_be_too_large:
            log_RF.clamp_max_(LARGEST_LOG_FEATURE)
        return log_RF.exp_()

    def keys_back(self, k_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Phi (w - k), and nothing where the largest value was reached."""
        d_log_RF = d_phi_RF.mul_(phi_RF)
        if self._can_be_too_large:
            d_log_RF.masked_fill_(phi_RF >= math.exp(LARGEST_LOG_FEATURE), 0)
        d_half_R1 = d_log_RF.sum(dim=-1, keepdim=True)
        d_k_RD = d_log_RF @ self._projection_FD
        return d_k_RD.addcmul_(k_RD, d_half_R1, value=-(k_RD.shape[-1] ** -0.5))
