"""Short depthwise convolution before attention, blocked for the CPU cache.

Only the input is saved for the backward pass.
Shape letters: B batch, L length, E width, K kernel, W positions with those before and after (L + K
- 1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.batch_layout import Layout
from genomeformer_cli.core.attention.kernels.cpu_blocking import position_blocks, use_cpu_blocking


class ShortConvolution(nn.Module):
    """x plus a depthwise convolution over neighbouring positions; initialised near the identity.

    Used before attention as in Poli et al. 2023, "Hyena Hierarchy", section 3.2.

    Args:
        width: Features per position, E.
        kernel: Kernel size: centred on each position, or ending there if causal.
        causal: True if no later position is used.
    """

    def __init__(self, width: int, kernel: int, *, causal: bool) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(kernel, width))
        self.before = kernel - 1 if causal else kernel // 2
        self.after = kernel - 1 - self.before

    def forward(self, x_BLE: Tensor, layout: Layout) -> Tensor:
        """Mix every position with its neighbours; padding and positions beyond the ends are 0."""
        x_BLE = _without_padding(x_BLE, layout)
        padded_BWE = functional.pad(x_BLE, (0, 0, self.before, self.after))
        if layout.documents_BL is None:
            return short_convolution(padded_BWE, self.kernel, self.before)
        return self._within(layout.documents_BL, padded_BWE)

    def start(self, batch: int, like: Tensor) -> Tensor:
        """Return the state before the first position: zeros."""
        return like.new_zeros(batch, self.before, self.kernel.shape[1])

    def step(self, x_BLE: Tensor, layout: Layout, past_BLE: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the next positions with the last ones of the previous call."""
        x_BLE = _without_padding(x_BLE, layout)
        padded_BWE = torch.cat((past_BLE.to(x_BLE.dtype), x_BLE), dim=1)
        mixed_BLE = short_convolution(padded_BWE, self.kernel, self.before)
        return mixed_BLE, padded_BWE[:, padded_BWE.shape[1] - self.before :]

    def _within(self, documents_BL: Tensor, padded_BWE: Tensor) -> Tensor:
        """Convolve with the positions of other documents set to 0."""
        documents_BW = functional.pad(documents_BL, (self.before, self.after), value=-1)
        length = documents_BL.shape[1]
        x_BLE = padded_BWE[:, self.before : self.before + length]
        for offset, weight_E in enumerate(self.kernel):
            same_BL = documents_BW[:, offset : offset + length] == documents_BL
            neighbour_BLE = padded_BWE[:, offset : offset + length] * same_BL[..., None]
            x_BLE = torch.addcmul(x_BLE, neighbour_BLE, weight_E)
        return x_BLE


def _without_padding(x_BLE: Tensor, layout: Layout) -> Tensor:
    return x_BLE if layout.mask_BL is None else x_BLE * layout.mask_BL[..., None]


def short_convolution_reference(padded_BWE: Tensor, kernel_KE: Tensor, before: int) -> Tensor:
    """Return x_l + sum over k of kernel_k x_(l + k - before), for positions with all neighbours.

    Args:
        padded_BWE: Positions, with `before` more before them and K - 1 - before after them.
        kernel_KE: Weight of each neighbour and feature.
        before: Neighbours before a position.
    """
    length = padded_BWE.shape[1] - len(kernel_KE) + 1
    x_BLE = padded_BWE[:, before : before + length]
    for offset, weight_E in enumerate(kernel_KE):
        x_BLE = torch.addcmul(x_BLE, padded_BWE[:, offset : offset + length], weight_E)
    return x_BLE


def short_convolution(padded_BWE: Tensor, kernel_KE: Tensor, before: int) -> Tensor:
    """Compute `short_convolution_reference`, saving only the input."""
    if not use_cpu_blocking(padded_BWE, kernel_KE):
        return short_convolution_reference(padded_BWE, kernel_KE, before)
    result: Tensor = _Mixed.apply(padded_BWE, kernel_KE, before)  # type: ignore[no-untyped-call]
    return result


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded_BWE: Tensor, kernel_KE: Tensor, before: int) -> Tensor:
        ctx.save_for_backward(padded_BWE, kernel_KE)
        ctx.before = before
        weight_KE = _with_itself(kernel_KE, before)
        batch, positions, width = padded_BWE.shape
        out_BLE = padded_BWE.new_empty(batch, positions - len(kernel_KE) + 1, width)
        for rows, spans in _blocks(out_BLE, len(kernel_KE)):
            part_BLE = out_BLE[rows, spans[0]]
            torch.mul(padded_BWE[rows, spans[0]], weight_KE[0], out=part_BLE)
            for span, weight_E in zip(spans[1:], weight_KE[1:], strict=True):
                part_BLE.addcmul_(padded_BWE[rows, span], weight_E)
        return out_BLE

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out_BLE: Tensor) -> tuple[Tensor | None, ...]:
        padded_BWE, kernel_KE = ctx.saved_tensors
        weight_KE = _with_itself(kernel_KE, ctx.before)
        d_padded_BWE, d_kernel_KE = torch.zeros_like(padded_BWE), torch.zeros_like(kernel_KE)
        for rows, spans in _blocks(d_out_BLE, len(kernel_KE)):
            part_BLE = d_out_BLE[rows, spans[0]]
            for span, weight_E, d_weight_E in zip(spans, weight_KE, d_kernel_KE, strict=True):
                d_padded_BWE[rows, span].addcmul_(part_BLE, weight_E)
                d_weight_E += (part_BLE * padded_BWE[rows, span]).sum(dim=(0, 1))
        return d_padded_BWE, d_kernel_KE, None


def _with_itself(kernel_KE: Tensor, before: int) -> Tensor:
    """Return the kernel with the weight of the position itself increased by one."""
    weight_KE = kernel_KE.clone()
    weight_KE[before] += 1
    return weight_KE


def _blocks(x_BLE: Tensor, kernel: int) -> list[tuple[slice, list[slice]]]:
    """Return blocks of the result: rows, and the position of each neighbour in the padded input."""
    return [
        (
            block.rows,
            [slice(block.span.start + k, block.span.stop + k) for k in range(kernel)],
        )
        for block in position_blocks(*x_BLE.shape[:2])
    ]
