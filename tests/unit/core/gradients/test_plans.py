"""Every memory plan with every mechanism it can train: the gradients of plain autograd."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.gradients.plans import (
    PLANS,
    MemoryConfig,
    accumulate_gradients,
    check_plan,
)
from genomeformer_cli.core.model.build import Model, build_model
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.model.sweeps import can_pass_state, features_by_slices
from genomeformer_cli.core.objectives.prediction import Examples, Prediction

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
SHAPES: dict[str, dict[str, Any]] = {
    "bidirectional": {},
    "reversible": {"residual": "reversible"},
    "causal": {"direction": "causal"},
    "two-stack": {"direction": "two-stack", "complement": COMPLEMENT},
    "two-stack-untied": {"direction": "two-stack", "tied": False},
}
MIXTURES = [*ATTENTIONS, "linear+local", "gated-linear+local", "performer+softmax"]


def config(attention: str, shape: str, *, conv_width: int = 3) -> ModelConfig:
    dials = AttentionConfig(
        name=attention,
        num_features=8,
        window=4,
        num_projected=6,
        num_landmarks=5,
        hash_chunk=4,
        value_conv_width=5,
    )
    return ModelConfig(
        context=64,
        width=16,
        depth=3,
        num_heads=2,
        mlp_width=24,
        attention=dials,
        conv_width=conv_width,
        **SHAPES[shape],
    )


def cases() -> list[tuple[str, str, str]]:
    """Every plan, mechanism and shape of model that go together."""
    found: list[tuple[str, str, str]] = []
    for shape, attention in itertools.product(SHAPES, MIXTURES):
        try:
            model = build_model(config(attention, shape))
        except ConfigError:
            continue
        plans = (plan for plan, entry in PLANS.items() if entry.objection(model) is None)
        found += [(plan, attention, shape) for plan in plans if plan != "full"]
    return found


def sliceable() -> list[tuple[str, str]]:
    """Mechanisms and shapes of models that can be read slice by slice."""
    found: list[tuple[str, str]] = []
    for shape, attention in itertools.product(SHAPES, MIXTURES):
        with suppress(ConfigError):
            if can_pass_state(build_model(config(attention, shape))):
                found.append((attention, shape))
    return found


CASES = cases()
SLICEABLE = sliceable()


def examples(
    batch: int = 2, length: int = 37, mask: Tensor | None = None, documents: Tensor | None = None
) -> Examples:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 9, (batch, length), generator=generator)
    asked = torch.rand(batch, length, generator=generator) < 0.4
    if mask is not None:
        asked, tokens = asked & mask, tokens.masked_fill(~mask, 0)
    if documents is not None:
        asked = asked & (documents >= 0)
    return Examples(
        inputs_BL=tokens,
        targets_BL=torch.where(asked, tokens, -100),
        weights_BL=torch.rand(batch, length, generator=generator, dtype=torch.float64),
        real_ids=range(5, 9),
        mask_BL=mask,
        documents_BL=documents,
    )


def gradients(
    model: Model, asked: Examples, memory: MemoryConfig
) -> tuple[Prediction, dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    prediction = accumulate_gradients(model, asked, memory)
    return prediction, {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def worst(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest relative error of any weight's gradient; of all together where it is nearly 0."""
    scale = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    return max(
        float((found[name] - wanted[name]).norm() / (wanted[name].norm() + 1e-3 * scale))
        for name in wanted
    )


MASK = torch.arange(37) < torch.tensor([37, 20, 37, 1])[:, None]
DOCUMENTS = torch.tensor(
    [[0] * 10 + [1] * 27, [2] * 37, [3] * 5 + [4] * 30 + [-1] * 2, [5] * 9 + [6] * 9 + [7] * 19]
)


def test_the_table_reaches_every_mechanism_that_can_stream_or_sum() -> None:
    reached = {(plan, attention) for plan, attention, _ in CASES}
    for attention in ("linear", "performer", "gated-linear", "gated-delta", "local"):
        assert {("slim", attention), ("two-stack", attention)} <= reached
    for attention in ("linear", "performer", "local", "linear+local"):
        assert ("two-sweep", attention) in reached
    assert {("reversible", attention) for attention in ATTENTIONS} <= reached


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_gradients_are_those_of_autograd(case: tuple[str, str, str]) -> None:
    plan, attention, shape = case
    model = build_model(config(attention, shape)).double()
    batches = (
        (examples(), (1, 7, 16, 74, 200)),
        (examples(4, mask=MASK), (9,)),
        (examples(4, documents=DOCUMENTS), (9,)),
    )
    for asked, chunks in batches:
        wanted, autograd = gradients(model, asked, MemoryConfig(plan="full"))
        for chunk in chunks:
            found, ours = gradients(model, asked, MemoryConfig(plan=plan, chunk=chunk))
            assert worst(ours, autograd) <= 1e-12
            assert float(found.loss) == pytest.approx(float(wanted.loss), rel=1e-12)
            assert float(found.bits) == pytest.approx(float(wanted.bits), rel=1e-12)
            assert (found.num_targets, found.num_correct) == (
                wanted.num_targets,
                wanted.num_correct,
            )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case[1] in ("linear", "performer")], ids="-".join
)
def test_gradients_in_float32(case: tuple[str, str, str]) -> None:
    plan, attention, shape = case
    model = build_model(config(attention, shape))
    asked = replace(examples(2, 600), weights_BL=torch.ones(2, 600))
    _, autograd = gradients(model, asked, MemoryConfig(plan="full"))
    _, ours = gradients(model, asked, MemoryConfig(plan=plan, chunk=128))
    assert worst(ours, autograd) <= 1e-5


