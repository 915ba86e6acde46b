"""Shared parts of tests of linear mechanisms: inputs, comparison of values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.protocols import Streaming

HEADS, WIDTH = 3, 8


def draw(batch: int, length: int, *, num_gates: int = 0, seed: int = 0) -> list[Tensor]:
    """q, k, v, and gates if any, float64."""
    generator = torch.Generator().manual_seed(seed)
    widths = [WIDTH] * 3 + ([num_gates] if num_gates else [])
    return [
        torch.randn(batch, HEADS, length, width, generator=generator, dtype=torch.float64)
        for width in widths
    ]


def scattered_mask(batch: int, length: int, *, seed: int = 1) -> Tensor:
    """Padding anywhere; the first row has none, the last position of the others is real."""
    mask = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) > 0.3
    mask[0] = True
    mask[:, -1] = True
    return mask


def assert_equal(found: Sequence[Tensor], wanted: Sequence[Tensor], *, within: float) -> None:
    """Relative in norm; with a floor, for gradients that are zero but for rounding."""
    for number, (ours, reference) in enumerate(zip(found, wanted, strict=True)):
        error = float((ours - reference).norm() / reference.norm().clamp_min(0.1))
        assert error <= within, f"number {number} is off by {error:.1e}"


def values_and_gradients(
    function: Callable[..., tuple[Tensor, ...]], leaves: Sequence[Tensor], *, real: Tensor | None
) -> list[Tensor]:
    """Return the outputs of `function` and the gradients of a random weighting of them."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    outputs = list(function(*leaves))
    if real is not None:
        outputs[0] = outputs[0] * real[:, None, :, None]
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outputs]
    total = sum(((o * w).sum() for o, w in zip(outputs, weights, strict=True)), torch.tensor(0.0))
    gradients = torch.autograd.grad(total, leaves)
    return [out.detach() for out in outputs] + list(gradients)


def in_slices(
    module: nn.Module, tensors: Sequence[Tensor], mask: Tensor | None, lengths: Sequence[int]
) -> tuple[Tensor, ...]:
    """The output and the last state of `step` over slices of the given lengths."""
    assert isinstance(module, Streaming)
    batch, heads = tensors[0].shape[:2]
    state = module.start(batch, heads, tensors[0])
    parts, start = [], 0
    for length in lengths:
        here = [tensor[:, :, start : start + length] for tensor in tensors]
        gates = here[3] if len(here) > 3 else None
        slice_mask = None if mask is None else mask[:, start : start + length]
        part, state = module.step(here[0], here[1], here[2], slice_mask, gates, state)
        parts.append(part)
        start += length
    assert start == tensors[0].shape[2]
    return torch.cat(parts, dim=2), *state


def poisoned(tensors: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """NaN at the padding."""
    return [tensor.masked_fill(~mask[:, None, :, None], float("nan")) for tensor in tensors]
