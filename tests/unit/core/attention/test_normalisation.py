"""RMS normalisation and rotary turn in one: values and gradients of the formulae."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention import normalisation
from genomeformer_cli.core.attention.layout import Rotary, rotate
from genomeformer_cli.core.attention.normalisation import RMSNorm, rms_norm_reference

SHAPES = [(2, 3, 17, 8), (1, 1, 1, 4), (2, 0, 5, 8), (1, 2, 700, 64)]


def norm(width: int, dtype: torch.dtype) -> RMSNorm:
    made = RMSNorm(width).to(dtype)
    torch.nn.init.uniform_(made.weight, 0.5, 2.0, generator=torch.Generator().manual_seed(2))
    return made


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()


def assert_same(found: Tensor, wanted: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    weight = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), leaves) for y in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [*SHAPES, (5, 8)])
def test_normalisation_is_the_formula(shape: tuple[int, ...]) -> None:
    made, x = norm(shape[-1], torch.float64), inputs(shape)
    assert_same(made(x), rms_norm_reference(x, made.weight), [x, made.weight])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True])
def test_turning_is_rotation_of_the_normalised(shape: tuple[int, ...], *, packed: bool) -> None:
    made, x = norm(shape[-1], torch.float64), inputs(shape)
    rotary = Rotary(head_width=shape[-1], base=100.0)
    batch, _, length, _ = shape
    if packed:
        places = torch.arange(batch * length).view(batch, 1, length) % 7
        cos, sin = rotary.angles(places)
    else:
        layout = rotary.layout(length, None, device=x.device)
        cos, sin = layout.cos, layout.sin
    wanted = rotate(rms_norm_reference(x, made.weight), cos, sin)
    assert_same(made.turned(x, cos, sin), wanted, [x, made.weight])


def test_views_of_one_projection_and_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = norm(8, torch.float64), inputs((2, 13, 3, 4, 8))
    layout = Rotary(head_width=8, base=100.0).layout(13, None, device=x.device)
    view = x.unbind(dim=2)[1].transpose(1, 2)
    whole = made.turned(view, layout.cos, layout.sin)
    for numbers in (1, 100, 200):
        monkeypatch.setattr(normalisation, "_BLOCK_NUMBERS", numbers)
        assert torch.equal(made.turned(view, layout.cos, layout.sin), whole)
        wanted = rotate(rms_norm_reference(view, made.weight), layout.cos, layout.sin)
        assert_same(made.turned(view, layout.cos, layout.sin), wanted, [x, made.weight])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_comes_out_is_as_precise_as_what_went_in(dtype: torch.dtype) -> None:
    made, x = norm(64, torch.float32), inputs((2, 50, 64), dtype)
    y = made(x)
    y.sum().backward()
    assert (y.dtype, x.grad is not None and x.grad.dtype) == (dtype, dtype)
    y = y.detach()
    exact = rms_norm_reference(x.detach().double(), made.weight.detach().double())
    assert float((y.double() - exact).norm() / exact.norm()) < 2 * torch.finfo(dtype).eps


def test_nothing_but_the_input_is_kept() -> None:
    made, x = norm(64, torch.float32), inputs((2, 50, 64), torch.float32)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made(x)
    assert sum(kept) == x.numel() + made.weight.numel()
