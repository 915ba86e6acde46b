"""Every memory plan with every mechanism it can train: the gradients of plain autograd."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.plans import (
    PLANS,
    MemoryConfig,
    accumulate_gradients,
    check_plan,
)
from genomeformer_cli.core.models.genomeformer import activation_store as streams
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Prediction
from tests.gradient_cases import (
    COMPLEMENT,
    DOCUMENTS,
    MASK,
    MIXTURES,
    SHAPES,
    config,
    examples,
    gradients,
    sliceable,
    worst,
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


CASES = cases()
SLICEABLE = sliceable()
# Two stacks of their own weights with every mechanism are slow: tied ones run the same code.
UNTIED = ("linear+local", "gated-delta")
# Examples, and the slices they are computed by: of one position, uneven ones, more than the rows.
BATCHES = (
    (examples(1, 9), (1,)),
    (examples(), (11, 200)),
    # Plans compute row by row: one row of each kind.
    (examples(3, mask=MASK[[0, 1, 3]]), (14,)),
    (examples(2, documents=DOCUMENTS[2:]), (16,)),
)


def marked(found: Iterable[tuple[str, ...]]) -> list[Any]:
    """Mark the slow ones of cases that end in a mechanism and a shape."""
    return [
        pytest.param(*case, marks=pytest.mark.slow, id="-".join(case))
        if case[-1] == "two-stack-untied" and case[-2] not in UNTIED
        else pytest.param(*case, id="-".join(case))
        for case in found
    ]


@lru_cache(maxsize=1)
def autograd_of(
    attention: str, shape: str
) -> tuple[Model, list[tuple[Prediction, dict[str, torch.Tensor]]]]:
    """Build a model; compute its plain gradients once for all plans."""
    model = build_model(config(attention, shape)).double()
    return model, [gradients(model, asked, MemoryConfig(plan="full")) for asked, _ in BATCHES]


def test_the_table_reaches_every_mechanism_that_can_stream_or_sum() -> None:
    reached = {(plan, attention) for plan, attention, _ in CASES}
    for attention in ("linear", "performer", "gated-linear", "gated-delta", "local"):
        assert {("slim", attention), ("two-stack", attention)} <= reached
    for attention in ("linear", "performer", "local", "linear+local"):
        assert ("two-sweep", attention) in reached
    assert {("reversible", attention) for attention in ATTENTIONS} <= reached


@pytest.mark.parametrize(("plan", "attention", "shape"), marked(CASES))
def test_gradients_are_those_of_autograd(plan: str, attention: str, shape: str) -> None:
    model, references = autograd_of(attention, shape)
    for (asked, chunks), (wanted, autograd) in zip(BATCHES, references, strict=True):
        # `checkpoint` cuts no slices.
        for chunk in chunks[-1:] if plan == "checkpoint" else chunks:
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


@pytest.mark.parametrize(
    ("plan", "shape"),
    [("checkpoint", "bidirectional"), ("two-sweep", "bidirectional"), ("slim", "causal")],
)
def test_models_without_normalised_queries_and_keys(plan: str, shape: str) -> None:
    settings = replace(config("linear+local", shape), query_key_norm=False)
    model = build_model(settings).double()
    assert not any("query_norm" in name for name, _ in model.named_parameters())
    for asked, chunks in BATCHES:
        _, autograd = gradients(model, asked, MemoryConfig(plan="full"))
        _, ours = gradients(model, asked, MemoryConfig(plan=plan, chunk=chunks[0]))
        assert worst(ours, autograd) <= 1e-12


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


@pytest.mark.parametrize("kept", [1, 2, 5, 99])
def test_slices_that_are_kept_are_computed_once_and_change_nothing(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(config("linear+local", "causal")).double()
    assert isinstance(model, Encoder)
    _, wanted = gradients(model, examples(1), MemoryConfig(plan="full"))
    advance, computed_twice = model.advance, []

    def spied(*given: Any, **named: Any) -> Any:
        computed_twice.append(named["position"])
        return advance(*given, **named)

    monkeypatch.setattr(model, "advance", spied)
    _, found = gradients(model, examples(1), MemoryConfig(plan="slim", chunk=7, kept=kept))
    assert worst(found, wanted) <= 1e-12
    # 37 positions are six slices.
    assert computed_twice == [7 * index for index in range(max(6 - kept, 0))]


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


def test_a_plan_names_its_objection() -> None:
    for plan, attention, shape, why in (
        ("slim", "linear", "bidirectional", "causal stack"),
        ("slim", "softmax", "causal", "no bounded state"),
        ("two-sweep", "linear", "causal", "bidirectional stack"),
        ("two-sweep", "softmax", "bidirectional", "neither additive"),
        ("reversible", "linear", "bidirectional", "reversible residuals"),
        ("two-stack", "linear", "causal", "two stacks"),
        ("two-stack", "reformer", "two-stack", "no bounded state"),
    ):
        model = build_model(config(attention, shape))
        with pytest.raises(ConfigError, match=why) as failure:
            check_plan(model, plan)
        assert failure.value.hint


@pytest.mark.parametrize("conv_width", [0, 3])
@pytest.mark.parametrize(("attention", "shape"), marked(SLICEABLE))
def test_features_by_slices_are_those_of_whole_rows(
    attention: str, shape: str, conv_width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(config(attention, shape, conv_width=conv_width)).double()
    tokens = examples(2, 19).inputs_BL
    wanted = model.hidden(tokens, None)
    # The last time, streams lie in files.
    for chunk, held in ((1, 2**20), (5, 2**20), (19, 2**20), (100, 2**20), (8, 0)):
        monkeypatch.setattr(streams, "HELD", held)
        slices = model.features_by_slices(tokens.to(torch.uint8), chunk)
        found = torch.cat([features.clone() for _, _, features in slices], dim=1)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-11)


def test_a_tied_two_stack_model_gives_the_other_strand_the_same_output() -> None:
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
