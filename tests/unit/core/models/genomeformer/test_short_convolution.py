"""The short convolution beside torch's own, and beside its plain form."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.batch_layout import Rotary
from genomeformer_cli.core.models.genomeformer.short_convolution import (
    ShortConvolution,
    short_convolution,
    short_convolution_reference,
)


@pytest.mark.parametrize("causal", [False, True])
def test_the_short_convolution_equals_torch_convolution(causal: bool) -> None:
    convolution = ShortConvolution(6, 5, causal=causal)
    torch.nn.init.normal_(convolution.kernel, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(1))
    weight = convolution.kernel.T[:, None]
    padded = torch.nn.functional.pad(x.mT, (4, 0) if causal else (2, 2))
    mixed = torch.nn.functional.conv1d(padded, weight, groups=6).mT
    layout = Rotary(head_width=6, base=10.0).layout(9, None, device=x.device)
    torch.testing.assert_close(convolution(x, layout), x + mixed)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 7), (45, 13), (2, 600), (1, 1025)])
@pytest.mark.parametrize(("kernel", "before"), [(1, 0), (4, 3), (5, 2)])
def test_in_cache_it_is_the_plain_form(batch: int, length: int, kernel: int, before: int) -> None:
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    padded_BWE, kernel_KE = inputs = [draw(batch, length + kernel - 1, 6), draw(kernel, 6)]
    ours, plain = (
        one(padded_BWE, kernel_KE, before)
        for one in (short_convolution, short_convolution_reference)
    )
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    d_out = draw(batch, length, 6).detach()
    found, wanted = (torch.autograd.grad(one, inputs, d_out) for one in (ours, plain))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
