"""Feature maps of the linear mechanisms, with explicit gradients.

A map is computed in the forward pass and again in the backward pass, so that the features, which
are wider than their inputs, are never kept.
Shape letters: R rows (any leading dimensions), F features, D head width.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.random_features import LARGEST_LOG_FEATURE


class FeatureMap(Protocol):
    """Positive features of queries and keys."""

    smallest_sum: float  # Lower bound of the denominator.

    def num_features(self, head_width: int, /) -> int:
        """Return the number of features F."""

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """Return features (R, F), up to a positive scale per row, which the denominator cancels."""

    def keys(self, k_RD: Tensor, /) -> Tensor:
        """Return features (R, F); each row depends on its key only."""

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Return the gradient (R, D) of the queries; overwrite that of their features."""

    def keys_back(self, k_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Return the gradient (R, D) of the keys; overwrite that of their features."""


class EluFeatures:
    """elu(x) + 1: Katharopoulos et al. 2020, "Transformers are RNNs", equation 7."""

    smallest_sum = 1e-6

    def num_features(self, head_width: int, /) -> int:
        """Return the head width."""
        return head_width

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """Return x + 1 where x is positive, e^x elsewhere: the larger of x + 1 and e^min(x, 0)."""
        return torch.maximum(q_RD + 1, q_RD.clamp_max(0).exp_())

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Multiply by the derivative: 1 where x is positive, e^x elsewhere."""
        del q_RD
        return d_phi_RF.mul_(phi_RF.clamp_max(1))

    keys, keys_back = queries, queries_back


class SquaredFeatures:
    """Elementwise square, as in the published code of Likhosherstov et al. 2020 (SLiM)."""

    smallest_sum = 1e-6

    def num_features(self, head_width: int, /) -> int:
        """Return the head width."""
        return head_width

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """Return x^2."""
        return q_RD.square()

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Multiply by the derivative 2 x."""
        del phi_RF
        return d_phi_RF.mul_(q_RD).mul_(2)

    keys, keys_back = queries, queries_back


class SoftmaxFeatures:
    """Positive random features of the softmax kernel, see `log_positive_features`.

    A query is scaled so that its largest feature is 1. Features of a key are not scaled, because a
    scale that depended on other keys could not be summed slice by slice. They are limited to
    e^LARGEST_LOG_FEATURE, which no key reaches if the rows of its projection are shorter than
    sqrt(2 LARGEST_LOG_FEATURE).

    Args:
        projection_FD: Projection from `orthogonal_projection`.
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
        """Return the number of rows of the projection."""
        del head_width
        return self._projection_FD.shape[0]

    def queries(self, q_RD: Tensor, /) -> Tensor:
        """Return exp(w.q - max over w of w.q); |q|^2 / 2 would cancel."""
        log_RF = q_RD @ self._projection_FD.T
        return log_RF.sub_(log_RF.amax(dim=-1, keepdim=True)).exp_()

    def queries_back(self, q_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Propagate the gradient; the maximum is a scale, whose gradient is zero."""
        del q_RD
        return d_phi_RF.mul_(phi_RF) @ self._projection_FD

    def keys(self, k_RD: Tensor, /) -> Tensor:
        """Return exp(min(w.k - |k|^2 / 2, LARGEST_LOG_FEATURE))."""
        log_RF = k_RD @ self._projection_FD.T
        half_R1 = k_RD.square().sum(dim=-1, keepdim=True).mul_(k_RD.shape[-1] ** -0.5 / 2)
        log_RF.sub_(half_R1)
        if self._can_be_too_large:
            log_RF.clamp_max_(LARGEST_LOG_FEATURE)
        return log_RF.exp_()

    def keys_back(self, k_RD: Tensor, phi_RF: Tensor, d_phi_RF: Tensor, /) -> Tensor:
        """Multiply by phi (w - k), and by zero where the limit was reached."""
        d_log_RF = d_phi_RF.mul_(phi_RF)
        if self._can_be_too_large:
            d_log_RF.masked_fill_(phi_RF >= math.exp(LARGEST_LOG_FEATURE), 0)
        d_half_R1 = d_log_RF.sum(dim=-1, keepdim=True)
        d_k_RD = d_log_RF @ self._projection_FD
        return d_k_RD.addcmul_(k_RD, d_half_R1, value=-(k_RD.shape[-1] ** -0.5))
