"""Queries or keys normalised per head and turned by their positions, as one operation.

Shape letters: B batch, H heads, L length, D head width, R rotated pairs (D / 2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genomeformer_cli.core.attention.norm import in_cache, rms_norm_reference, row_scales

_NUMBERS = 2**17


def rotate(x_BHLD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (x_r, x_{r + D/2}) by their position's angles."""
    first_BHLR, second_BHLR = x_BHLD.chunk(2, dim=-1)
    cos, sin = cos.to(x_BHLD.dtype), sin.to(x_BHLD.dtype)
    return torch.cat(
        (first_BHLR * cos - second_BHLR * sin, second_BHLR * cos + first_BHLR * sin), dim=-1
    )


def normed_and_rotated_reference(
    x_BHLD: Tensor, gain_D: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """RMS normalisation (Henry et al. 2020), then rotation (Su et al. 2021, equation 34)."""
    return rotate(rms_norm_reference(x_BHLD, gain_D), cos, sin)


def normed_and_rotated(x_BHLD: Tensor, gain_D: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same, keeping nothing but its input for the way back."""
    if not in_cache(x_BHLD, gain_D):
        return normed_and_rotated_reference(x_BHLD, gain_D, cos, sin)
    cos, sin = cos.to(x_BHLD.dtype), sin.to(x_BHLD.dtype)
    result: Tensor = _NormedAndRotated.apply(  # type: ignore[no-untyped-call]
        x_BHLD, gain_D, cos, sin
    )
    return result


class _NormedAndRotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BHLD: Tensor, gain_D: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(x_BHLD, gain_D, cos, sin)
        out_BHLD = torch.empty_like(x_BHLD, memory_format=torch.contiguous_format)
        for places in _blocks(x_BHLD):
            normed_BHCD = _unit(x_BHLD[:, :, places])[0].mul_(gain_D)
            _turn(normed_BHCD, cos[..., places, :], sin[..., places, :], out_BHLD[:, :, places])
        return out_BHLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out_BHLD: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x_BHLD, gain_D, cos, sin = ctx.saved_tensors
        d_x_BHLD, d_gain_D = torch.empty_like(x_BHLD), torch.zeros_like(gain_D)
        for places in _blocks(x_BHLD):
            unit_BHCD, scale_BHC1 = _unit(x_BHLD[:, :, places])
            d_BHCD = torch.empty_like(unit_BHCD)
            _turn(d_out_BHLD[:, :, places], cos[..., places, :], -sin[..., places, :], d_BHCD)
            d_gain_D += (d_BHCD * unit_BHCD).sum(dim=(0, 1, 2))
            d_BHCD.mul_(gain_D)
            along_BHC1 = (d_BHCD * unit_BHCD).mean(dim=-1, keepdim=True)
            d_BHCD.addcmul_(unit_BHCD, along_BHC1, value=-1)
            torch.mul(d_BHCD, scale_BHC1, out=d_x_BHLD[:, :, places])
        return d_x_BHLD, d_gain_D, None, None


def _blocks(x_BHLD: Tensor) -> list[slice]:
    """Stretches of positions that stay in cache."""
    batch, heads, length, head_width = x_BHLD.shape
    size = max(_NUMBERS // (batch * heads * head_width), 1)
    return [slice(first, first + size) for first in range(0, length, size)]


def _unit(x_BHCD: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of root mean square 1, and what they were multiplied by."""
    x_BHCD = x_BHCD.contiguous()
    scale_BHC1 = row_scales(x_BHCD)
    return x_BHCD * scale_BHC1, scale_BHC1


def _turn(x_BHCD: Tensor, cos: Tensor, sin: Tensor, out_BHCD: Tensor) -> None:
    """Turn the pairs, into `out_BHCD`."""
    first_BHCR, second_BHCR = x_BHCD.chunk(2, dim=-1)
    out_first_BHCR, out_second_BHCR = out_BHCD.chunk(2, dim=-1)
    torch.mul(first_BHCR, cos, out=out_first_BHCR).addcmul_(second_BHCR, sin, value=-1)
    torch.mul(second_BHCR, cos, out=out_second_BHCR).addcmul_(first_BHCR, sin)
