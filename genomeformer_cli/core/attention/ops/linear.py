"""Linear attention: an elementwise positive feature map instead of the exponential.

    y_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j)

over all j, or j <= i. O(L D^2) time, O(L D) memory; the causal state has D (D + 1) numbers per
head.
Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 4 to 12; the square is the
feature of Likhosherstov et al. 2020, "Sub-Linear Memory: How to Make Performers SLiM".
Shape letters: B batch, H heads, L length, M some of its positions, F features, D head width, G
gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.feature_maps import (
    EluFeatures,
    FeatureMap,
    SquaredFeatures,
)
from genomeformer_cli.core.attention.kernels.linear_state import (
    Sums,
    causal_scan,
    init_state,
    query_state,
    sum_keys_values,
)
from genomeformer_cli.core.attention.streaming import StreamingAttention
from genomeformer_cli.core.errors import ConfigError

FEATURE_MAPS: dict[str, type[EluFeatures | SquaredFeatures]] = {
    "elu": EluFeatures,
    "squared": SquaredFeatures,
}


def linear_feature_map(name: str) -> FeatureMap:
    """Return the feature map of that name.

    Raises:
        ConfigError: The name is unknown; the hint lists the known names.
    """
    if name not in FEATURE_MAPS:
        known = ", ".join(f"`{known}`" for known in FEATURE_MAPS)
        raise ConfigError(f"unknown feature map `{name}`", hint=f"known: {known}")
    return FEATURE_MAPS[name]()


def linear_attention(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    feature_map: FeatureMap,
) -> Tensor:
    """Sum keys and values once, then let every query read the sum."""
    return query_state(
        q_BHLD, sum_keys_values(k_BHLD, v_BHLD, mask_BL, feature_map), feature_map, mask_BL
    )


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
    phi = torch.square if feature_map == "squared" else lambda x: nn.functional.elu(x) + 1
    kernel_BHLL = phi(q_BHLD) @ phi(k_BHLD).transpose(-1, -2)
    if mask_BL is not None:
        kernel_BHLL = kernel_BHLL * mask_BL[:, None, None, :]
    if causal:
        kernel_BHLL = kernel_BHLL.tril()
    return (kernel_BHLL / kernel_BHLL.sum(dim=-1, keepdim=True).clamp_min(1e-6)) @ v_BHLD


class LinearAttention(nn.Module):
    """Bidirectional linear attention without weights.

    Args:
        feature_map: `elu` (elu + 1) or `squared`.
    """

    def __init__(self, *, feature_map: str = "elu") -> None:
        super().__init__()
        self.feature_map = linear_feature_map(feature_map)

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
        return linear_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, self.feature_map)

    def answer(
        self, q_BHMD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Attend from some positions."""
        return self.read(q_BHMD, self.summary(k_BHLD, v_BHLD, mask_BL))

    def summary(self, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None) -> Sums:
        """Return the sums over a slice of the row; they add up to those of the row."""
        return sum_keys_values(k_BHLD, v_BHLD, mask_BL, self.feature_map)

    def read(self, q_BHLD: Tensor, summary: Sums) -> Tensor:
        """Return the output of queries that read the sums of the row."""
        return query_state(q_BHLD, summary, self.feature_map)


class CausalLinearAttention(StreamingAttention):
    """Causal linear attention without weights, any number of tokens at a time.

    Args:
        feature_map: `elu` (elu + 1) or `squared`.
        head_width: Features per head, D.
    """

    def __init__(self, *, feature_map: str = "elu", head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.feature_map = linear_feature_map(feature_map)

    def start(self, batch: int, num_heads: int, like: Tensor) -> Sums:
        """Return the sums over no tokens."""
        width = self.head_width
        num_features = self.feature_map.num_features(width)
        return init_state((batch, num_heads, num_features, width), like)

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
        return causal_scan(q_BHLD, k_BHLD, v_BHLD, mask_BL, state, self.feature_map)
