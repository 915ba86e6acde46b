"""Normalisation and gated MLP, as one operation each, against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.norm import rms_norm, rms_norm_reference
from genomeformer_cli.core.model.mlp import gated_mlp, gated_mlp_reference

Function = Callable[..., Tensor]


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def compare(ours: Function, reference: Function, inputs: list[Tensor]) -> None:
    found, wanted = ours(*inputs), reference(*inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    weights = draw(*found.shape, seed=9).detach()
    gradients = torch.autograd.grad((found * weights).sum(), inputs)
    expected = torch.autograd.grad((wanted * weights).sum(), inputs)
    for ours_one, reference_one in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours_one, reference_one, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 1024), (1, 1025), (3, 700)])
def test_normalisation(shape: tuple[int, int]) -> None:
    compare(rms_norm, rms_norm_reference, [draw(*shape, 6), draw(6, seed=1)])


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 1024), (1, 1025), (3, 700), (1, 2049)])
def test_gated_mlp(shape: tuple[int, int]) -> None:
    inputs = [draw(*shape, 6), draw(6, seed=1), draw(10, 6, seed=2), draw(6, 5, seed=3)]
    compare(gated_mlp, gated_mlp_reference, inputs)
    with torch.no_grad():
        torch.testing.assert_close(gated_mlp(*inputs), gated_mlp_reference(*inputs))


def test_a_row_of_zeros_is_finite() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    out = rms_norm(x, torch.ones(4))
    (gradient,) = torch.autograd.grad(out.sum(), [x])
    assert torch.isfinite(out).all()
    assert torch.isfinite(gradient).all()


def test_reduced_precision_takes_the_plain_form() -> None:
    x, gain = draw(1, 8, 6).detach().float(), torch.ones(6)
    first, down = draw(10, 6, seed=2).detach().float(), draw(6, 5, seed=3).detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = gated_mlp(x, gain, first, down)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(
        out.float(), gated_mlp_reference(x, gain, first, down), rtol=0.05, atol=0.05
    )
