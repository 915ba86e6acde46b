"""Base classes of mechanisms whose queries read sums over features of the keys, and values.

Shape letters: B batch, H heads, L length, M some of its positions, D head width, G gates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.feature_maps import FeatureMap
from genomeformer_cli.core.attention.kernels.linear_state import (
    Sums,
    causal_scan,
    init_state,
    query_state,
    sum_keys_values,
)
from genomeformer_cli.core.attention.streaming import StreamingAttention


class SummedAttention(nn.Module, ABC):
    """Bidirectional mechanism: one sum over the row, which every query reads."""

    @abstractmethod
    def features(self, like: Tensor) -> FeatureMap:
        """Return the feature map for inputs of the dtype of `like`."""

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Sum keys and values once, then let every query read the sum."""
        del gates_BHLG
        features = self.features(q_BHLD)
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
        return sum_keys_values(k_BHLD, v_BHLD, mask_BL, self.features(k_BHLD))

    def read(self, q_BHLD: Tensor, summary: Sums) -> Tensor:
        """Return the output of queries that read the sums of the row."""
        return query_state(q_BHLD, summary, self.features(q_BHLD))


class CausalSummedAttention(StreamingAttention):
    """Causal mechanism: every query reads the sums up to itself, any number of tokens at a time."""

    head_width: int  # Features per head, D.

    @abstractmethod
    def features(self, like: Tensor) -> FeatureMap:
        """Return the feature map for inputs of the dtype of `like`."""

    def start(self, batch: int, num_heads: int, like: Tensor) -> Sums:
        """Return the sums over no tokens."""
        num_features = self.features(like).num_features(self.head_width)
        return init_state((batch, num_heads, num_features, self.head_width), like)

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
        return causal_scan(q_BHLD, k_BHLD, v_BHLD, mask_BL, state, self.features(q_BHLD))
