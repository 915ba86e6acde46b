"""The table of memory plans: which models each can train, and how.

`auto` is not in it: see `forecast`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocol import Additive, Streaming
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.gradients.reversible import reversible_gradients
from genomeformer_cli.core.gradients.rows import even_rows
from genomeformer_cli.core.gradients.slim import slim_gradients
from genomeformer_cli.core.gradients.two_stack import two_stack_gradients
from genomeformer_cli.core.gradients.two_sweep import two_sweep_gradients
from genomeformer_cli.core.gradients.whole import checkpoint_gradients, full_gradients
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.model.encoder import Encoder
from genomeformer_cli.core.model.two_stack import TwoStack
from genomeformer_cli.core.objectives.prediction import Examples, Prediction

DEFAULT_CHUNK = 4096
STORAGES = {"weights": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How the gradients of a step are computed.

    Attributes:
        name: A plan of the table.
        chunk: Positions of a slice, for the plans that go slice by slice.
        storage: What `two-sweep` keeps its buffers in: `weights` (as the weights) or `bfloat16`.
    """

    name: str = "full"
    chunk: int = DEFAULT_CHUNK
    storage: str = "weights"


@dataclass(frozen=True, kw_only=True)
class PlanEntry:
    """One plan.

    Attributes:
        gradients: Adds the gradients of a batch to those of the weights.
        objection: Why it cannot train a model, and what could; None if it can.
        memory: Cost in memory, in the length L, blocks n, width d, slice C.
        passes: Times that each block runs forward.
    """

    gradients: Callable[[Model, Examples, MemoryPlan], Prediction]
    objection: Callable[[Model], tuple[str, str] | None]
    memory: str
    passes: str


Sliced = Callable[[Model, Examples, MemoryPlan, Tensor], Prediction]


def _by_rows(sliced: Sliced) -> Callable[[Model, Examples, MemoryPlan], Prediction]:
    """A plan for rows without padding, applied to any batch."""

    def gradients(model: Model, examples: Examples, plan: MemoryPlan) -> Prediction:
        total_weight = examples.total_weight
        parts = [sliced(model, rows, plan, total_weight) for rows in even_rows(examples)]
        return sum(parts[1:], parts[0])

    return gradients


def _slim(model: Model, rows: Examples, plan: MemoryPlan, total_weight: Tensor) -> Prediction:
    assert isinstance(model, Encoder)
    return slim_gradients(model, rows, chunk=plan.chunk, total_weight=total_weight)


def _two_sweep(model: Model, rows: Examples, plan: MemoryPlan, total_weight: Tensor) -> Prediction:
    assert isinstance(model, Encoder)
    return two_sweep_gradients(
        model,
        rows,
        chunk=plan.chunk,
        total_weight=total_weight,
        storage=STORAGES[plan.storage],
    )


def _reversible(model: Model, rows: Examples, plan: MemoryPlan, total_weight: Tensor) -> Prediction:
    assert isinstance(model, Encoder)
    return reversible_gradients(model, rows, chunk=plan.chunk, total_weight=total_weight)


def _two_stack(model: Model, rows: Examples, plan: MemoryPlan, total_weight: Tensor) -> Prediction:
    assert isinstance(model, TwoStack)
    return two_stack_gradients(model, rows, chunk=plan.chunk, total_weight=total_weight)


def _streams(stack: Encoder) -> bool:
    return all(isinstance(block.attention.mechanism, Streaming) for block in stack.stack)


def _needs_nothing(model: Model) -> tuple[str, str] | None:
    del model
    return None


def _needs_a_causal_stack(model: Model) -> tuple[str, str] | None:
    if not isinstance(model, Encoder) or not model.config.causal:
        return "it needs a causal stack", "`--objective causal`, or `--memory two-sweep`"
    if model.config.residual != "plain":
        return "it needs plain residuals", "`--memory reversible`"
    return None if _streams(model) else _no_state(model)


def _needs_two_stacks(model: Model) -> tuple[str, str] | None:
    if not isinstance(model, TwoStack):
        return "it needs a model of two stacks", "start one with `--memory two-stack`"
    return None if _streams(model.ahead) else _no_state(model.ahead)


def _no_state(stack: Encoder) -> tuple[str, str]:
    able = "`linear`, `performer`, `gated-linear`, `gated-delta` or `local`"
    return f"`{stack.config.attention.name}` has no bounded state", f"use {able} attention"


def _needs_sums(model: Model) -> tuple[str, str] | None:
    if not isinstance(model, Encoder) or model.config.causal:
        return "it needs a bidirectional stack", "`--memory slim` for causal ones"
    if model.config.residual != "plain":
        return "it needs plain residuals", "`--memory reversible`"
    unfit = [
        block.attention.mechanism
        for block in model.stack
        if block.attention.reach is None and not isinstance(block.attention.mechanism, Additive)
    ]
    if unfit:
        return (
            f"`{model.config.attention.name}` neither sums a row nor sees only its neighbours",
            "use `linear`, `performer` or `local` attention, or `--memory checkpoint`",
        )
    return None


def _needs_reversible_residuals(model: Model) -> tuple[str, str] | None:
    if not isinstance(model, Encoder) or model.config.residual != "reversible":
        return "it needs reversible residuals", "start a run with `--memory reversible`"
    if model.config.causal:
        return "it needs a bidirectional stack", "`--memory slim` for causal ones"
    return None


PLANS: dict[str, PlanEntry] = {
    "full": PlanEntry(
        gradients=lambda model, examples, plan: full_gradients(model, examples),
        objection=_needs_nothing,
        memory="n L d",
        passes="1",
    ),
    "checkpoint": PlanEntry(
        gradients=lambda model, examples, plan: checkpoint_gradients(model, examples),
        objection=_needs_nothing,
        memory="L d (n inputs, one block)",
        passes="2",
    ),
    "two-sweep": PlanEntry(
        gradients=_by_rows(_two_sweep),
        objection=_needs_sums,
        memory="n buffers of L d",
        passes="2",
    ),
    "reversible": PlanEntry(
        gradients=_by_rows(_reversible),
        objection=_needs_reversible_residuals,
        memory="4 buffers of L d",
        passes="2",
    ),
    "slim": PlanEntry(
        gradients=_by_rows(_slim),
        objection=_needs_a_causal_stack,
        memory="C d + states",
        passes="2",
    ),
    "two-stack": PlanEntry(
        gradients=_by_rows(_two_stack),
        objection=_needs_two_stacks,
        memory="C d + states",
        passes="3",
    ),
}


def plan_entry(name: str) -> PlanEntry:
    """The plan of that name.

    Raises:
        ConfigError: It is unknown; the hint lists the known ones.
    """
    if name not in PLANS:
        known = ", ".join(f"`{known}`" for known in ("auto", *PLANS))
        raise ConfigError(f"unknown memory plan `{name}`", hint=f"known: {known}")
    return PLANS[name]


def check_plan(model: Model, plan: MemoryPlan) -> None:
    """Make sure that a plan can train a model.

    Raises:
        ConfigError: It cannot; the hint says what can.
    """
    objection = plan_entry(plan.name).objection(model)
    if objection is not None:
        raise ConfigError(
            f"`--memory {plan.name}` cannot train this model: {objection[0]}", hint=objection[1]
        )


def accumulate_gradients(model: Model, examples: Examples, plan: MemoryPlan) -> Prediction:
    """Add the exact gradients of a batch's loss to those of the weights.

    Raises:
        ConfigError: The plan cannot train the model.
    """
    check_plan(model, plan)
    return plan_entry(plan.name).gradients(model, examples, plan)
