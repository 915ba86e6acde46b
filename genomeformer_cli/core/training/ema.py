"""Exponential moving average of the weights (EMA), validated and saved beside them.

Polyak and Juditsky 1992; the decay rises from 0.1 to its value so that the average forgets the
random start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from genomeformer_cli.core.models.protocol import Model


class WeightAverage:
    """Averaged weights of a model.

    Args:
        model: Model to average; the average starts with its weights.
        decay: Fraction of the average kept per step.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.tensors: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after step `step` (0-based)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._model.named_parameters():
            self.tensors[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[Model]:
        """Yield the model with the averaged weights; restore its own weights at the end."""
        own = {name: parameter.data for name, parameter in self._model.named_parameters()}
        try:
            for name, parameter in self._model.named_parameters():
                parameter.data = self.tensors[name]
            yield self._model
        finally:
            for name, parameter in self._model.named_parameters():
                parameter.data = own[name]
