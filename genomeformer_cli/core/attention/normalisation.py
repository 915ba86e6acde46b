"""RMS normalisation, alone or with the turn of rotary positions, in one pass each way.

On a CPU a row is worked through in blocks that fit into the cache, and nothing but the input is
kept for the way back; elsewhere torch's fused kernel does the same.
Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4; Su et al. 2021,
"RoFormer", equation 15.
Shape letters: B batch, H heads, L length, D width (of a head), T positions of a block, R turned
pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.layout import rotate

EPSILON = 1e-6
# Numbers of a block: its input and some temporaries share a core's second cache.
_BLOCK_NUMBERS = 2**16


class RMSNorm(nn.Module):
    """x over its root mean square, times a learned gain.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if x.device.type != "cpu":
            return functional.rms_norm(x, self.weight.shape, self.weight, EPSILON)
        normed: Tensor = _Normalise.apply(x, self.weight, None, None)  # type: ignore[no-untyped-call]
        return normed

    def turned(self, x_BHLD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Normalise, then turn by rotary angles (L, R) or (B, 1, L, R)."""
        if x_BHLD.device.type != "cpu":
            return rotate(self(x_BHLD), cos, sin)
        turned: Tensor = _Normalise.apply(x_BHLD, self.weight, cos, sin)  # type: ignore[no-untyped-call]
        return turned


def rms_norm_reference(x: Tensor, weight_D: Tensor) -> Tensor:
    """The same by the formula."""
    return x / (x.square().mean(dim=-1, keepdim=True) + EPSILON).sqrt() * weight_D


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_D: Tensor, cos: Tensor | None, sin: Tensor | None
    ) -> Tensor:
        out = torch.empty(x.shape, dtype=x.dtype)
        working = torch.promote_types(x.dtype, weight_D.dtype)
        for span in _blocks(x):
            normed = _normed(x[span].to(working))[0].mul_(weight_D)
            if cos is not None and sin is not None:
                normed = _turned(normed, _at(cos, span, normed), _at(sin, span, normed))
            out[span] = normed
        ctx.save_for_backward(x, weight_D, cos, sin)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight_D, cos, sin = ctx.saved_tensors
        d_x = torch.empty(x.shape, dtype=x.dtype)
        d_weight_D = torch.zeros_like(weight_D)
        working = torch.promote_types(x.dtype, weight_D.dtype)
        for span in _blocks(x):
            d_normed = d_out[span].to(working)
            if cos is not None:
                turned_back = _at(cos, span, d_normed), _at(sin, span, d_normed).neg()
                d_normed = _turned(d_normed, *turned_back)
            unit, scale = _normed(x[span].to(working))
            product = d_normed * unit
            d_weight_D += product.sum(dim=tuple(range(x.dim() - 1)))
            shrunk = (product @ weight_D[:, None]).div_(-x.shape[-1])
            d_unit = unit.mul_(shrunk).addcmul_(d_normed, weight_D)
            d_x[span] = d_unit.mul_(scale)
        return d_x, d_weight_D, None, None


def _normed(x: Tensor) -> tuple[Tensor, Tensor]:
    """X over its root mean square, and one over that."""
    scale = x.square().mean(dim=-1, keepdim=True).add_(EPSILON).rsqrt_()
    return x * scale, scale


def _turned(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rotate`, without temporaries."""
    out_BHTD = torch.empty(x_BHTD.shape, dtype=x_BHTD.dtype)
    first, second = x_BHTD.chunk(2, dim=-1)
    out_first, out_second = out_BHTD.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)
    return out_BHTD


def _at(angles: Tensor, span: tuple[slice, ...], like: Tensor) -> Tensor:
    return angles[..., span[-1], :].to(like.dtype)


def _blocks(x: Tensor) -> Iterator[tuple[slice, ...]]:
    """Stretches of the last dimension but one, all others whole."""
    length = x.shape[-2]
    step = max(_BLOCK_NUMBERS * length // max(x.numel(), 1), 1)
    whole = (slice(None),) * (x.dim() - 2)
    for start in range(0, length, step):
        yield (*whole, slice(start, start + step))
