"""Forecasts of plans from short rows; `slim` keeps as many slices as a budget allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.forecast import (
    SHARE_OF_AVAILABLE,
    Step,
    choose,
    forecast,
    try_step,
)
from genomeformer_cli.core.memory_plans.plans import AUTO, MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter

CHUNK = 48
SLICES = 12
STEP = Step(batch=1, length=CHUNK * SLICES, real_ids=range(5, 9))
SLIM = MemoryConfig(plan="slim", chunk=CHUNK)
# Weights, and the optimizer's two moments.
FIXED = 3


def causal_model() -> Model:
    shape = ModelConfig(
        context=STEP.length,
        width=32,
        depth=2,
        num_heads=2,
        mlp_width=64,
        direction="causal",
        attention=AttentionConfig(name="linear"),
    )
    return build_model(shape)


def measured(model: Model, memory: MemoryConfig) -> int:
    """The most bytes of a step as it is."""
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return try_step(model, STEP, memory).num_bytes + FIXED * weights


@pytest.mark.parametrize("kept", [1, 7, SLICES])
def test_a_long_step_is_distinguished_from_short_ones(kept: int) -> None:
    model = causal_model()
    found = forecast(model, STEP, replace(SLIM, kept=kept))
    assert found.num_bytes == pytest.approx(measured(model, found.memory), rel=0.1)


def test_slim_keeps_as_many_slices_as_the_budget_allows() -> None:
    model = causal_model()
    least, most = (measured(model, replace(SLIM, kept=kept)) for kept in (1, SLICES))
    chosen = [
        choose(model, STEP, SLIM, round(least + share * (most - least)), SilentReporter()).kept
        for share in (0.1, 0.5, 2.0)
    ]
    assert chosen[0] < SLICES / 4 < chosen[1] < chosen[2] == SLICES
    for share, kept in zip((0.1, 0.5), chosen, strict=False):
        limit = least + share * (most - least)
        one = (most - least) / (SLICES - 1)
        assert limit - 3 * one < measured(model, replace(SLIM, kept=kept)) < limit + one


def test_a_number_that_is_given_is_kept() -> None:
    model = causal_model()
    assert choose(model, STEP, replace(SLIM, kept=3), 2**30, SilentReporter()).kept == 3
    assert choose(model, STEP, replace(SLIM, kept=3), None, SilentReporter()).kept == 3


def test_without_number_or_budget_six_slices_are_kept_if_they_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = causal_model()
    usual = replace(SLIM, kept=6)
    assert choose(model, STEP, SLIM, None, SilentReporter()) == usual
    assert forecast(model, STEP, SLIM).memory == usual
    least, most = (measured(model, replace(SLIM, kept=kept)) for kept in (1, 6))
    for available, kept in ((2 * most, {6}), ((least + most) // 2, {2, 3, 4, 5}), (2**10, {1})):
        monkeypatch.setattr(
            "genomeformer_cli.core.memory_plans.forecast.available_bytes",
            lambda _device, available=available: round(available / SHARE_OF_AVAILABLE),
        )
        assert choose(model, STEP, SLIM, None, SilentReporter()).kept in kept


def test_auto_too_fills_its_budget() -> None:
    model = causal_model()
    wanted = replace(SLIM, plan=AUTO)
    full, two, one = (
        measured(model, memory)
        for memory in (replace(SLIM, plan="full"), replace(SLIM, kept=6), replace(SLIM, kept=1))
    )
    assert one < two < full
    chosen = choose(model, STEP, wanted, two, SilentReporter())
    assert chosen.plan == "slim"
    assert 3 <= chosen.kept <= 7


@pytest.mark.parametrize("plan", ["full", "slim"])
def test_a_plan_that_does_not_fit_is_refused(plan: str) -> None:
    with pytest.raises(ConfigError, match=f"`--memory {plan}` takes .* GiB, more than the 0.00"):
        choose(causal_model(), STEP, MemoryConfig(plan=plan, chunk=CHUNK), 2**10, SilentReporter())
