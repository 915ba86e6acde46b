"""Normalisation and gated MLP, as one operation each, against plain torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.rms_norm import rms_norm, rms_norm_reference
from genomeformer_cli.core.models.genomeformer.mlp import gated_mlp, gated_mlp_reference

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
@pytest.mark.parametrize("residual", [False, True])
def test_gated_mlp(shape: tuple[int, int], *, residual: bool) -> None:
    inputs = [draw(*shape, 6), draw(6, seed=1), draw(10, 6, seed=2), draw(6, 5, seed=3)]
    ours = partial(gated_mlp, residual=residual)
    plain = partial(gated_mlp_reference, residual=residual)
    compare(ours, plain, inputs)
    with torch.no_grad():
        torch.testing.assert_close(ours(*inputs), plain(*inputs))


def test_a_row_of_zeros_is_finite() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    out = rms_norm(x, torch.ones(4))
    (gradient,) = torch.autograd.grad(out.sum(), [x])
    assert torch.isfinite(out).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_autocast_is_as_exact_as_plain_torch(*, narrow: bool, residual: bool) -> None:
    exact = [draw(2, 700, 32), draw(32, seed=1), draw(96, 32, seed=2), draw(32, 48, seed=3)]
    leaves = [one.detach().float().requires_grad_() for one in exact]
    weights = draw(2, 700, 32, seed=9).detach()

    def run(function: Function, inputs: list[Tensor]) -> list[Tensor]:
        x = inputs[0].bfloat16() if narrow else inputs[0]
        out = function(x, *inputs[1:], residual=residual)
        return [out, *torch.autograd.grad(out, inputs, weights.to(out.dtype))]

    truth = [gated_mlp_reference(*exact, residual=residual)]
    truth += torch.autograd.grad(truth[0], exact, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, plain = run(gated_mlp, leaves), run(gated_mlp_reference, leaves)
    # A narrow residual is widened on a CPU, in plain torch it stays as narrow as it came.
    widened = residual and narrow
    assert ours[0].dtype == (torch.float32 if residual else torch.bfloat16)
    assert widened or ours[0].dtype == plain[0].dtype
    assert all(one.dtype == other.dtype for one, other in zip(ours[1:], plain[1:], strict=True))
    for found, other, wanted in zip(ours, plain, truth, strict=True):
        allowed = 1.2 * (other.double() - wanted).norm()
        assert (found.double() - wanted).norm() <= allowed < 0.03 * wanted.norm()
