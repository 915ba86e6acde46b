"""Iterative pseudo-inverse of a row-stochastic matrix, applied to a matrix and never formed.

Source: Razavi et al. 2014, "A New Iterative Method for Finding Approximate Inverses of Complex
Matrices", as used by Xiong et al. 2021, "Nystromformer", equation 11.
Shape letters: x any leading dimensions, M rows and columns, D columns of the right factor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pseudo_inverse_times(a_xMM: Tensor, w_xMD: Tensor, iterations: int) -> Tensor:
    """Return Z w, where Z is the pseudo-inverse of a after `iterations` steps of the third order.

    The steps are z <- z p(a z) / 4 with p(y) = 13 - 15 y + 7 y^2 - y^3, from z = a^T / |a|_1. In
    terms
    of y = a z they are y <- y p(y) / 4 from the symmetric a a^T / |a|_1, so that
    Z = a^T p(y_0) p(y_1) ... / (4^n |a|_1) and all factors commute. This takes two products of M x
    M
    matrices per step instead of four, and products with the few columns of w. In exchange, a y that
    is
    not recomputed from a z keeps its rounding errors, which grow by 13 / 4 per step like the small
    singular values. The computation is therefore done in float64 for every input type.

    Args:
        a_xMM: Matrix whose rows sum to 1, or to 0 where a row and its column are zero (they stay
            zero).
        w_xMD: Right factor; decides the type of the result.
        iterations: Number of steps n; 6 are usual.
    """
    with torch.autocast(a_xMM.device.type, enabled=False):
        # |a|_1 is the largest sum of a column, of each matrix for itself: one maximum over all of
        # them would make a result depend on its batch mates.
        a_xMM, wide_w_xMD = a_xMM.double(), w_xMD.double()
        scale_x11 = a_xMM.sum(dim=-2).amax(dim=-1)[..., None, None].rsqrt()
        scaled_xMM = a_xMM * scale_x11
        z_w_xMD: Tensor = _Iterations.apply(scaled_xMM, wide_w_xMD, iterations)  # type: ignore[no-untyped-call]
        return (scale_x11 * z_w_xMD).to(w_xMD.dtype)


def pseudo_inverse_reference(a_xMM: Tensor, iterations: int) -> Tensor:
    """Return Z itself, step by step as in the paper."""
    identity_MM = torch.eye(a_xMM.shape[-1], dtype=a_xMM.dtype, device=a_xMM.device)
    z_xMM = a_xMM.mT / a_xMM.sum(dim=-2).amax(dim=-1)[..., None, None]
    for _ in range(iterations):
        y_xMM = a_xMM @ z_xMM
        inner_xMM = y_xMM @ (15 * identity_MM - y_xMM @ (7 * identity_MM - y_xMM))
        z_xMM = z_xMM @ (13 * identity_MM - inner_xMM) / 4
    return z_xMM


class _Iterations(torch.autograd.Function):
    """a^T p(y_0) p(y_1) ... w / 4^n of a matrix a whose a a^T = y_0 is at most 1 in norm."""

    @staticmethod
    def forward(ctx: Any, a_xMM: Tensor, w_xMD: Tensor, iterations: int) -> Tensor:
        y_xMM = a_xMM @ a_xMM.mT
        ys, ws = [y_xMM], [w_xMD]
        for step in range(iterations):
            if step > 0:
                square_xMM = y_xMM @ y_xMM
                quartic_xMM = (7 * y_xMM - square_xMM) @ square_xMM
                y_xMM = quartic_xMM.add_(y_xMM, alpha=13).sub_(square_xMM, alpha=15).div_(4)
                ys.append(y_xMM)
            ws.append(_cubic(y_xMM, ws[-1])[0])
        ctx.iterations = iterations
        ctx.save_for_backward(a_xMM, *ys, *ws)
        return a_xMM.mT @ ws[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients; only the symmetric part of the gradient of every y matters."""
        (gradient_xMD,) = gradients
        a_xMM, *saved = ctx.saved_tensors
        num_ys = max(ctx.iterations, 1)
        ys, ws = saved[:num_ys], saved[num_ys:]
        grad_a_xMM = ws[-1] @ gradient_xMD.mT
        grad_w_xMD = a_xMM @ gradient_xMD
        grad_y_xMM: Tensor | None = None
        for y_xMM, w_xMD in zip(reversed(ys), reversed(ws[:-1]), strict=False):
            below_xMM = None if grad_y_xMM is None else _quartic_gradient(y_xMM, grad_y_xMM)
            grad_y_xMM, grad_w_xMD = _cubic_gradients(y_xMM, w_xMD, grad_w_xMD)
            if below_xMM is not None:
                grad_y_xMM += below_xMM
        if grad_y_xMM is not None:
            grad_a_xMM += 2 * (grad_y_xMM @ a_xMM)
        return grad_a_xMM, grad_w_xMD, None


def _cubic(y_xMM: Tensor, w_xMD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return p(y) w / 4, and the intermediates y w and y^2 w."""
    once_xMD = y_xMM @ w_xMD
    twice_xMD = y_xMM @ once_xMD
    result_xMD = (13 * w_xMD - 15 * once_xMD + 7 * twice_xMD - y_xMM @ twice_xMD) / 4
    return result_xMD, once_xMD, twice_xMD


def _cubic_gradients(y_xMM: Tensor, w_xMD: Tensor, gradient_xMD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of p(y) w / 4: the symmetric part for y, and that for w."""
    grad_w_xMD, once_xMD, twice_xMD = _cubic(y_xMM, gradient_xMD)
    w_once_xMD = y_xMM @ w_xMD
    w_twice_xMD = y_xMM @ w_once_xMD
    left = torch.cat((gradient_xMD, once_xMD, twice_xMD), dim=-1)
    right = torch.cat(
        (7 * w_once_xMD - 15 * w_xMD - w_twice_xMD, 7 * w_xMD - w_once_xMD, -w_xMD), dim=-1
    )
    grad_y_xMM = left @ right.mT
    return (grad_y_xMM + grad_y_xMM.mT) / 8, grad_w_xMD


def _quartic_gradient(y_xMM: Tensor, gradient_xMM: Tensor) -> Tensor:
    """Return the gradient of y p(y) / 4 for a symmetric gradient, in three products."""
    once_xMM = y_xMM @ gradient_xMM
    twice_xMM = y_xMM @ once_xMM
    last_xMM = y_xMM @ (3.5 * once_xMM.mT - twice_xMM - twice_xMM.mT)
    half_xMM = 7 * twice_xMM - 15 * once_xMM + last_xMM
    return (13 * gradient_xMM + half_xMM + half_xMM.mT) / 4
