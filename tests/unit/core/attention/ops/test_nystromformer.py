"""Nystromformer attention against its three factors written out, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.ops.nystromformer import (
    NystromformerAttention,
    NystromformerOptions,
    nystromformer_attention,
    nystromformer_attention_reference,
)
from genomeformer_cli.core.attention.ops.softmax import softmax_attention_reference
from genomeformer_cli.core.errors import ConfigError

Inputs = tuple[Tensor, Tensor, Tensor]


def draw(batch: int, length: int, *, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 2, length, 8)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return q, k, v


def dials(num_landmarks: int, *, taps: int = 5, iterations: int = 6) -> NystromformerOptions:
    generator = torch.Generator().manual_seed(taps)
    kernel = torch.randn(2, taps, generator=generator, dtype=torch.float64) if taps else None
    return NystromformerOptions(
        num_landmarks=num_landmarks, iterations=iterations, kernel_HK=kernel
    )


def masks(length: int) -> Tensor:
    """Right padding, padding anywhere, a single real position."""
    generator = torch.Generator().manual_seed(length)
    right = torch.arange(length) < max(1, length - 3)
    anywhere = torch.rand(length, generator=generator) > 0.4
    anywhere[-1] = True
    return torch.stack((right, anywhere, torch.arange(length) == length // 2))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("taps", [0, 5])
@pytest.mark.parametrize("length", [1, 5, 7, 8, 33, 64, 131])
def test_values_and_gradients_equal_the_reference(length: int, taps: int, padded: bool) -> None:
    mask = masks(length) if padded else None
    chosen = dials(8, taps=taps)
    leaves = [one.requires_grad_() for one in draw(3, length)]
    if chosen.kernel_HK is not None:
        leaves.append(chosen.kernel_HK.requires_grad_())
    q, k, v = leaves[:3]
    found = nystromformer_attention(q, k, v, mask, chosen)
    wanted = nystromformer_attention_reference(q, k, v, mask, chosen)
    weights = torch.randn(v.shape, dtype=torch.float64)
    weights = weights if mask is None else weights * mask[:, None, :, None]
    assert_near(found * weights, wanted * weights)
    found_gradients = torch.autograd.grad((found * weights).sum(), leaves)
    wanted_gradients = torch.autograd.grad((wanted * weights).sum(), leaves)
    for ours, reference in zip(found_gradients, wanted_gradients, strict=True):
        assert_near(ours, reference)


def assert_near(found: Tensor, wanted: Tensor) -> None:
    """Relative to the largest entry; what should vanish may be as large as rounding."""
    scale = max(1.0, float(wanted.detach().abs().max()))
    assert float((found - wanted).detach().abs().max()) <= 1e-12 * scale


def test_poison_in_the_padding_reaches_nothing() -> None:
    mask = masks(40)
    padding = ~mask[:, None, :, None]
    clean = draw(3, 40)
    wanted = nystromformer_attention(*clean, mask, dials(8))
    q, k, v = (one.masked_fill(padding, torch.nan).requires_grad_() for one in clean)
    found = nystromformer_attention(q, k, v, mask, dials(8))
    assert torch.equal(found.masked_fill(padding, 0), wanted.masked_fill(padding, 0))
    assert torch.isfinite(found).all()
    gradients = torch.autograd.grad(found.masked_fill(padding, 0).sum(), (q, k, v))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_row_without_real_positions_is_finite_and_so_are_gradients() -> None:
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[1] = True
    leaves = [one.requires_grad_() for one in draw(2, 12)]
    out = nystromformer_attention(leaves[0], leaves[1], leaves[2], mask, dials(4))
    assert torch.isfinite(out).all()
    gradients = torch.autograd.grad(out.sum(), leaves)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("kept", [1, 5, 30])
def test_padding_and_batch_mates_change_nothing(kept: int) -> None:
    """Also where alone the row has fewer positions than landmarks."""
    inputs = draw(3, 50)
    mask = torch.arange(50) < torch.tensor([[kept], [50], [20]])
    together = nystromformer_attention(*inputs, mask, dials(8))[:1, :, :kept]
    q, k, v = (one[:1, :, :kept] for one in inputs)
    torch.testing.assert_close(nystromformer_attention(q, k, v, None, dials(8)), together)


def test_it_comes_closer_to_softmax_as_landmarks_grow() -> None:
    """Queries and keys that change slowly along the row, as its segments presume."""
    q, k, v = draw(2, 64)
    q, k = q.cumsum(dim=2) / 8, k.cumsum(dim=2) / 8
    wanted = softmax_attention_reference(q, k, v, None)

    def error(num_landmarks: int, iterations: int) -> float:
        chosen = dials(num_landmarks, taps=0, iterations=iterations)
        found = nystromformer_attention(q, k, v, None, chosen)
        return float((found - wanted).norm() / wanted.norm())

    errors = [error(num_landmarks, 6) for num_landmarks in (2, 8, 32, 64)]
    assert errors == sorted(errors, reverse=True)
    assert error(64, 30) < 1e-6


def test_the_initial_inverse_is_of_each_row_and_head_separately() -> None:
    q, k, v = draw(2, 32)
    chosen = dials(8, taps=0, iterations=1)
    before = nystromformer_attention(q, k, v, None, chosen)
    q[1], k[:, 1] = q[1] * 20, k[:, 1] * 20
    after = nystromformer_attention(q, k, v, None, chosen)
    torch.testing.assert_close(after[0, 0], before[0, 0], rtol=1e-12, atol=1e-12)


def test_single_precision_stays_close_to_double() -> None:
    inputs = draw(2, 500)
    chosen = dials(64)
    exact = nystromformer_attention(*inputs, None, chosen)
    assert chosen.kernel_HK is not None
    single = replace(chosen, kernel_HK=chosen.kernel_HK.float())
    q, k, v = (one.float() for one in inputs)
    found = nystromformer_attention(q, k, v, None, single)
    assert float((found.double() - exact).norm() / exact.norm()) < 1e-4


def test_autocast_keeps_the_inverse_in_single_precision() -> None:
    q, k, v = (one.float() for one in draw(1, 200))
    module = NystromformerAttention(
        num_heads=2, num_landmarks=16, generator=torch.Generator().manual_seed(0)
    )
    exact = module(q, k, v, None, None).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(q.bfloat16(), k.bfloat16(), v.bfloat16(), None, None)
    assert float((found.detach().float() - exact).norm() / exact.norm()) < 0.1


def test_the_module_is_the_function_and_its_seed_decides() -> None:
    q, k, v = draw(1, 30)
    built = [
        NystromformerAttention(
            num_heads=2,
            num_landmarks=4,
            kernel=3,
            generator=torch.Generator().manual_seed(5),
        ).double()
        for _ in range(2)
    ]
    kernel = built[0].kernel_HK
    chosen = NystromformerOptions(num_landmarks=4, iterations=6, kernel_HK=kernel)
    once, again = (module(q, k, v, None, None) for module in built)
    assert torch.equal(once, again)
    assert torch.equal(once, nystromformer_attention(q, k, v, None, chosen))


@pytest.mark.parametrize(
    "wrong", [{"num_landmarks": 0}, {"iterations": 0}, {"kernel": 4}, {"kernel": -1}]
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="nystromformer"):
        NystromformerAttention(num_heads=2, **wrong, generator=torch.Generator())
