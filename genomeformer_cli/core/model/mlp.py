"""The gated MLP of a block, normalisation included, as one operation that keeps little.

Of all its intermediates only the input and the first product are kept for the way back; on a CPU
rows are taken some hundreds at a time, so that the rest stays in cache.
Shape letters: N rows, E width, M hidden features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.norm import (
    ROWS,
    RMSNorm,
    back_through_norm,
    blocks_of_rows,
    in_cache,
    normed_rows,
    rms_norm_reference,
)


class GatedMLP(nn.Module):
    """SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BLE: Tensor, norm: RMSNorm) -> Tensor:
        """Normalise, and mix the features of every position."""
        return gated_mlp(x_BLE, norm.weight, self.gate_and_up.weight, self.out.weight)


def gated_mlp_reference(
    x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor
) -> Tensor:
    """Normalise, then SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""
    normed = rms_norm_reference(x, gain_E)
    gate, up = functional.linear(normed, gate_and_up_2ME).chunk(2, dim=-1)
    return functional.linear(functional.silu(gate) * up, down_EM)


def gated_mlp(x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor) -> Tensor:
    """The same; only the input and the first product are kept."""
    if not in_cache(x, gain_E, gate_and_up_2ME, down_EM):
        return gated_mlp_reference(x, gain_E, gate_and_up_2ME, down_EM)
    result: Tensor = _GatedMLP.apply(  # type: ignore[no-untyped-call]
        x, gain_E, gate_and_up_2ME, down_EM
    )
    return result


class _GatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor
    ) -> Tensor:
        x_NE = x.reshape(-1, x.shape[-1])
        hidden = down_EM.shape[1]
        # The way back needs it; without one, a block's worth serves them all.
        kept = any(ctx.needs_input_grad)
        both_N2M = x.new_empty(len(x_NE) if kept else min(ROWS, len(x_NE)), 2 * hidden)
        out_NE = torch.empty_like(x_NE)
        for rows in blocks_of_rows(len(x_NE)):
            normed_NE, _ = normed_rows(x_NE[rows], gain_E)
            block_N2M = both_N2M[rows] if kept else both_N2M[: len(normed_NE)]
            torch.mm(normed_NE, gate_and_up_2ME.T, out=block_N2M)
            gated_NM = functional.silu(block_N2M[:, :hidden]).mul_(block_N2M[:, hidden:])
            torch.mm(gated_NM, down_EM.T, out=out_NE[rows])
        if kept:
            ctx.save_for_backward(x, gain_E, gate_and_up_2ME, down_EM, both_N2M)
        return out_NE.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, ...]:
        x, gain_E, gate_and_up_2ME, down_EM, both_N2M = ctx.saved_tensors
        x_NE = x.reshape(-1, x.shape[-1])
        d_out_NE = d_out.reshape_as(x_NE)
        hidden = down_EM.shape[1]
        d_x_NE = torch.empty_like(x_NE)
        d_gain_E = torch.zeros_like(gain_E)
        d_first, d_down_EM = torch.zeros_like(gate_and_up_2ME), torch.zeros_like(down_EM)
        for rows in blocks_of_rows(len(x_NE)):
            gate_NM, up_NM = both_N2M[rows, :hidden], both_N2M[rows, hidden:]
            silu_NM = functional.silu(gate_NM)
            d_gated_NM = torch.mm(d_out_NE[rows], down_EM)
            d_both_N2M = torch.empty_like(both_N2M[rows])
            torch.mul(d_gated_NM, silu_NM, out=d_both_N2M[:, hidden:])
            d_down_EM.addmm_(d_out_NE[rows].T, silu_NM.mul_(up_NM))
            d_both_N2M[:, :hidden] = torch.ops.aten.silu_backward(d_gated_NM.mul_(up_NM), gate_NM)
            normed_NE, scale_N1 = normed_rows(x_NE[rows], gain_E)
            d_first.addmm_(d_both_N2M.T, normed_NE)
            d_normed_NE = torch.mm(d_both_N2M, gate_and_up_2ME, out=normed_NE)
            d_x_NE[rows], d_gain = back_through_norm(d_normed_NE, x_NE[rows], scale_N1, gain_E)
            d_gain_E += d_gain
        return d_x_NE.view_as(x), d_gain_E, d_first, d_down_EM
