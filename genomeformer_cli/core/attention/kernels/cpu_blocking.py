"""Helpers for cache-blocked CPU kernels.

Plain torch keeps every intermediate and reads memory once for each. On a CPU `rms_norm`,
`projections`, the short convolution and the MLP process a few hundred rows at a time and recompute
cheap intermediates. On other devices their plain forms run, where kernels are launched one by one
and the compiler fuses them.

Under autocast, matrix products use the type of autocast and everything else that of the weights.

Shape letters: B batch, L length, N positions, E width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 512


def use_cpu_blocking(x: Tensor, *weights: Tensor) -> bool:
    """Return True on a CPU with weights of one type, outside of compilation."""
    return not torch.compiler.is_compiling() and all(
        weight.device.type == "cpu" and weight.dtype == x.dtype for weight in weights
    )


def as_weights(x: Tensor, weight: Tensor) -> Tensor:
    """Cast to the type of the weights on a CPU, where autocast may have changed it."""
    return x.to(weight.dtype) if x.device.type == "cpu" else x


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the type of matrix products with a tensor: that of autocast if it is active."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to a sum, whose precision may be higher than that of the factors."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def put_product(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Write a matrix product to an output, possibly of a higher precision."""
    if out.dtype == left.dtype:
        return torch.mm(left, right, out=out)
    return out.copy_(left @ right)


def row_blocks(num_rows: int) -> list[slice]:
    """Return blocks of rows that fit into the cache."""
    return [slice(first, first + ROWS) for first in range(0, num_rows, ROWS)]


@dataclass(frozen=True)
class PositionBlock:
    """Positions computed together: part of one row of a batch, or several whole rows."""

    rows: slice  # Rows of the batch.
    span: slice  # Positions within each row.

    def gather(self, x_BLE: Tensor) -> Tensor:
        """Return the positions as (N, E); a view if they are contiguous."""
        return x_BLE[self.rows, self.span].flatten(0, 1)


def position_blocks(batch: int, length: int) -> list[PositionBlock]:
    """Return blocks of a few hundred positions of a batch, in order."""
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
