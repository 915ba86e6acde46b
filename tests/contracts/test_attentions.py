"""Contract of every mechanism of the registry.

Values against a plain reference are tested mechanism by mechanism, in `unit/core/attention/ops`.
"""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.batch_layout import Layout, Rotary
from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.attention.protocols import Additive, Local, Streaming
from genomeformer_cli.core.attention.registry import (
    ATTENTIONS,
    AttentionConfig,
    AttentionContext,
    check_direction,
)
from genomeformer_cli.core.errors import ConfigError

HEADS, HEAD_WIDTH, CONTEXT = 3, 8, 96
EVERY = [(name, way) for name, entry in ATTENTIONS.items() for way in entry.directions]

Inputs = tuple[Tensor, Tensor, Tensor, Tensor | None]


@pytest.fixture(params=EVERY, ids=lambda one: f"{one[0]}-{one[1]}")
def which(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


def setting(way: str) -> AttentionContext:
    return AttentionContext(
        num_heads=HEADS, head_width=HEAD_WIDTH, context=CONTEXT, causal=way == "causal"
    )


def small(name: str) -> AttentionConfig:
    """Dials small enough for rows of some tens of positions to span several windows."""
    return AttentionConfig(
        name=name, num_features=32, window=5, num_global=2, hash_rounds=2, hash_chunk=4
    )


def build(which: tuple[str, str], *, seed: int = 0) -> nn.Module:
    name, way = which
    generator = torch.Generator().manual_seed(seed)
    return ATTENTIONS[name].build(small(name), setting(way), generator).double()


CAUSAL = [(name, way) for name, way in EVERY if way == "causal"]


def those_that_are(kind: type) -> list[tuple[str, str]]:
    """Those that offer one of the protocols."""
    return [which for which in EVERY if isinstance(build(which), kind)]


def draw(which: tuple[str, str], batch: int, length: int, *, seed: int = 0) -> Inputs:
    """Queries, keys, values, gates; queries and keys of unit variance, as the layer gives them."""
    name, way = which
    entry = ATTENTIONS[name]
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, HEADS, length, HEAD_WIDTH)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    num_gates = entry.num_gates(small(name), setting(way))
    gates = torch.randn(*shape[:3], num_gates, generator=generator, dtype=torch.float64)
    return q, (q if entry.shares_query_key else k), v, gates if num_gates else None


def attend(module: nn.Module, inputs: Inputs, mask: Tensor | None) -> Tensor:
    q, k, v, gates = inputs
    out: Tensor = module(q, k, v, mask, gates)
    return out


def cut(inputs: Inputs, rows: slice, positions: slice) -> Inputs:
    q, k, v, gates = (one if one is None else one[rows, :, positions] for one in inputs)
    assert q is not None
    assert k is not None
    assert v is not None
    return q, k, v, gates


def followed_by(inputs: Inputs, others: Inputs, kept: int) -> Inputs:
    """Replace all positions but the first `kept` by those of other inputs."""

    def replaced(one: Tensor, other: Tensor) -> Tensor:
        return torch.cat((one[:, :, :kept], other[:, :, kept:]), dim=2)

    (q, k, v, gates), (other_q, other_k, other_v, other_gates) = inputs, others
    last = None if gates is None or other_gates is None else replaced(gates, other_gates)
    return replaced(q, other_q), replaced(k, other_k), replaced(v, other_v), last


def ragged_mask(batch: int, length: int) -> Tensor:
    """Row b keeps all but its last 5 b positions, and at least one."""
    kept = (length - 5 * torch.arange(batch)).clamp_min(1)
    return torch.arange(length) < kept[:, None]


def test_every_operation_has_a_reference_beside_it() -> None:
    for name, entry in ATTENTIONS.items():
        mechanism = build((name, entry.directions[0]))
        modules = [type(part).__module__ for part in mechanism.modules()]
        found = [module for module in modules if ".attention.ops." in module]
        assert found, name
        for module in found:
            functions = dict(inspect.getmembers(importlib.import_module(module)))
            assert any(function.endswith("_reference") for function in functions), module


