"""silu(gate) * up in one: values and gradients of autograd, and what is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.model import gating
from genomeformer_cli.core.model.gating import gated, gated_reference


@pytest.mark.parametrize("shape", [(2, 7, 10), (1, 1, 2), (3, 0, 4), (5, 6), (1, 300, 512)])
@pytest.mark.parametrize("numbers", [1, 2**16])
def test_gating_is_the_formula(
    shape: tuple[int, ...], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gating, "_BLOCK_NUMBERS", numbers)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    found, wanted = gated(x), gated_reference(x)
    torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-14)
    upstream = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (found, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_what_lies_apart_in_memory_is_gated_too() -> None:
    x = torch.randn(3, 4, 6, dtype=torch.float64).transpose(0, 1).requires_grad_()
    upstream = torch.randn(3, 4, 3, dtype=torch.float64).transpose(0, 1)
    ours, theirs = (torch.autograd.grad(f(x), x, upstream)[0] for f in (gated, gated_reference))
    torch.testing.assert_close(ours, theirs)


def test_nothing_but_the_input_is_kept() -> None:
    x = torch.randn(2, 5, 8, requires_grad=True)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        gated(x)
    assert kept == [x.numel()]
