"""RMSNorm that saves only its input for the backward pass and is blocked for the CPU cache.

Shape letters: N rows, E width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.cpu_blocking import (
    as_weights,
    row_blocks,
    use_cpu_blocking,
)

EPSILON = 1e-6


class RMSNorm(nn.RMSNorm):
    """Root mean square layer normalisation (Zhang and Sennrich 2019, equation 4).

    Args:
        width: Number of features, E.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the features of every position to unit mean square, then by the weight."""
        return rms_norm(x, self.weight)


def rms_norm_reference(x: Tensor, gain_E: Tensor) -> Tensor:
    """Divide every row by its root mean square: Zhang and Sennrich 2019, equation 4."""
    return functional.rms_norm(x, (x.shape[-1],), gain_E.to(x.dtype), EPSILON)


def rms_norm(x: Tensor, gain_E: Tensor) -> Tensor:
    """Divide every row by its root mean square and multiply by the gain; save only the input."""
    x = as_weights(x, gain_E)
    if not use_cpu_blocking(x, gain_E):
        return rms_norm_reference(x, gain_E)
    result: Tensor = _RMSNorm.apply(x, gain_E)  # type: ignore[no-untyped-call]
    return result


def row_scales(x: Tensor) -> Tensor:
    """Return the inverse root mean square of each row (..., 1)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    epsilon = norm.new_full((), EPSILON)
    return torch.addcmul(epsilon, norm, norm, value=1 / x.shape[-1]).rsqrt_()


def back_through_scale(d_x: Tensor, unit: Tensor, scale: Tensor, gain: Tensor) -> Tensor:
    """Return the gradient of the gain; replace that of the normalised rows by that of the rows.

    Args:
        d_x: Gradient of unit times gain, (N, ..., E); replaced in place.
        unit: Rows of root mean square 1.
        scale: Factors that normalised the rows, (N, ..., 1).
        gain: Gain (..., E).
    """
    product = d_x * unit
    d_gain = product.sum(dim=0)
    along = product.mul_(gain).mean(dim=-1, keepdim=True)
    d_x.mul_(gain).addcmul_(unit, along, value=-1).mul_(scale)
    return d_gain


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain_E: Tensor) -> Tensor:
        x_NE = x.reshape(-1, x.shape[-1])
        out_NE, scale_N1 = torch.empty_like(x_NE), x_NE.new_empty(len(x_NE), 1)
        for rows in row_blocks(len(x_NE)):
            scale_N1[rows] = row_scales(x_NE[rows])
            torch.mul(x_NE[rows], scale_N1[rows], out=out_NE[rows]).mul_(gain_E)
        ctx.save_for_backward(x, gain_E, scale_N1)
        return out_NE.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor]:
        x, gain_E, scale_N1 = ctx.saved_tensors
        x_NE = x.reshape(-1, x.shape[-1])
        d_out_NE = d_out.reshape_as(x_NE)
        d_x_NE, d_gain_E = torch.empty_like(x_NE), torch.zeros_like(gain_E)
        for rows in row_blocks(len(x_NE)):
            d_rows_NE = d_x_NE[rows].copy_(d_out_NE[rows])
            unit_NE = x_NE[rows] * scale_N1[rows]
            d_gain_E += back_through_scale(d_rows_NE, unit_NE, scale_N1[rows], gain_E)
        return d_x_NE.view_as(x), d_gain_E