@pytest.mark.parametrize("length", [1, 2, 13, 64])
def test_it_keeps_shape_and_dtype(which: tuple[str, str], length: int) -> None:
    q, k, v, gates = draw(which, 2, length)
    gates = None if gates is None else gates.float()
    out = build(which).float()(q.float(), k.float(), v.float(), None, gates)
    assert out.shape == v.shape
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("fast", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_gradients_equal_finite_differences(which: tuple[str, str], fast: bool) -> None:
    """The fast way compares the whole Jacobian in one random direction, the other its entries."""
    module = build(which)
    mask = torch.tensor([[True] * 6 + [False]])
    q, k, v, gates = draw(which, 1, 7)
    shared = q is k
    leaves = [q, v] if shared else [q, k, v]
    leaves = [leaf.requires_grad_() for leaf in (leaves if gates is None else [*leaves, gates])]

    def run(*given: Tensor) -> Tensor:
        rest = list(given)
        q = rest.pop(0)
        k = q if shared else rest.pop(0)
        v = rest.pop(0)
        out: Tensor = module(q, k, v, mask, rest[0] if rest else None)
        return out[:, :, :6]

    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-5, fast_mode=fast)


def test_padding_changes_nothing(which: tuple[str, str]) -> None:
    module = build(which)
    inputs = draw(which, 4, 21)
    mask = ragged_mask(4, 21)
    together = attend(module, inputs, mask)
    for row, kept in enumerate(mask.sum(dim=1).tolist()):
        alone = attend(module, cut(inputs, slice(row, row + 1), slice(0, kept)), None)
        torch.testing.assert_close(together[row : row + 1, :, :kept], alone)


def test_the_content_of_padding_changes_nothing(which: tuple[str, str]) -> None:
    module = build(which)
    q, k, v, gates = draw(which, 2, 16)
    mask = ragged_mask(2, 16)
    real = mask[:, None, :, None]
    before = attend(module, (q, k, v, gates), mask)
    q, k, v = (tensor.masked_fill(~real, 1e2) for tensor in (q, k, v))
    gates = None if gates is None else gates.masked_fill(~real, -9.0)
    after = attend(module, (q, k, v, gates), mask)
    torch.testing.assert_close(before * real, after * real)


