"""Loss of a teacher and its gradients, against loops in double precision and every memory plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.distillation import (
    TeacherConfig,
    TeacherTargets,
    divergence,
    soften,
)
from genomeformer_cli.core.objectives.loss import Examples
from tests.gradient_cases import DOCUMENTS, MASK, config, examples, gradient_of, gradients, worst

FULL = MemoryConfig(plan="full")
WIDTH = 7


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def taught(asked: Examples, model: Model, **settings: float) -> Examples:
    """Examples with random targets of a teacher; it predicts two positions in three."""
    generator = torch.Generator().manual_seed(4)
    shape = asked.inputs_BL.shape
    logits = torch.randn(*shape, 4, generator=generator)
    torch.manual_seed(5)
    known = (torch.rand(shape, generator=generator) < 0.7) * 1.5
    dials = TeacherConfig(**{"logits": 0.3, "features": 0.2, "temperature": 2.0, **settings})  # type: ignore[arg-type]
    return replace(
        asked,
        teacher=TeacherTargets(
            config=dials,
            nats_BLR=soften(logits, dials.temperature),
            weights_BL=known,
            features_BLF=torch.randn(*shape, WIDTH, generator=generator),
            projection=nn.Linear(model.feature_width, WIDTH, bias=False),
        ),
    )


def by_loops(model: Model, asked: Examples) -> Tensor:
    """Return the loss, one target after the other."""
    teacher = asked.teacher
    assert teacher is not None
    assert teacher.features_BLF is not None
    assert teacher.projection is not None
    dials = teacher.config
    hidden = model.hidden(asked.inputs_BL, asked.mask_BL, asked.documents_BL)
    total, weight = torch.zeros(()), torch.zeros(())
    for row, place in (asked.targets_BL >= 0).nonzero().tolist():
        logits = model.logits(hidden[row, place])[5:9]
        own = asked.weights_BL[row, place]
        true = -logits.log_softmax(0)[asked.targets_BL[row, place] - 5]
        p = teacher.nats_BLR[row, place].exp()
        q = (logits / dials.temperature).softmax(0)
        apart = dials.temperature**2 * sum(p[r] * (p[r] / q[r]).log() for r in range(4))
        projected = teacher.projection.weight @ hidden[row, place]
        feature = teacher.features_BLF[row, place]
        cosine = projected @ feature / (projected.norm() * feature.norm())
        known = teacher.weights_BL[row, place]
        total = total + own * (
            (1 - dials.logits) * true + dials.logits * known * apart + dials.features * (1 - cosine)
        )
        weight = weight + own
    return total / weight


SHAPES = ["bidirectional", "causal", "two-stack", "reversible"]


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_are_those_of_loops(shape: str) -> None:
    model = build_model(config("linear", shape), seed=1)
    asked = taught(examples(4, mask=MASK), model)
    assert asked.teacher is not None
    projection = asked.teacher.projection
    assert projection is not None
    prediction, computed = gradients(model, asked, FULL)
    aside = gradient_of(projection)
    model.zero_grad(set_to_none=True)
    projection.zero_grad()
    loss = by_loops(model, asked)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(prediction.loss) == pytest.approx(float(loss.detach()), rel=1e-12)
    looped = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert worst({name: computed[name] for name in looped}, looped) < 1e-10
    torch.testing.assert_close(aside, gradient_of(projection), rtol=1e-10, atol=1e-14)


PLANS = {
    "checkpoint": ("softmax", "bidirectional"),
    "two-sweep": ("linear", "bidirectional"),
    "reversible": ("linear", "reversible"),
    "slim": ("linear", "causal"),
    "two-stack": ("linear", "two-stack"),
}


@pytest.mark.parametrize("rows", ["padded", "packed"])
@pytest.mark.parametrize("plan", PLANS)
def test_every_memory_plan_gives_the_gradients_of_whole_rows(plan: str, rows: str) -> None:
    model = build_model(config(*PLANS[plan]), seed=2)
    layout: dict[str, Any] = {"mask": MASK} if rows == "padded" else {"documents": DOCUMENTS}
    asked = taught(examples(4, **layout), model)
    assert asked.teacher is not None
    projection = asked.teacher.projection
    assert projection is not None
    whole, wanted = gradients(model, asked, FULL)
    wanted["projection"] = gradient_of(projection)
    projection.zero_grad()
    sliced, found = gradients(model, asked, MemoryConfig(plan=plan, chunk=16, rows=3))
    found["projection"] = gradient_of(projection)
    assert worst(found, wanted) < 1e-8
    assert float(sliced.loss) == pytest.approx(float(whole.loss), rel=1e-10)


@given(st.integers(0, 2**31), st.floats(0.25, 8.0))
def test_the_gradient_of_the_divergence_is_its_closed_form(seed: int, temperature: float) -> None:
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(5, 4, generator=generator, requires_grad=True)
    teacher = torch.randn(5, 4, generator=generator)
    nats = soften(teacher, temperature)
    apart = divergence(nats, student, temperature)
    assert (apart >= -1e-12).all()
    (gradient,) = torch.autograd.grad(apart.sum(), [student])
    closed = temperature * ((student / temperature).softmax(-1) - nats.exp())
    torch.testing.assert_close(gradient, closed, rtol=1e-9, atol=1e-12)
    same = divergence(soften(student, temperature), student, temperature)
    torch.testing.assert_close(same, torch.zeros(5), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"logits": 1.5}, "teacher.logits"),
        ({"features": -0.1}, "teacher.features"),
        ({"temperature": 0.0}, "teacher.temperature"),
        ({"temperature": float("nan")}, "teacher.temperature"),
        ({"every": 1}, "teacher.every"),
        ({"logits": 0.0}, "both 0"),
    ],
)
def test_settings_of_a_teacher_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TeacherConfig(**settings)
