"""Continuation of rows by a causal model, token by token.

Shape letters: B rows, L length, E features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from genomeformer_cli.core.attention.protocols import State
    from genomeformer_cli.core.models.protocol import Model

# Tokens of a prompt that are read at a time.
_SLICE = 4_096


class Continuation(Protocol):
    """Rows of equal length that grow at the end."""

    def feed(self, tokens_BL: Tensor) -> Tensor:
        """Append tokens, and return the features (B, E) from which the next one is predicted."""


class RecomputedContinuation:
    """Continuation that reads the whole rows again for every token.

    Args:
        model: Causal model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokens_BL: Tensor | None = None

    def feed(self, tokens_BL: Tensor) -> Tensor:
        """Append tokens, and return the features (B, E) of the last one."""
        if self._tokens_BL is not None:
            tokens_BL = torch.cat((self._tokens_BL, tokens_BL), dim=1)
        self._tokens_BL = tokens_BL
        layers = (self._model.config.depth,)
        return self._model.framed_layers(tokens_BL, None, layers)[0][:, -1]


# Features (B, L, E) of the next tokens and the states after them, from states and a position.
Step = Callable[[Tensor, list["State"], int], tuple[Tensor, list["State"]]]


class SteppedContinuation:
    """Continuation that hands states from token to token, without reading any again.

    Args:
        step: Function that applies a stack of blocks to the next tokens.
        states: States before the first token.
        patch: Tokens per position of the stack; the tokens of an open patch are read again.
    """

    def __init__(self, step: Step, states: list[State], patch: int = 1) -> None:
        self._step = step
        self._states = states
        self._patch = patch
        self._position = 0
        self._open_BL: Tensor | None = None

    def feed(self, tokens_BL: Tensor) -> Tensor:
        """Append tokens, and return the features (B, E) of the last one."""
        if self._open_BL is not None:
            tokens_BL = torch.cat((self._open_BL, tokens_BL), dim=1)
        whole = tokens_BL.shape[1] // self._patch * self._patch
        size = max(_SLICE // self._patch, 1) * self._patch
        features_BLE: Tensor | None = None
        for start in range(0, whole, size):
            part_BL = tokens_BL[:, start : min(start + size, whole)]
            features_BLE, self._states = self._step(part_BL, self._states, self._position)
            self._position += part_BL.shape[1]
        self._open_BL = tokens_BL[:, whole:]
        if self._open_BL.shape[1]:
            features_BLE, _ = self._step(self._open_BL, self._states, self._position)
        assert features_BLE is not None, "at least one token"
        return features_BLE[:, -1]