def test_a_row_without_a_real_position_is_finite(which: tuple[str, str]) -> None:
    module = build(which)
    inputs = draw(which, 2, 9)
    leaves = [one.requires_grad_() for one in inputs if one is not None]
    mask = torch.tensor([[False] * 9, [True] * 9])
    out = attend(module, inputs, mask)
    assert torch.isfinite(out).all()
    gradients = torch.autograd.grad(out[1].sum(), leaves, materialize_grads=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_row_does_not_depend_on_its_batch_mates(which: tuple[str, str]) -> None:
    module = build(which)
    inputs = draw(which, 3, 17)
    together = attend(module, inputs, None)
    alone = attend(module, cut(inputs, slice(0, 1), slice(None)), None)
    torch.testing.assert_close(together[:1], alone)


def test_the_same_seed_gives_the_same_bits(which: tuple[str, str]) -> None:
    inputs = draw(which, 2, 19)
    once, again = (attend(build(which, seed=5), inputs, None) for _ in range(2))
    assert torch.equal(once, again)


def test_nothing_unwritten_is_read(which: tuple[str, str], poisoned_empty: None) -> None:
    inputs = draw(which, 2, 19)
    assert torch.isfinite(attend(build(which), inputs, ragged_mask(2, 19))).all()


@pytest.mark.parametrize("which", CAUSAL, ids="-".join)
def test_a_causal_mechanism_does_not_see_what_comes(which: tuple[str, str]) -> None:
    module = build(which)
    inputs = draw(which, 1, 23)
    whole = attend(module, inputs, None)
    others = draw(which, 1, 23, seed=1)
    for kept in (1, 8, 22):
        start = attend(module, cut(inputs, slice(None), slice(0, kept)), None)
        torch.testing.assert_close(whole[:, :, :kept], start)
        changed = attend(module, followed_by(inputs, others, kept), None)
        torch.testing.assert_close(changed[:, :, :kept], start)


@pytest.mark.parametrize("which", those_that_are(Streaming), ids="-".join)
@pytest.mark.parametrize("lengths", [(29,), (1, 28), (10, 1, 7, 11), (2,) * 14 + (1,)])
def test_slices_give_what_the_whole_gives(which: tuple[str, str], lengths: tuple[int, ...]) -> None:
    module = build(which)
    assert isinstance(module, Streaming)
    inputs = draw(which, 2, 29)
    mask = ragged_mask(2, 29)
    whole = attend(module, inputs, mask)
    state = module.start(2, HEADS, inputs[0])
    parts, start = [], 0
    for length in lengths:
        q, k, v, gates = cut(inputs, slice(None), slice(start, start + length))
        part, state = module.step(q, k, v, mask[:, start : start + length], gates, state)
        assert all(tensor.is_floating_point() for tensor in state)
        parts.append(part)
        start += length
    real = mask[:, None, :, None]
    torch.testing.assert_close(torch.cat(parts, dim=2) * real, whole * real)


@pytest.mark.parametrize("which", those_that_are(Additive), ids="-".join)
def test_a_sum_of_stretches_is_the_sum_of_the_row(which: tuple[str, str]) -> None:
    module = build(which)
    assert isinstance(module, Additive)
    q, k, v, _ = draw(which, 2, 20)
    mask = ragged_mask(2, 20)
    parts = [
        module.summary(k[:, :, part], v[:, :, part], mask[:, part])
        for part in (slice(0, 7), slice(7, 8), slice(8, 20))
    ]
    total = tuple(sum(tensors[1:], tensors[0]) for tensors in zip(*parts, strict=True))
    real = mask[:, None, :, None]
    whole = attend(module, (q, k, v, None), mask)
    torch.testing.assert_close(module.read(q, total) * real, whole * real)


@pytest.mark.parametrize("which", those_that_are(Local), ids="-".join)
def test_a_local_mechanism_sees_no_further_than_its_reach(which: tuple[str, str]) -> None:
    module = build(which)
    assert isinstance(module, Local)
    inputs = draw(which, 1, 40)
    whole = attend(module, inputs, None)
    first, last = 20 - module.reach, 21 + module.reach
    around = attend(module, cut(inputs, slice(None), slice(first, last)), None)
    torch.testing.assert_close(around[:, :, 20 - first], whole[:, :, 20])


def test_documents_of_a_row_do_not_see_each_other(which: tuple[str, str]) -> None:
    name, way = which
    layer = AttentionLayer(
        name=name,
        config=small(name),
        setting=setting(way),
        generator=torch.Generator().manual_seed(0),
    ).double()
    rotary = Rotary(head_width=HEAD_WIDTH, base=100.0)
    x = torch.randn(2, 30, HEADS * HEAD_WIDTH, dtype=torch.float64)
    documents = torch.tensor([[0] * 11 + [1] * 19, [4] * 3 + [9] * 20 + [2] * 2 + [-1] * 5])
    together = layer(x, rotary.packed_layout(documents))
    for row, start, stop in ((0, 0, 11), (0, 11, 30), (1, 0, 3), (1, 3, 23), (1, 23, 25)):
        layout: Layout = rotary.layout(stop - start, None, device=x.device)
        alone = layer(x[row : row + 1, start:stop], layout)
        torch.testing.assert_close(together[row : row + 1, start:stop], alone)


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_what_it_cannot_do_is_refused(name: str) -> None:
    entry = ATTENTIONS[name]
    for way in ("bidirectional", "causal"):
        config = AttentionConfig(name=name)
        if way in entry.directions:
            check_direction(config, causal=way == "causal")
            continue
        with pytest.raises(ConfigError, match=f"cannot be {way}") as failure:
            check_direction(config, causal=way == "causal")
        assert "`softmax`" in (failure.value.hint or "")


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_the_registry_declares_the_properties_of_each_op(name: str) -> None:
    entry = ATTENTIONS[name]
    assert entry.directions
    assert "arXiv" in entry.paper
    assert "L" in entry.time
    assert "L" in entry.memory
    assert all(hasattr(AttentionConfig(), dial) for dial in entry.options)
