"""Linformer attention against itself written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.ops.linformer import (
    LinformerAttention,
    linformer_attention,
    linformer_attention_reference,
)
from genomeformer_cli.core.attention.ops.softmax import softmax_attention_reference
from genomeformer_cli.core.errors import ConfigError

Inputs = tuple[Tensor, Tensor, Tensor]


def draw(batch: int, length: int) -> Inputs:
    generator = torch.Generator().manual_seed(length)
    shape = (batch, length, 2, 8)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2).contiguous()


def projections(num_projected: int, length: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (num_projected, length)
    key, value = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return key, value


def build(**dials: Any) -> LinformerAttention:
    generator = torch.Generator().manual_seed(3)
    return LinformerAttention(
        **{"max_length": 80, "num_projected": 6, **dials}, generator=generator
    ).double()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("length", [1, 2, 5, 33, 80])
def test_values_and_gradients_equal_the_reference(length: int, padded: bool) -> None:
    mask = torch.rand(3, length, generator=torch.Generator().manual_seed(0)) > 0.3
    chosen = mask if padded else None
    leaves = [one.requires_grad_() for one in (*draw(3, length), *projections(6, 80))]
    q, k, v, *matrices = leaves
    found = linformer_attention(q, k, v, chosen, (matrices[0], matrices[1]))
    wanted = linformer_attention_reference(q, k, v, chosen, (matrices[0], matrices[1]))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    found_gradients = torch.autograd.grad((found * weights).sum(), leaves)
    wanted_gradients = torch.autograd.grad((wanted * weights).sum(), leaves)
    for ours, reference in zip(found_gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-12)


def test_with_the_identity_for_projection_it_is_softmax_attention() -> None:
    q, k, v = draw(2, 20)
    identity = torch.eye(20, dtype=torch.float64)
    found = linformer_attention(q, k, v, None, (identity, identity))
    torch.testing.assert_close(found, softmax_attention_reference(q, k, v, None))


def test_it_comes_closer_to_softmax_with_more_projected_positions() -> None:
    """Projected to the means of ever shorter segments, of keys and values that change slowly."""
    q, k, v = draw(2, 64)
    k, v = k.cumsum(dim=2) / 8, v.cumsum(dim=2) / 8
    wanted = softmax_attention_reference(q, k, v, None)

    def error(num_projected: int) -> float:
        segment = 64 // num_projected
        means = torch.eye(num_projected, dtype=torch.float64).repeat_interleave(segment, dim=1)
        matrix = means / segment
        return float((linformer_attention(q, k, v, None, (matrix, matrix)) - wanted).norm())

    errors = [error(num_projected) for num_projected in (2, 8, 32, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12


def test_padding_and_batch_mates_change_nothing() -> None:
    q, k, v = draw(3, 40)
    mask = torch.arange(40) < torch.tensor([[17], [40], [1]])
    module = build()
    together = module(q, k, v, mask, None)
    for row, kept in enumerate((17, 40, 1)):
        alone = module(*(one[row : row + 1, :, :kept] for one in (q, k, v)), None, None)
        torch.testing.assert_close(together[row : row + 1, :, :kept], alone)


def test_poison_in_the_padding_reaches_nothing() -> None:
    inputs = draw(2, 24)
    mask = torch.rand(2, 24, generator=torch.Generator().manual_seed(0)) > 0.5
    padding = ~mask[:, None, :, None]
    module = build()
    wanted = module(*inputs, mask, None)
    q, k, v = inputs
    k, v = (one.masked_fill(padding, torch.nan).requires_grad_() for one in (k, v))
    found = module(q, k, v, mask, None)
    assert torch.equal(found, wanted)
    gradients = torch.autograd.grad(found.sum(), (k, v, *module.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_row_without_real_positions_is_finite() -> None:
    q, k, v = (one.requires_grad_() for one in draw(1, 9))
    out = build()(q, k, v, torch.zeros(1, 9, dtype=torch.bool), None)
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(one).all() for one in torch.autograd.grad(out.sum(), (q, k, v)))


def test_sharing_decides_how_many_matrices_there_are() -> None:
    separate, one = build(), build(share="keys-and-values")
    assert [parameter.shape for parameter in separate.parameters()] == [(6, 80), (6, 80)]
    assert [parameter.shape for parameter in one.parameters()] == [(6, 80)]
    q, k, v = draw(1, 30)
    matrix = one.key_projection_PL
    wanted = linformer_attention_reference(q, k, v, None, (matrix, matrix))
    torch.testing.assert_close(one(q, k, v, None, None), wanted)


def test_the_seed_decides() -> None:
    once, again = (list(build().parameters()) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], once[1])


def test_an_input_beyond_the_limit_is_refused_with_the_limit_named() -> None:
    with pytest.raises(ConfigError, match="at most 80 positions, not 81") as raised:
        build()(*draw(1, 81), None, None)
    assert raised.value.hint is not None
    assert "windows of 80" in raised.value.hint


@pytest.mark.parametrize(
    "wrong", [{"max_length": 0}, {"num_projected": 0}, {"share": "everything"}]
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="linformer"):
        build(**wrong)
