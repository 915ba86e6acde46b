"""Base class of causal mechanisms that compute whole rows as one step from the empty state.

Shape letters: B batch, H heads, L length, D head width, G gates of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from genomeformer_cli.core.attention.protocols import State


class StreamingAttention(nn.Module, ABC):
    """`Streaming` mechanism, defined by `start` and `step`, that attends over whole rows."""

    def forward(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None = None,
    ) -> Tensor:
        """Attend from the start of the row."""
        batch, heads = v_BHLD.shape[:2]
        state = self.start(batch, heads, v_BHLD)
        return self.step(q_BHLD, k_BHLD, v_BHLD, mask_BL, gates_BHLG, state)[0]

    @abstractmethod
    def start(self, batch: int, num_heads: int, like: Tensor) -> State:
        """Return the state before the first token, on the device of `like`."""

    @abstractmethod
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