@pytest.mark.parametrize("shape", list(SHAPES))
def test_documents_train_as_if_each_were_alone(shape: str) -> None:
    model = build_model(config("linear+local", shape)).double()
    _, packed = gradients(model, examples(4, documents=DOCUMENTS), MemoryConfig(plan="full"))
    asked = examples(4, documents=DOCUMENTS)
    alone = {name: torch.zeros_like(gradient) for name, gradient in packed.items()}
    for number in range(8):
        (rows,) = DOCUMENTS.eq(number).any(dim=1).nonzero(as_tuple=True)
        row = int(rows[0])
        (places,) = (DOCUMENTS[row] == number).nonzero(as_tuple=True)
        part = slice(int(places[0]), int(places[-1]) + 1)
        model.zero_grad(set_to_none=True)
        whole = replace(asked, documents_BL=None).rows(slice(row, row + 1))
        one = whole.part(part.start, part.stop)
        share = one.total_weight / asked.total_weight
        prediction = accumulate_gradients(model, one, MemoryConfig(plan="full"))
        assert prediction.num_targets
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                alone[name] += parameter.grad * share
    assert worst(alone, packed) <= 1e-12


@pytest.mark.parametrize("plan", ["full", "checkpoint", "two-sweep"])
@pytest.mark.parametrize("rows", [1, 3])
def test_rows_at_a_time_change_nothing(plan: str, rows: int) -> None:
    model = build_model(config("linear", "bidirectional")).double()
    asked = examples(4, mask=MASK)
    _, wanted = gradients(model, asked, MemoryConfig(plan="full"))
    _, found = gradients(model, asked, MemoryConfig(plan=plan, rows=rows))
    assert worst(found, wanted) <= 1e-12


def test_half_precision_buffers_are_nearly_exact() -> None:
    model = build_model(config("linear+local", "bidirectional"))
    asked = replace(examples(1, 300), weights_BL=torch.ones(1, 300))
    _, wanted = gradients(model, asked, MemoryConfig(plan="full"))
    half = MemoryConfig(plan="two-sweep", chunk=64, storage="bfloat16")
    _, found = gradients(model, asked, half)
    assert 1e-6 < worst(found, wanted) < 2e-2


def test_gradients_are_added_to_those_that_are_there() -> None:
    for plan, shape in (("slim", "causal"), ("two-sweep", "bidirectional")):
        model = build_model(config("linear", shape)).double()
        memory = MemoryConfig(plan=plan, chunk=8)
        _, once = gradients(model, examples(), memory)
        accumulate_gradients(model, examples(), memory)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, 2 * once[name])


def test_every_mechanism_that_streams_or_sums_is_read_slice_by_slice() -> None:
    for attention in ("linear", "performer", "gated-linear", "gated-delta", "local"):
        assert {(attention, "causal"), (attention, "two-stack")} <= set(SLICEABLE)
    for attention in ("linear", "performer", "local", "linear+local"):
        assert {(attention, "bidirectional"), (attention, "reversible")} <= set(SLICEABLE)


def test_a_plan_says_what_it_cannot_train() -> None:
    for plan, attention, shape, why in (
        ("slim", "linear", "bidirectional", "causal stack"),
        ("slim", "softmax", "causal", "no bounded state"),
        ("two-sweep", "linear", "causal", "bidirectional stack"),
        ("two-sweep", "softmax", "bidirectional", "neither sums"),
        ("reversible", "linear", "bidirectional", "reversible residuals"),
        ("two-stack", "linear", "causal", "two stacks"),
        ("two-stack", "reformer", "two-stack", "no bounded state"),
    ):
        model = build_model(config(attention, shape))
        with pytest.raises(ConfigError, match=why) as failure:
            check_plan(model, plan)
        assert failure.value.hint


@pytest.mark.parametrize("conv_width", [0, 3])
@pytest.mark.parametrize(("attention", "shape"), SLICEABLE)
def test_features_by_slices_are_those_of_whole_rows(
    attention: str, shape: str, conv_width: int
) -> None:
    model = build_model(config(attention, shape, conv_width=conv_width)).double()
    tokens = examples().inputs_BL
    wanted = model.hidden(tokens, None)
    for chunk in (1, 5, 8, 37, 100):
        slices = features_by_slices(model, tokens, chunk)
        found = torch.cat([features.clone() for _, _, features in slices], dim=1)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-11)


def test_a_tied_two_stack_model_says_the_same_of_the_other_strand() -> None:
    model = build_model(config("gated-delta+local", "two-stack")).double()
    tokens = examples(2, 30).inputs_BL
    complement = torch.tensor(COMPLEMENT)
    there = model(tokens, None)
    back = model(complement[tokens.flip(1)], None)
    torch.testing.assert_close(back.flip(1)[..., complement], there)
    mask = torch.arange(30) < torch.tensor([30, 17])[:, None]
    padded = model(tokens.masked_fill(~mask, 0), mask)
    torch.testing.assert_close(padded[1:, :17], model(tokens[1:, :17], None))


def test_two_stacks_do_not_see_what_they_predict() -> None:
    model = build_model(config("linear", "two-stack")).double()
    tokens = examples(1, 20).inputs_BL
    before = model(tokens, None)
    changed = tokens.clone()
    changed[0, 9] = 5 + (int(tokens[0, 9]) - 4) % 4
    after = model(changed, None)
    torch.testing.assert_close(after[:, 9], before[:, 9])
    others = [place for place in range(20) if place != 9]
    assert (after[0, others] - before[0, others]).abs().amax(dim=-1).min() > 0
