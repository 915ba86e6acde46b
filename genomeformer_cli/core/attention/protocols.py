"""What a mechanism offers: to attend over a whole row, and perhaps to do so slice by slice.

Every mechanism is a module whose `forward` takes queries, keys and values of whole rows. Those
that need not see a row at once say so by what else they offer: `Streaming` ones carry a bounded
state from left to right, `Additive` ones sum the row once and then read the sum, `Local` ones see
no further than their reach. The memory plans of `core/memory_plans` rest on these three alone.
`Selective` ones can leave out queries whose answers nobody wants.

Shape letters: B batch, H heads, L length, M some of its positions, D head width, G gates of a head.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

State = tuple[Tensor, ...]


class Attention(Protocol):
    """Attends over whole rows."""

    def __call__(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
    ) -> Tensor:
        """Mix the values (B, H, L, D).

        Args:
            q_BHLD: Queries.
            k_BHLD: Keys.
            v_BHLD: Values.
            mask_BL: True at real positions, None if all are. Padding reaches no real position;
                what is returned for it means nothing.
            gates_BHLG: Raw gates, for the mechanisms that ask for them.
        """


@runtime_checkable
class Streaming(Protocol):
    """A causal mechanism whose past is a state of bounded size, a tuple of floating tensors."""

    def start(self, batch: int, num_heads: int, like: Tensor) -> State:
        """The state before the first token, on the device of `like`."""

    def step(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
        state: State,
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens, any number of them; give their state to the next call."""


@runtime_checkable
class Additive(Protocol):
    """A bidirectional mechanism in which every query reads one sum over the row."""

    def summary(self, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None) -> State:
        """What a stretch adds to the sum; the sum of a row is that of its stretches."""

    def read(self, q_BHLD: Tensor, summary: State) -> Tensor:
        """Values (B, H, L, D) of queries that read the sum."""


@runtime_checkable
class Local(Protocol):
    """A mechanism in which no position sees beyond its neighbours.

    Attributes:
        reach: Positions to either side that are seen.
    """

    reach: int


@runtime_checkable
class Selective(Protocol):
    """A mechanism that, where it sees both sides, answers every query by itself."""

    def answer(
        self, q_BHMD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Values (B, H, M, D) of any number of queries, given the keys and values of whole rows."""
