"""The depthwise convolution against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.head_convolution import (
    convolve_heads,
    convolve_heads_reference,
)


def draw(batch: int, length: int, taps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(batch, length, 3, 5, generator=generator, dtype=torch.float64)
    kernel = torch.randn(3, taps, generator=generator, dtype=torch.float64)
    return x.transpose(1, 2), kernel


@pytest.mark.parametrize("taps", [1, 3, 33, 65, 129])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200])
def test_values_and_gradients_equal_torch(length: int, taps: int) -> None:
    x, kernel = (one.requires_grad_() for one in draw(2, length, taps))
    found, wanted = convolve_heads(x, kernel), convolve_heads_reference(x, kernel)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    found_gradients = torch.autograd.grad((found * weights).sum(), (x, kernel))
    wanted_gradients = torch.autograd.grad((wanted * weights).sum(), (x, kernel))
    for ours, theirs in zip(found_gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-11)


def test_nothing_unwritten_is_read(poisoned_empty: None) -> None:
    assert torch.isfinite(convolve_heads(*draw(2, 70, 33))).all()
