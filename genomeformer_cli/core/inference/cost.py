"""Cost and activation memory of a batch, padding included.

Shape letters: B batch, L length, M positions of the stack, E width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from genomeformer_cli.core.models.protocol import Model

# Activations that are alive at once, in float32 vectors of the widest layer per position.
_VECTORS_PER_POSITION = 8
_BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class Demand:
    """Cost and memory of each of some tasks."""

    costs: Sequence[float]  # Relative cost of each task.
    num_bytes: Sequence[int]  # Activation memory of each task.


@dataclass(frozen=True, kw_only=True)
class BatchCost:
    """Cost model of the forward pass of a model."""

    patch: int  # Tokens per position of the stack.
    weights: float  # Weights of matrix products, used once per position.
    scores: float  # Multiplications per pair of positions; 0 unless the time is quadratic.
    vector_bytes: int  # Activation memory of one position.

    @classmethod
    def of_model(cls, model: Model) -> BatchCost:
        """Return the cost model of a model."""
        config = model.config
        tables = sum(
            module.weight.numel() for module in model.modules() if isinstance(module, nn.Embedding)
        )
        widest = max((p.shape[0] for p in model.parameters() if p.ndim == 2), default=config.width)
        return cls(
            patch=config.patch,
            weights=float(max(model.num_parameters - tables, 1)),
            scores=2.0 * config.depth * config.width if model.is_quadratic else 0.0,
            vector_bytes=_VECTORS_PER_POSITION * _BYTES_PER_NUMBER * max(widest, config.width),
        )

    def operations(self, num_rows: int, length: int) -> float:
        """Return the multiplications of a batch (B, L)."""
        positions = -(-length // self.patch)
        return num_rows * positions * (self.weights + self.scores * positions)

    def activation_bytes(self, num_rows: int, length: int) -> int:
        """Return the memory of the activations of a batch (B, L)."""
        return num_rows * length * self.vector_bytes

    def demand(self, shapes: Iterable[tuple[int, int]]) -> Demand:
        """Return the demand of batches of the shapes (B, L)."""
        shapes = list(shapes)
        return Demand(
            [self.operations(*shape) for shape in shapes],
            [self.activation_bytes(*shape) for shape in shapes],
        )
