"""Depthwise convolution along the sequence with one kernel per head, as matrix products.

Shape letters: B batch, H heads, L length, D head width, K kernel, T positions of a block, N blocks,
W positions of a block with its neighbours (T + K - 1), C columns (B N D).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 64


def convolve_heads(x_BHLD: Tensor, kernel_HK: Tensor) -> Tensor:
    """y_l = sum over t of kernel_t x_(l + t - K // 2), for each head; 0 beyond the ends. K is odd.

    A block of T outputs is a banded T x W matrix times the W inputs it sees. That does W / K times
    the arithmetic, but as large products, which a processor does faster than K passes.
    """
    with torch.autocast(x_BHLD.device.type, enabled=False):
        y_BHLD: Tensor = _Convolution.apply(x_BHLD, kernel_HK.to(x_BHLD.dtype))  # type: ignore[no-untyped-call]
    return y_BHLD


def convolve_heads_reference(x_BHLD: Tensor, kernel_HK: Tensor) -> Tensor:
    """Compute `convolve_heads` by torch's own convolution."""
    weight = kernel_HK[:, None, :, None]
    reach = kernel_HK.shape[1] // 2
    return functional.conv2d(x_BHLD, weight, padding=(reach, 0), groups=len(kernel_HK))


class _Convolution(torch.autograd.Function):
    """Convolution that saves only its inputs; the backward pass cuts the windows again."""

    @staticmethod
    def forward(ctx: Any, x_BHLD: Tensor, kernel_HK: Tensor) -> Tensor:
        ctx.save_for_backward(x_BHLD, kernel_HK)
        return _banded_product(kernel_HK, _windows(x_BHLD, kernel_HK.shape[1]), x_BHLD.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x_BHLD, kernel_HK = ctx.saved_tensors
        taps = kernel_HK.shape[1]
        reach = taps // 2
        gradient_HWC = _windows(gradients[0], taps)
        grad_x_BHLD = _banded_product(kernel_HK.flip(1), gradient_HWC, x_BHLD.shape)
        centre_HTC = gradient_HWC[:, reach : gradient_HWC.shape[1] - reach]
        band_HTW = centre_HTC @ _windows(x_BHLD, taps).mT
        heads, block, width = band_HTW.shape
        diagonals_HTK = band_HTW.as_strided((heads, block, taps), (block * width, width + 1, 1))
        return grad_x_BHLD, diagonals_HTK.sum(dim=1)


def _block(taps: int) -> int:
    return max(_BLOCK, taps)


def _windows(x_BHLD: Tensor, taps: int) -> Tensor:
    """Return every block of the sequence with its visible neighbours, (H, W, C)."""
    block, reach = _block(taps), taps // 2
    batch, heads, length, head_width = x_BHLD.shape
    if length % block:
        x_BHLD = functional.pad(x_BHLD, (0, 0, 0, -length % block))
    blocks_HTBND = x_BHLD.view(batch, heads, -1, block, head_width).permute(1, 3, 0, 2, 4)
    num_blocks = blocks_HTBND.shape[3]
    shape = (heads, block + 2 * reach, batch, num_blocks, head_width)
    windows_HWBND = x_BHLD.new_empty(shape)
    windows_HWBND[:, reach : reach + block] = blocks_HTBND
    windows_HWBND[:, :reach, :, 0] = 0
    windows_HWBND[:, :reach, :, 1:] = blocks_HTBND[:, block - reach :, :, :-1]
    windows_HWBND[:, reach + block :, :, -1] = 0
    windows_HWBND[:, reach + block :, :, :-1] = blocks_HTBND[:, :reach, :, 1:]
    return windows_HWBND.flatten(2)


def _banded_product(kernel_HK: Tensor, windows_HWC: Tensor, shape: torch.Size) -> Tensor:
    """Multiply band and windows; return (B, H, L, D) in the memory order (B, L, H, D)."""
    batch, heads, length, head_width = shape
    block = _block(kernel_HK.shape[1])
    blocks_HTC = _band(kernel_HK, block) @ windows_HWC
    y_HTBND = blocks_HTC.view(heads, block, batch, -1, head_width)
    return y_HTBND.permute(2, 3, 1, 0, 4).flatten(1, 2)[:, :length].transpose(1, 2)


def _band(kernel_HK: Tensor, block: int) -> Tensor:
    """Return the banded matrix (H, T, W): the kernel in every row, shifted by one per row."""
    heads, taps = kernel_HK.shape
    width = block + taps - 1
    rows_HTX = functional.pad(kernel_HK, (0, block))[:, None].expand(heads, block, width + 1)
    return rows_HTX.reshape(heads, -1)[:, : block * width].view(heads, block, width)
