"""The row-wise parts of a block, each as one operation that keeps little and works in cache.

Plain torch keeps every intermediate of a normalisation, a projection and a gate for the way back,
and sweeps through memory for each; on a CPU that is half the time of a step and most of its memory.
Here rows are taken some hundreds at a time, what is cheap is computed again, and only what is dear
(products of matrices) is kept. The plain forms stand beside as references, and are what runs on
other devices, where kernels are launched one by one and the compiler fuses them.

Shape letters: N rows, E width, M hidden features of the MLP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

EPSILON = 1e-6
_ROWS = 256


def rms_norm_reference(x: Tensor, gain_E: Tensor) -> Tensor:
    """Divide every row by its root mean square: Zhang and Sennrich 2019, equation 4."""
    return functional.rms_norm(x, (x.shape[-1],), gain_E, EPSILON)


def rms_norm(x: Tensor, gain_E: Tensor) -> Tensor:
    """The same; only the input is kept."""
    if not _in_cache(x, gain_E):
        return rms_norm_reference(x, gain_E)
    result: Tensor = _RMSNorm.apply(x, gain_E)  # type: ignore[no-untyped-call]
    return result


def gated_mlp_reference(
    x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor
) -> Tensor:
    """Normalise, then SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""
    normed = rms_norm_reference(x, gain_E)
    gate, up = functional.linear(normed, gate_and_up_2ME).chunk(2, dim=-1)
    return functional.linear(functional.silu(gate) * up, down_EM)


def gated_mlp(x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor) -> Tensor:
    """The same; only the input and the first product are kept."""
    if not _in_cache(x, gain_E, gate_and_up_2ME, down_EM):
        return gated_mlp_reference(x, gain_E, gate_and_up_2ME, down_EM)
    result: Tensor = _GatedMLP.apply(  # type: ignore[no-untyped-call]
        x, gain_E, gate_and_up_2ME, down_EM
    )
    return result


def _in_cache(*tensors: Tensor) -> bool:
    """Whether the fused forms serve: on a CPU, in one precision, not being compiled."""
    plain = (
        torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or any(one.device.type != "cpu" or one.dtype != tensors[0].dtype for one in tensors)
    )
    return not plain


def _blocks(num_rows: int) -> list[slice]:
    return [slice(first, first + _ROWS) for first in range(0, num_rows, _ROWS)]


def _normed(x_NE: Tensor, gain_E: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised rows, and the inverse root mean square of each."""
    scale_N1 = _scale(x_NE)
    return (x_NE * scale_N1).mul_(gain_E), scale_N1


def _scale(x_NE: Tensor) -> Tensor:
    norm_N1 = torch.linalg.vector_norm(x_NE, dim=-1, keepdim=True)
    return norm_N1.square_().div_(x_NE.shape[-1]).add_(EPSILON).rsqrt_()


def _back_through_norm(
    d_normed_NE: Tensor, x_NE: Tensor, scale_N1: Tensor, gain_E: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of rows and gain, from that of the normalised rows (which is used up)."""
    unit_NE = x_NE * scale_N1
    d_gain_E = (d_normed_NE * unit_NE).sum(dim=0)
    d_unit_NE = d_normed_NE.mul_(gain_E)
    along_N1 = (d_unit_NE * unit_NE).mean(dim=-1, keepdim=True)
    return d_unit_NE.addcmul_(unit_NE, along_N1, value=-1).mul_(scale_N1), d_gain_E


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain_E: Tensor) -> Tensor:
        x_NE = x.reshape(-1, x.shape[-1])
        out_NE = torch.empty_like(x_NE)
        for rows in _blocks(len(x_NE)):
            out_NE[rows] = _normed(x_NE[rows], gain_E)[0]
        ctx.save_for_backward(x, gain_E)
        return out_NE.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor]:
        x, gain_E = ctx.saved_tensors
        x_NE = x.reshape(-1, x.shape[-1])
        d_out_NE = d_out.reshape_as(x_NE)
        d_x_NE, d_gain_E = torch.empty_like(x_NE), torch.zeros_like(gain_E)
        for rows in _blocks(len(x_NE)):
            d_normed_NE = d_out_NE[rows].clone()
            scale_N1 = _scale(x_NE[rows])
            d_x_NE[rows], d_gain = _back_through_norm(d_normed_NE, x_NE[rows], scale_N1, gain_E)
            d_gain_E += d_gain
        return d_x_NE.view_as(x), d_gain_E


class _GatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain_E: Tensor, gate_and_up_2ME: Tensor, down_EM: Tensor
    ) -> Tensor:
        x_NE = x.reshape(-1, x.shape[-1])
        hidden = down_EM.shape[1]
        # The way back needs it; without one, a block's worth serves them all.
        kept = any(ctx.needs_input_grad)
        both_N2M = x.new_empty(len(x_NE) if kept else min(_ROWS, len(x_NE)), 2 * hidden)
        out_NE = torch.empty_like(x_NE)
        for rows in _blocks(len(x_NE)):
            normed_NE, _ = _normed(x_NE[rows], gain_E)
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
        for rows in _blocks(len(x_NE)):
            gate_NM, up_NM = both_N2M[rows, :hidden], both_N2M[rows, hidden:]
            sigmoid_NM = torch.sigmoid(gate_NM)
            silu_NM = gate_NM * sigmoid_NM
            d_gated_NM = torch.mm(d_out_NE[rows], down_EM)
            d_down_EM.addmm_(d_out_NE[rows].T, silu_NM * up_NM)
            d_both_N2M = torch.empty_like(both_N2M[rows])
            torch.mul(d_gated_NM, silu_NM, out=d_both_N2M[:, hidden:])
            # d silu(g) / d g = s (1 + g (1 - s)) = s + silu (1 - s)
            slope_NM = sigmoid_NM.addcmul_(silu_NM, 1 - sigmoid_NM)
            torch.mul(d_gated_NM.mul_(up_NM), slope_NM, out=d_both_N2M[:, :hidden])
            normed_NE, scale_N1 = _normed(x_NE[rows], gain_E)
            d_first.addmm_(d_both_N2M.T, normed_NE)
            d_normed_NE = torch.mm(d_both_N2M, gate_and_up_2ME, out=normed_NE)
            d_x_NE[rows], d_gain = _back_through_norm(d_normed_NE, x_NE[rows], scale_N1, gain_E)
            d_gain_E += d_gain
        return d_x_NE.view_as(x), d_gain_E, d_first, d_down_EM
