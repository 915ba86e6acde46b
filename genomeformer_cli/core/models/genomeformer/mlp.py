"""Gated MLP of a block with its normalisation, as one operation that saves few activations.

Only the input, the first product and one scale per row are saved for the backward pass. On a CPU a
few hundred rows are processed at a time, so that intermediates stay in the cache.
Shape letters: N rows, E width, M hidden features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.cpu_blocking import (
    ROWS,
    add_product,
    as_weights,
    product_dtype,
    put_product,
    row_blocks,
    use_cpu_blocking,
)
from genomeformer_cli.core.attention.kernels.product_weights import left_factor, put_linear
from genomeformer_cli.core.attention.kernels.rms_norm import (
    RMSNorm,
    back_through_scale,
    rms_norm_reference,
    row_scales,
)

# Of one piece of what is kept. Larger ones than some 32 MiB the C library asks of the system anew
# each time, and first use of its pages takes as long as a third of the product that fills them.
_KEPT_ROWS = 2048


class GatedMLP(nn.Module):
    """SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BLE: Tensor, norm: RMSNorm, *, residual: bool = False) -> Tensor:
        """Normalise and mix the features of every position; add the input if `residual`."""
        gate_and_up, out = self.gate_and_up.weight, self.out.weight
        return gated_mlp(x_BLE, norm.weight, gate_and_up, out, residual=residual)


def gated_mlp_reference(
    x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor, *, residual: bool = False
) -> Tensor:
    """Normalise, then SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""
    normed = rms_norm_reference(x, gain_E)
    gate, up = functional.linear(normed, gate_and_up_2ME).chunk(2, dim=-1)
    added = functional.linear(functional.silu(gate) * up, down_EM)
    return x + added if residual else added


def gated_mlp(
    x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor, *, residual: bool = False
) -> Tensor:
    """Compute normalisation and SwiGLU; save the input, the first product and one scale per row."""
    x = as_weights(x, gain_E)
    if not use_cpu_blocking(x, gain_E, gate_and_up_2ME, down_EM):
        return gated_mlp_reference(x, gain_E, gate_and_up_2ME, down_EM, residual=residual)
    result: Tensor = _GatedMLP.apply(  # type: ignore[no-untyped-call]
        x, gain_E, gate_and_up_2ME, down_EM, residual
    )
    return result


def _block_of(pieces_NX: Sequence[Tensor], number: int) -> Tensor:
    """Return one block of rows of a tensor kept in pieces."""
    piece, block = divmod(number, _KEPT_ROWS // ROWS)
    return pieces_NX[piece][block * ROWS : (block + 1) * ROWS]


class _GatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,
        x: Tensor,
        gain_E: Tensor,
        gate_and_up_2ME: Tensor,
        down_EM: Tensor,
        residual: bool,  # noqa: FBT001
    ) -> Tensor:
        x_NE = x.reshape(-1, x.shape[-1])
        hidden = down_EM.shape[1]
        # The way back needs it; without one, a block's worth serves them all.
        has_gradient = any(ctx.needs_input_grad)
        firsts = range(0, len(x_NE), _KEPT_ROWS if has_gradient else max(len(x_NE), 1))
        most = _KEPT_ROWS if has_gradient else ROWS
        dtype = product_dtype(down_EM)
        first_2ME, second_EM = gate_and_up_2ME.to(dtype), down_EM.to(dtype)
        pieces_N2M = [
            x.new_empty(min(len(x_NE) - first, most), 2 * hidden, dtype=dtype) for first in firsts
        ]
        scale_N1 = x.new_empty(len(x_NE), 1)
        out_NE = torch.empty_like(x_NE, dtype=None if residual else dtype)
        for number, rows in enumerate(row_blocks(len(x_NE))):
            scale_N1[rows] = row_scales(x_NE[rows])
            normed_NE = (x_NE[rows] * scale_N1[rows]).mul_(gain_E).to(dtype)
            block_N2M = _block_of(pieces_N2M, number if has_gradient else 0)[: len(normed_NE)]
            put_linear(left_factor(normed_NE, first_2ME), first_2ME, block_N2M)
            gated_NM = functional.silu(block_N2M[:, :hidden]).mul_(block_N2M[:, hidden:])
            if residual:
                torch.add(x_NE[rows], functional.linear(gated_NM, second_EM), out=out_NE[rows])
            else:
                put_linear(left_factor(gated_NM, second_EM), second_EM, out_NE[rows])
        ctx.residual = residual
        if has_gradient:
            ctx.save_for_backward(x, gain_E, gate_and_up_2ME, down_EM, scale_N1, *pieces_N2M)
        return out_NE.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, gain_E, gate_and_up_2ME, down_EM, scale_N1, *pieces_N2M = ctx.saved_tensors
        x_NE = x.reshape(-1, x.shape[-1])
        dtype = pieces_N2M[0].dtype if pieces_N2M else d_out.dtype
        d_out_NE = d_out.reshape_as(x_NE)
        hidden = down_EM.shape[1]
        first_2ME, second_EM = gate_and_up_2ME.to(dtype), down_EM.to(dtype)
        d_x_NE = torch.empty_like(x_NE)
        d_gain_E = torch.zeros_like(gain_E)
        d_first_2ME, d_second_EM = torch.zeros_like(gate_and_up_2ME), torch.zeros_like(down_EM)
        for number, rows in enumerate(row_blocks(len(x_NE))):
            both_N2M = _block_of(pieces_N2M, number)
            gate_NM, up_NM = both_N2M[:, :hidden], both_N2M[:, hidden:]
            silu_NM = functional.silu(gate_NM)
            d_added_NE = d_out_NE[rows].to(dtype)
            d_gated_NM = torch.mm(d_added_NE, second_EM)
            d_both_N2M = torch.empty_like(both_N2M)
            torch.mul(d_gated_NM, silu_NM, out=d_both_N2M[:, hidden:])
            add_product(d_second_EM, d_added_NE.T, silu_NM.mul_(up_NM))
            torch.ops.aten.silu_backward.grad_input(
                d_gated_NM.mul_(up_NM), gate_NM, grad_input=d_both_N2M[:, :hidden]
            )
            unit_NE = x_NE[rows] * scale_N1[rows]
            add_product(d_first_2ME, d_both_N2M.T, (unit_NE * gain_E).to(dtype))
            d_rows_NE = put_product(d_x_NE[rows], d_both_N2M, first_2ME)
            d_gain_E += back_through_scale(d_rows_NE, unit_NE, scale_N1[rows], gain_E)
            if ctx.residual:
                d_rows_NE += d_out_NE[rows]
        return d_x_NE.view_as(x), d_gain_E, d_first_2ME, d_second_EM, None
