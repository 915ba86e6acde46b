"""Queries, keys and values in one operation, against plain torch, in values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import Layout, Rotary
from genomeformer_cli.core.attention.kernels.projections import (
    Parts,
    projections,
    projections_reference,
)

Function = Callable[..., tuple[Tensor, ...]]

HEADS, HEAD_WIDTH = 3, 8
WIDTH = HEADS * HEAD_WIDTH


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def layout(batch: int, length: int, *, packed: bool) -> Layout:
    rotary = Rotary(head_width=HEAD_WIDTH, base=100.0)
    if not packed:
        return rotary.layout(length, None, device=torch.device("cpu"))
    documents_BL = torch.arange(batch)[:, None] * 2 + (torch.arange(length) >= length // 2)
    return rotary.packed_layout(documents_BL)


# Queries and keys beside values; the same beside values and gates; keys; queries alone.
@pytest.mark.parametrize(
    ("num_placed", "widths"), [(2, (WIDTH,)), (2, (WIDTH, 2 * HEADS)), (1, (WIDTH,)), (1, ())]
)
@pytest.mark.parametrize("is_normed", [False, True])
@pytest.mark.parametrize("turned", ["no", "rows", "documents"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 130), (60, 13), (1, 700), (2, 300)])
def test_projections(
    shape: tuple[int, int],
    turned: str,
    is_normed: bool,
    num_placed: int,
    widths: tuple[int, ...],
) -> None:
    place = layout(*shape, packed=turned == "documents")
    angles = None if turned == "no" else (place.cos, place.sin)
    leaves = [
        draw(*shape, WIDTH, seed=1).requires_grad_(),
        draw(WIDTH * num_placed + sum(widths), WIDTH, seed=2).requires_grad_(),
        draw(num_placed, HEAD_WIDTH, seed=3).requires_grad_(),
    ]
    gain_E = draw(WIDTH, seed=4).requires_grad_() if is_normed else None
    parts = Parts(num_heads=HEADS, num_rotated=num_placed, widths=widths)
    found, wanted = (
        function(leaves[0], gain_E, leaves[1], leaves[2], angles, parts)
        for function in (projections, projections_reference)
    )
    leaves += [] if gain_E is None else [gain_E]
    weights = [draw(*one.shape, seed=5) for one in found]
    gradients, expected = (torch.autograd.grad(outs, leaves, weights) for outs in (found, wanted))
    for ours, reference in zip((*found, *gradients), (*wanted, *expected), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-11)


def test_nothing_is_kept_without_gradients() -> None:
    x, weight, gains = draw(2, 300, WIDTH, seed=1), draw(72, WIDTH, seed=2), draw(2, 8, seed=3)
    place = layout(2, 300, packed=False)
    parts = Parts(num_heads=HEADS, num_rotated=2, widths=(WIDTH,))
    arguments = (x, None, weight, gains, (place.cos, place.sin), parts)
    torch.testing.assert_close(projections(*arguments), projections_reference(*arguments))


@pytest.mark.parametrize("narrow", [False, True])
def test_autocast_is_as_exact_as_plain_torch(*, narrow: bool) -> None:
    place = layout(2, 300, packed=False)
    parts = Parts(num_heads=HEADS, num_rotated=2, widths=(WIDTH, 2 * HEADS))
    exact = [
        draw(2, 300, WIDTH, seed=1).requires_grad_(),
        draw(WIDTH, seed=2).requires_grad_(),
        draw(3 * WIDTH + 2 * HEADS, WIDTH, seed=3).requires_grad_(),
        draw(2, HEAD_WIDTH, seed=4).requires_grad_(),
    ]
    leaves = [one.detach().float().requires_grad_() for one in exact]

    def run(function: Function, x: Tensor, inputs: list[Tensor]) -> list[Tensor]:
        outs = function(x, *inputs[1:], (place.cos, place.sin), parts)
        weights = [draw(*one.shape, seed=5).to(one.dtype) for one in outs]
        return [*outs, *torch.autograd.grad(outs, inputs, weights, retain_graph=True)]

    truth = run(projections_reference, exact[0], exact)
    x_BLE = leaves[0].bfloat16() if narrow else leaves[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = run(projections, x_BLE, leaves)
        plain = run(projections_reference, x_BLE, leaves)
    for found, other, wanted in zip(ours, plain, truth, strict=True):
        assert found.dtype == other.dtype
        allowed = 1.2 * (other.double() - wanted).norm()
        assert (found.double() - wanted).norm() <= allowed < 0.03 * wanted.norm()
