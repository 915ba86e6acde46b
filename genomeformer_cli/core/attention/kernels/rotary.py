"""Rotary positions: rotate pairs of features (Su et al. 2021, "RoFormer", equation 34).

Shape letters: B batch, H heads, L length, D head width, R rotated pairs (D / 2).
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(x_BHLD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x_r, x_{r + D/2}) by the angles of their positions."""
    first_BHLR, second_BHLR = x_BHLD.chunk(2, dim=-1)
    cos, sin = cos.to(x_BHLD.dtype), sin.to(x_BHLD.dtype)
    return torch.cat(
        (first_BHLR * cos - second_BHLR * sin, second_BHLR * cos + first_BHLR * sin), dim=-1
    )


def turn(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotate the pairs (x_r, x_{r + D/2}) into `out`; the angles broadcast to half of it."""
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)
