"""Protocols of attention mechanisms: whole rows, and optionally slice by slice.

Every mechanism is a module whose `forward(q_BHLD, k_BHLD, v_BHLD, mask_BL, gates_BHLG)` returns the
mixed values (B, H, L, D) of whole rows. The mask is True at real positions, None if all are real;
padding does not affect real positions, and the output at padding is undefined. Raw gates are for
the mechanisms that use them. Optional protocols declare more: `Streaming` mechanisms carry a
bounded state from left to right, `Additive` ones sum the row once and then read the sum, `Local`
ones see no further than their reach. The memory plans in `core/memory_plans` require only these
three. `Selective` mechanisms can skip queries, `DocumentMasked` ones can hide other documents of a
row.

Shape letters: B batch, H heads, L length, M some of its positions, D head width, G gates of a head.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

State = tuple[Tensor, ...]


@runtime_checkable
class Streaming(Protocol):
    """Causal mechanism whose past is a state of bounded size, a tuple of floating-point tensors."""

    def start(self, batch: int, num_heads: int, like: Tensor) -> State:
        """Return the state before the first token, on the device of `like`."""

    def step(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
        state: State,
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens, any number of them; return the state for the next call."""


@runtime_checkable
class Cached(Protocol):
    """Causal mechanism whose past is a cache of keys and values, which grows with every token."""

    def start_cache(self, batch: int, num_heads: int, like: Tensor) -> State:
        """Return the empty cache, on the device of `like`."""

    def step_cached(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, cache: State
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens, none of them padding; return the cache after them."""


@runtime_checkable
class Additive(Protocol):
    """Bidirectional mechanism in which every query reads one sum over the row."""

    def summary(self, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None) -> State:
        """Return the contribution of a slice to the sum; the sum of a row is that of its slices."""

    def read(self, q_BHLD: Tensor, summary: State) -> Tensor:
        """Return the values (B, H, L, D) of queries that read the sum."""


@runtime_checkable
class Local(Protocol):
    """Mechanism in which no position sees beyond its neighbours."""

    reach: int  # Number of visible positions to either side.


@runtime_checkable
class Selective(Protocol):
    """Bidirectional mechanism that computes every query independently."""

    def answer(
        self, q_BHMD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None
    ) -> Tensor:
        """Return the values (B, H, M, D) of any queries to whole rows."""


@runtime_checkable
class DocumentMasked(Protocol):
    """Mechanism with a fused kernel for rows that hold several documents."""

    def attend_documents(
        self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, documents_BL: Tensor
    ) -> Tensor | None:
        """Return the mixed values (B, H, L, D); None if each document is to have its own row."""
