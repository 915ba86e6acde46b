"""Causal convolution with a kernel as long as the row, by FFT: O(L log L) time.

Poli et al. 2023, "Hyena Hierarchy", section 3.3. The transform is computed in float32, or in
float64 for input of that type. Without gradients, channels are transformed in groups, so that the
spectra of long rows need little memory.
Shape letters: B batch, L length, K length of a kernel, E channels, C channels of a group,
F frequencies.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Numbers of the padded rows of one group of channels.
_GROUP_NUMBERS = 1 << 19


def long_convolution(x_BLE: Tensor, kernel_KE: Tensor, direct_E: Tensor) -> Tensor:
    """Return y[l] = direct x[l] + sum over k <= l of kernel[k] x[l - k], shape (B, L, E).

    Args:
        x_BLE: Rows; zero at padding, or rounding errors of padding reach real positions.
        kernel_KE: Kernel of each channel, by distance; at least as long as the rows.
        direct_E: Weight of the position itself, in addition to `kernel_KE[0]`.
    """
    batch, _, width = x_BLE.shape
    size = fast_length(2 * len(kernel_KE))
    group = width if torch.is_grad_enabled() else max(1, _GROUP_NUMBERS // (batch * size))
    x_BLE, kernel_KE = widen(x_BLE), widen(kernel_KE)
    y_BLE = widen(direct_E) * x_BLE
    if group >= width:
        return y_BLE + _convolve(x_BLE, kernel_KE, size)
    for start in range(0, width, group):
        channels = slice(start, start + group)
        y_BLE[..., channels] += _convolve(x_BLE[..., channels], kernel_KE[:, channels], size)
    return y_BLE


def long_convolution_reference(x_BLE: Tensor, kernel_KE: Tensor, direct_E: Tensor) -> Tensor:
    """Compute `long_convolution` from its definition: O(L^2) time."""
    length, width = kernel_KE.shape
    flipped_E1K = kernel_KE.flip(0).T[:, None]
    padded_BEX = functional.pad(x_BLE.transpose(1, 2), (length - 1, 0))
    y_BEL = functional.conv1d(padded_BEX, flipped_E1K, groups=width)
    return y_BEL.transpose(1, 2) + direct_E * x_BLE


def widen(tensor: Tensor) -> Tensor:
    """Return a tensor in float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def next_step(length: int) -> int:
    """Return the smallest number from `length` on with at most three significant binary digits.

    Four such numbers lie in each octave, so that it is less than a quarter larger.
    """
    digits = max(0, (length - 1).bit_length() - 3)
    return -(-length >> digits) << digits


def fast_length(least: int) -> int:
    """Return the smallest even number from `least` on without prime factors above 7."""
    size = max(2, least + least % 2)
    while not _is_smooth(size):
        size += 2
    return size


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5, 7):
        while number % factor == 0:
            number //= factor
    return number == 1


def _convolve(x_BLC: Tensor, kernel_KC: Tensor, size: int) -> Tensor:
    spectrum_BCF = torch.fft.rfft(x_BLC.transpose(1, 2), n=size)
    spectrum_BCF = spectrum_BCF * torch.fft.rfft(kernel_KC.T, n=size)
    y_BCL = torch.fft.irfft(spectrum_BCF, n=size)[..., : x_BLC.shape[1]]
    return y_BCL.transpose(1, 2)
