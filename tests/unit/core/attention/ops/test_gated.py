"""Gated linear attention and the gated delta rule against their recurrences, token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels import chunked_scan as blocks
from genomeformer_cli.core.attention.ops.gated_delta import (
    GatedDeltaAttention,
    gated_delta_attention_reference,
)
from genomeformer_cli.core.attention.ops.gated_linear import (
    GatedLinearAttention,
    gated_linear_attention_reference,
)
from genomeformer_cli.core.errors import ConfigError
from tests.unit.core.attention.ops.recurrences import (
    HEADS,
    WIDTH,
    assert_equal,
    draw,
    in_slices,
    poisoned,
    scattered_mask,
    values_and_gradients,
)

Gated = GatedLinearAttention | GatedDeltaAttention
LENGTHS = [1, 2, 63, 64, 65, 200]


@pytest.fixture(params=[GatedLinearAttention, GatedDeltaAttention], ids=["linear", "delta"])
def module(request: pytest.FixtureRequest) -> Gated:
    """With gains and rates that differ from head to head."""
    made: Gated = request.param(num_heads=HEADS, head_width=WIDTH).double()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks._BLOCK_NUMBERS, "cpu", 8 * 2 * HEADS * 64 * 64)


def by_token(
    module: Gated, tensors: tuple[Tensor, ...], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The recurrence, with decays and strengths from the gates as the docstrings have them."""
    q, k, v, gates = tensors
    rate, bias = module.decay.log_rate_H.exp()[:, None], module.decay.bias_H[:, None]
    log_decay = -rate * torch.log1p(torch.exp(gates[..., 0] + bias))
    strength = 1 / (1 + torch.exp(-gates[..., -1]))
    if mask is not None:
        log_decay, strength = log_decay * mask[:, None], strength * mask[:, None]
    state = torch.zeros(len(q), HEADS, WIDTH, WIDTH, dtype=torch.float64)
    if isinstance(module, GatedDeltaAttention):
        tokens = (q, k, v, log_decay, strength)
        return gated_delta_attention_reference(tokens, mask, state, module.gain)
    return gated_linear_attention_reference((q, k, v, log_decay), mask, state, module.gain)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("padded", [False, True])
def test_it_equals_the_recurrence(module: Gated, length: int, padded: bool) -> None:
    mask = scattered_mask(2, length) if padded else None
    leaves = draw(2, length, num_gates=module.num_gates)
    # The norm cancels the scale of a single token's output: its gradient is a small difference.
    within = 1e-12 if length > 1 else 1e-10

    def gradients_of_weights(run: Any) -> list[Tensor]:
        out, state = run()
        out = out if mask is None else out * mask[:, None, :, None]
        return list(
            torch.autograd.grad(out.sin().sum() + state.sin().sum(), list(module.parameters()))
        )

    found = values_and_gradients(
        lambda *x: in_slices(module, x, mask, (length,)), leaves, real=mask
    )
    wanted = values_and_gradients(lambda *x: by_token(module, x, mask), leaves, real=mask)
    assert_equal(found, wanted, within=within)
    assert_equal(
        gradients_of_weights(lambda: in_slices(module, leaves, mask, (length,))),
        gradients_of_weights(lambda: by_token(module, tuple(leaves), mask)),
        within=within,
    )


@pytest.mark.parametrize("lengths", [(1,) * 5 + (195,), (64, 64, 72), (17, 100, 83)])
def test_slices_have_the_values_and_gradients_of_the_whole(
    module: Gated, lengths: tuple[int, ...]
) -> None:
    mask, leaves = scattered_mask(2, 200), draw(2, 200, num_gates=module.num_gates)
    whole = values_and_gradients(lambda *x: in_slices(module, x, mask, (200,)), leaves, real=mask)
    parts = values_and_gradients(lambda *x: in_slices(module, x, mask, lengths), leaves, real=mask)
    assert_equal(parts, whole, within=1e-12)


def test_what_is_not_a_number_in_the_padding_reaches_nothing(module: Gated) -> None:
    leaves, mask = draw(2, 90, num_gates=module.num_gates), scattered_mask(2, 90)

    def run(*x: Tensor) -> tuple[Tensor]:
        return (module(x[0], x[1], x[2], mask, x[3]),)

    clean = values_and_gradients(run, leaves, real=mask)
    assert_equal(values_and_gradients(run, poisoned(leaves, mask), real=mask), clean, within=0.0)
    out = module(*(x.requires_grad_() for x in poisoned(leaves, mask)[:3]), mask, leaves[3])
    (out * mask[:, None, :, None]).sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("gate", [-200.0, 200.0, 1e4])
def test_extreme_gates_stay_finite_in_float32(module: Gated, gate: float) -> None:
    tensors = [tensor.float() for tensor in draw(1, 200, num_gates=module.num_gates)]
    tensors[3] = torch.full_like(tensors[3], gate)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    q, k, v, gates = leaves
    out = module.float()(q, k, v, None, gates)
    gradients = torch.autograd.grad(out.sum(), leaves)
    assert all(torch.isfinite(tensor).all() for tensor in (out, *gradients))


def test_a_cleared_state_forgets_what_was_before(module: Gated) -> None:
    q, k, v, gates = draw(1, 100, num_gates=module.num_gates)
    gates[:, :, 70, 0] = 1e3
    whole = module(q, k, v, None, gates)
    since = module(*(x[:, :, 70:] for x in (q, k, v)), None, gates[:, :, 70:])
    torch.testing.assert_close(whole[:, :, 70:], since)


def test_the_delta_rule_replaces_what_stood_under_a_key() -> None:
    """Written twice under one key without forgetting, the second value alone is read back."""
    module = GatedDeltaAttention(num_heads=1, head_width=WIDTH).double()
    k = torch.randn(1, 1, 1, WIDTH, dtype=torch.float64).expand(1, 1, 2, WIDTH) * 1e4
    v = torch.randn(1, 1, 2, WIDTH, dtype=torch.float64)
    gates = torch.tensor([-60.0, 60.0], dtype=torch.float64).expand(1, 1, 2, 2)
    out = module(k, k, v, None, gates)
    torch.testing.assert_close(out, v / (v.square().mean(-1, keepdim=True) + 1e-6).sqrt())


def test_all_weights_are_vectors(module: Gated) -> None:
    """Weight decay is for matrices: gains, rates and biases are left alone."""
    assert all(parameter.dim() == 1 for parameter in module.parameters())


def test_memories_are_spread_before_training() -> None:
    decay = GatedLinearAttention(num_heads=5, head_width=WIDTH).decay
    memories = -1 / decay(torch.zeros(1, 5, 1), None)[0, :, 0]
    wanted = torch.tensor([8.0, 32.0, 128.0, 512.0, 2048.0])
    torch.testing.assert_close(memories, wanted, rtol=1e-3, atol=0.0)


def test_gates_are_requested_by_mechanisms(module: Gated) -> None:
    q, k, v, gates = draw(1, 4, num_gates=module.num_gates)
    with pytest.raises(ConfigError, match="per head"):
        module(q, k, v, None, None)
    with pytest.raises(ConfigError, match="per head"):
        module(q, k, v, None, torch.cat((gates, gates), dim=-1))
