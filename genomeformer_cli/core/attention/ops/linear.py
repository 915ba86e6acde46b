"""Linear attention: an elementwise positive feature map instead of the exponential.

    y_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j)

over all j, or j <= i. O(L D^2) time, O(L D) memory; the causal state has D (D + 1) numbers per
head.
Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 4 to 12; the square is the
feature of Likhosherstov et al. 2020, "Sub-Linear Memory: How to Make Performers SLiM".
Shape letters: B batch, H heads, L length, F features, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.feature_maps import (
    EluFeatures,
    FeatureMap,
    SquaredFeatures,
)
from genomeformer_cli.core.attention.kernels.flash_linear import fused_causal_scan
from genomeformer_cli.core.attention.kernels.fused import FLASH_LINEAR, use_fused
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.attention.summed import CausalSummedAttention, SummedAttention
from genomeformer_cli.core.proposals import look_up

FEATURE_MAPS: dict[str, type[EluFeatures | SquaredFeatures]] = {
    "elu": EluFeatures,
    "squared": SquaredFeatures,
}


def linear_feature_map(name: str) -> FeatureMap:
    """Return the feature map of that name.

    Raises:
        ConfigError: The name is unknown; the hint lists the known names.
    """
    return look_up(FEATURE_MAPS, name, "feature map")()


def linear_attention_reference(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    *,
    feature_map: str,
    causal: bool,
) -> Tensor:
    """Compute linear attention through the L x L matrix of products of features."""
    phi = torch.square if feature_map == "squared" else lambda x: functional.elu(x) + 1
    kernel_BHLL = phi(q_BHLD) @ phi(k_BHLD).transpose(-1, -2)
    if mask_BL is not None:
        kernel_BHLL = kernel_BHLL * mask_BL[:, None, None, :]
    if causal:
        kernel_BHLL = kernel_BHLL.tril()
    return (kernel_BHLL / kernel_BHLL.sum(dim=-1, keepdim=True).clamp_min(1e-6)) @ v_BHLD


class LinearAttention(SummedAttention):
    """Bidirectional linear attention without weights.

    Args:
        feature_map: `elu` (elu + 1) or `squared`.
    """

    def __init__(self, *, feature_map: str = "elu") -> None:
        super().__init__()
        self.feature_map = linear_feature_map(feature_map)

    def features(self, like: Tensor) -> FeatureMap:
        """Return the feature map."""
        del like
        return self.feature_map


class CausalLinearAttention(CausalSummedAttention):
    """Causal linear attention without weights.

    Args:
        feature_map: `elu` (elu + 1) or `squared`.
        head_width: Features per head, D.
    """

    def __init__(self, *, feature_map: str = "elu", head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.feature_map = linear_feature_map(feature_map)

    def features(self, like: Tensor) -> FeatureMap:
        """Return the feature map."""
        del like
        return self.feature_map

    def step(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
        state: State,
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens."""
        if use_fused(FLASH_LINEAR, "linear", q_BHLD):
            return fused_causal_scan((q_BHLD, k_BHLD, v_BHLD), mask_BL, state, self.feature_map)
        return super().step(q_BHLD, k_BHLD, v_BHLD, mask_BL, gates_BHLG, state)
