"""Inputs on which an attention mechanism must be right, and how two of them are compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Mechanism = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def draw(
    length: int, *, batch: int = 2, heads: int = 2, head_width: int = 8, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values in float64 that require gradients."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randn(
            batch, heads, length, head_width, generator=generator, dtype=torch.float64
        ).requires_grad_()
        for _ in range(3)
    )
    return q, k, v


def holes(batch: int, length: int, *, seed: int = 0) -> Tensor:
    """A mask with padding anywhere; every row has a real position."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, length, generator=generator) < 0.7
    mask[:, length // 2] = True
    return mask


def right_padding(batch: int, length: int) -> Tensor:
    """A mask whose rows end one after the other; the first is full."""
    ends = torch.tensor([length - row * length // (batch + 1) for row in range(batch)])
    return torch.arange(length) < ends[:, None]


def real_output_and_gradients(
    mechanism: Mechanism, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None
) -> tuple[Tensor, ...]:
    """Output at the real positions and the gradients of a random loss over it."""
    out = mechanism(*qkv, mask)
    generator = torch.Generator().manual_seed(7)
    weights = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    if mask is not None:
        padding = ~mask[:, None, :, None]
        out, weights = out.masked_fill(padding, 0), weights.masked_fill(padding, 0)
    return out, *torch.autograd.grad((out * weights).sum(), qkv, materialize_grads=True)


def assert_same(
    ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], *, relative: float = 1e-12
) -> None:
    """Values and gradients agree relative to the largest element of each."""
    for one, other in zip(ours, theirs, strict=True):
        limit = relative * max(float(other.detach().abs().max()), 1.0)
        assert float((one - other).detach().abs().max()) <= limit


def assert_padding_is_out_of_reach(mechanism: Mechanism, length: int) -> None:
    """NaN at padding changes neither values nor gradients, and what is returned is finite."""
    mask = holes(2, length)
    qkv = draw(length)
    padding = ~mask[:, None, :, None]
    poisoned = tuple(x.detach().masked_fill(padding, torch.nan).requires_grad_() for x in qkv)
    clean = real_output_and_gradients(mechanism, qkv, mask)
    dirty = real_output_and_gradients(mechanism, (poisoned[0], poisoned[1], poisoned[2]), mask)
    for one, other in zip(clean, dirty, strict=True):
        assert torch.equal(one, other)
    assert torch.isfinite(mechanism(poisoned[0], poisoned[1], poisoned[2], mask)).all()


def assert_an_empty_row_is_finite(mechanism: Mechanism, length: int) -> None:
    """A row without real positions gives finite values and gradients, and leaves its mate alone."""
    qkv = draw(length)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1] = False
    out = mechanism(*qkv, mask)
    gradients = torch.autograd.grad(out.sum(), qkv, materialize_grads=True)
    assert all(bool(torch.isfinite(x).all()) for x in (out, *gradients))
    alone = mechanism(qkv[0][:1], qkv[1][:1], qkv[2][:1], None)
    assert_same((out[:1],), (alone,))


def assert_a_row_is_the_same_alone(mechanism: Mechanism, length: int) -> None:
    """A row in a padded batch reads what it reads alone and unpadded."""
    mask = right_padding(3, length)
    qkv = draw(length, batch=3)
    together = mechanism(*qkv, mask)
    for row in range(3):
        end = int(mask[row].sum())
        q, k, v = (x[row : row + 1, :, :end] for x in qkv)
        assert_same((together[row : row + 1, :, :end],), (mechanism(q, k, v, None),))
