"""What operations share that work in cache.

Plain torch keeps every intermediate and sweeps through memory for each. On a CPU `rms_norm`,
`projections`, the short convolution and the MLP take rows some hundreds at a time, and compute
again what is cheap. Their plain forms are what runs on other devices, where kernels are launched
one by one and the compiler fuses them.

Under autocast they do what it would do: matrix products in its type, all else in that of the
weights.

Shape letters: B batch, L length, N positions, E width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 512


def use_cpu_blocking(x: Tensor, *weights: Tensor) -> bool:
    """Whether the fused forms serve: on a CPU, weights of one type, not being compiled."""
    return not torch.compiler.is_compiling() and all(
        one.device.type == "cpu" and one.dtype == x.dtype for one in weights
    )


def as_weights(x: Tensor, weight: Tensor) -> Tensor:
    """What autocast made of another type than the weights, on a CPU in theirs again."""
    return x.to(weight.dtype) if x.device.type == "cpu" else x


def product_dtype(weight: Tensor) -> torch.dtype:
    """What products with a weight on the CPU are computed in: what autocast says, if it is on."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return weight.dtype


def add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """Add a matrix product to a sum, which may be kept in more bits than what is multiplied."""
    if total.dtype == one.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other


def put_product(place: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Write a matrix product to a place that may be of more bits than what is multiplied."""
    if place.dtype == one.dtype:
        return torch.mm(one, other, out=place)
    return place.copy_(one @ other)


def row_blocks(num_rows: int) -> list[slice]:
    """Stretches of rows that stay in cache."""
    return [slice(first, first + ROWS) for first in range(0, num_rows, ROWS)]


@dataclass(frozen=True)
class PositionBlock:
    """What is worked on at once: a stretch of one row of a batch, or some whole rows.

    Attributes:
        rows: Of the batch.
        span: Within each of them.
    """

    rows: slice
    span: slice

    def gather(self, x_BLE: Tensor) -> Tensor:
        """(N, E); of what lies in one piece, a view."""
        return x_BLE[self.rows, self.span].flatten(0, 1)


def position_blocks(batch: int, length: int) -> list[PositionBlock]:
    """Some hundred positions of a batch each, in order."""
    if length > ROWS // 2:
        return [
            PositionBlock(slice(row, row + 1), slice(first, min(first + ROWS, length)))
            for row in range(batch)
            for first in range(0, length, ROWS)
        ]
    # What is shorter is taken whole.
    step = ROWS // max(length, 1)
    return [
        PositionBlock(slice(row, row + step), slice(0, length)) for row in range(0, batch, step)
    ]
