"""silu(gate) * up, keeping nothing but its input for the way back.

Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 5 (Swish with beta 1).
Shape letters: B batch, L length, F hidden features, G = 2 F (gate, then up), N = B L.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Numbers of a block, so that it stays in a core's second cache.
_BLOCK_NUMBERS = 2**17


def gated(gate_and_up_BLG: Tensor) -> Tensor:
    """(B, L, F)."""
    if gate_and_up_BLG.device.type != "cpu":
        return gated_reference(gate_and_up_BLG)
    out_BLF: Tensor = _Gated.apply(gate_and_up_BLG)  # type: ignore[no-untyped-call]
    return out_BLF


def gated_reference(gate_and_up_BLG: Tensor) -> Tensor:
    """The same by autograd, which keeps silu(gate) too."""
    gate, up = gate_and_up_BLG.chunk(2, dim=-1)
    return functional.silu(gate) * up


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_and_up_BLG: Tensor) -> Tensor:
        both_NG = gate_and_up_BLG.flatten(0, -2)
        out_NF = both_NG.new_empty(len(both_NG), both_NG.shape[1] // 2)
        for both_TG, out_TF in _blocks(both_NG, out_NF):
            gate_TF, up_TF = both_TG.chunk(2, dim=-1)
            torch.mul(functional.silu(gate_TF), up_TF, out=out_TF)
        ctx.save_for_backward(gate_and_up_BLG)
        return out_NF.view(*gate_and_up_BLG.shape[:-1], out_NF.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out_BLF: Tensor) -> Tensor:
        (gate_and_up_BLG,) = ctx.saved_tensors
        both_NG = gate_and_up_BLG.flatten(0, -2)
        d_both_NG = torch.empty_like(both_NG)
        for both_TG, d_both_TG, d_out_TF in _blocks(both_NG, d_both_NG, d_out_BLF.flatten(0, -2)):
            gate_TF, up_TF = both_TG.chunk(2, dim=-1)
            d_gate_TF, d_up_TF = d_both_TG.chunk(2, dim=-1)
            torch.mul(d_out_TF, functional.silu(gate_TF), out=d_up_TF)
            d_silu_TF = d_out_TF * up_TF
            torch.ops.aten.silu_backward.grad_input(d_silu_TF, gate_TF, grad_input=d_gate_TF)
        return d_both_NG.view(gate_and_up_BLG.shape)


def _blocks(first: Tensor, *others: Tensor) -> zip[tuple[Tensor, ...]]:
    step = max(_BLOCK_NUMBERS // first.shape[1], 1)
    return zip(*(torch.split(one, step) for one in (first, *others)), strict=True)
