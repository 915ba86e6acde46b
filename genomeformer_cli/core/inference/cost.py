"""Cost and activation memory of a batch, padding included.

Shape letters: B batch, L length, M positions of the stack, E width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from genomeformer_cli.core.models.protocol import Model

# Activations that are alive at once: vectors of the widest layer, and vectors of features.
_VECTORS_PER_POSITION, _VECTORS_PER_TOKEN = 8, 4
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
    position_bytes: int  # Activation memory of one position of the stack.
    token_bytes: int  # Activation memory of one token.

    @classmethod
    def of_model(cls, model: Model) -> BatchCost:
        """Return the cost model of a model."""
        config = model.config
        tables = sum(
            module.weight.numel() for module in model.modules() if isinstance(module, nn.Embedding)
        )
        widest = max((p.shape[0] for p in model.parameters() if p.ndim == 2), default=config.width)
        # Each query of a causal stack is multiplied with half of the keys and values.
        visible = 1.0 if config.direction == "bidirectional" else 0.5
        scores = 2.0 * visible * config.depth * config.width
        return cls(
            patch=config.patch,
            weights=float(max(model.num_parameters - tables, 1)),
            scores=scores if model.is_quadratic else 0.0,
            position_bytes=_VECTORS_PER_POSITION * _BYTES_PER_NUMBER * max(widest, config.width),
            token_bytes=_VECTORS_PER_TOKEN * _BYTES_PER_NUMBER * model.feature_width,
        )

    def operations(self, num_rows: int, length: int) -> float:
        """Return the multiplications of a batch (B, L)."""
        positions = -(-length // self.patch)
        return num_rows * positions * (self.weights + self.scores * positions)

    def activation_bytes(self, num_rows: int, length: int) -> int:
        """Return the memory of the activations of a batch (B, L)."""
        positions = -(-length // self.patch)
        return num_rows * (positions * self.position_bytes + length * self.token_bytes)

    def demand(self, shapes: Iterable[tuple[int, int]]) -> Demand:
        """Return the demand of batches of the shapes (B, L)."""
        shapes = list(shapes)
        return Demand(
            [self.operations(*shape) for shape in shapes],
            [self.activation_bytes(*shape) for shape in shapes],
        )
