"""Registry of memory plans: the models that each can train, and its cost.

`auto` is not an entry: see `forecast`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocols import Additive, Local, Streaming
from genomeformer_cli.core.attention.registry import mechanisms_implementing
from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.autograd import checkpoint_gradients, full_gradients
from genomeformer_cli.core.memory_plans.reversible import reversible_gradients
from genomeformer_cli.core.memory_plans.slim import slim_gradients
from genomeformer_cli.core.memory_plans.two_stack import two_stack_gradients
from genomeformer_cli.core.memory_plans.two_sweep import two_sweep_gradients
from genomeformer_cli.core.memory_plans.unpad import unpad_rows
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.streaming_forward import whole_patches
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import Examples, Prediction
from genomeformer_cli.core.proposals import propose, quoted

AUTO = "auto"
STORAGES = {"weights": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Computation of the gradients of a step."""

    plan: str = AUTO  # Plan of the registry, or `auto`: the fastest that fits.
    chunk: int = 2048  # Tokens per slice over all rows, for the plans that work slice by slice.
    # Slices at the end of a row whose activations `slim` keeps for the backward pass; 0: as many as
    # the budget allows; without a budget six, or as many as fit.
    kept: int = 0
    # Rows computed at a time; 0: the whole batch, or as many as fit if the plan is `auto`.
    rows: int = 0
    # Precision of the buffers of `two-sweep`: `weights` (as the weights) or `bfloat16`.
    storage: Literal["weights", "bfloat16"] = "weights"

    def __post_init__(self) -> None:
        if self.plan != AUTO:
            plan_entry(self.plan)
        check_range("memory.chunk", self.chunk, 1)
        check_range("memory.kept", self.kept, 0)
        check_range("memory.rows", self.rows, 0)


Gradients = Callable[[Model, Examples, MemoryConfig, Tensor], Prediction]


@dataclass(frozen=True, kw_only=True)
class PlanEntry:
    """Entry of the registry."""

    gradients: Gradients  # Function that adds the gradients of a batch to those of the weights.
    # Function that returns why the plan cannot train a model and which plan can, or None.
    objection: Callable[[Model], tuple[str, str] | None]
    memory: str  # Memory cost in terms of the length L, blocks n, width d and slice C.
    passes: str  # Forward passes per block.
    keeps: bool = False  # True if the plan may keep slices, which then need one forward pass.


_M = TypeVar("_M", bound=Model)


def _by_rows(
    kind: type[_M], gradients: Callable[[_M, Examples, MemoryConfig, Tensor], Prediction]
) -> Gradients:
    """Extend a plan for one class of models and rows without padding to any batch."""

    def of_batch(
        model: Model, examples: Examples, memory: MemoryConfig, total_weight: Tensor
    ) -> Prediction:
        assert isinstance(model, kind)
        parts: list[Prediction] = []
        for rows in unpad_rows(examples):
            chunk = whole_patches(model, max(memory.chunk // len(rows.inputs_BL), 1))
            parts.append(gradients(model, rows, replace(memory, chunk=chunk), total_weight))
        return sum(parts[1:], parts[0])

    return of_batch


def _slim(model: Encoder, rows: Examples, memory: MemoryConfig, total_weight: Tensor) -> Prediction:
    return slim_gradients(
        model, rows, chunk=memory.chunk, num_kept=max(memory.kept, 1), total_weight=total_weight
    )


def _two_sweep(
    model: Encoder, rows: Examples, memory: MemoryConfig, total_weight: Tensor
) -> Prediction:
    return two_sweep_gradients(
        model, rows, chunk=memory.chunk, total_weight=total_weight, storage=STORAGES[memory.storage]
    )


def _reversible(
    model: Encoder, rows: Examples, memory: MemoryConfig, total_weight: Tensor
) -> Prediction:
    return reversible_gradients(model, rows, chunk=memory.chunk, total_weight=total_weight)


def _two_stack(
    model: TwoStack, rows: Examples, memory: MemoryConfig, total_weight: Tensor
) -> Prediction:
    return two_stack_gradients(model, rows, chunk=memory.chunk, total_weight=total_weight)


def _needs_nothing(model: Model) -> tuple[str, str] | None:
    del model
    return None


def _needs_a_causal_stack(model: Model) -> tuple[str, str] | None:
    if model.config.direction != "causal":
        return "it needs a causal stack", "`--objective causal`, or `--memory two-sweep`"
    if model.config.residual != "plain":
        return "it needs plain residuals", "`--memory reversible`"
    return None if model.can_stream else _no_state(model)


def _needs_two_stacks(model: Model) -> tuple[str, str] | None:
    if model.config.direction != "two-stack":
        return "it needs a model of two stacks", "start one with `--memory two-stack`"
    if model.config.patch > 1:
        return "its slices would cut patches", "`--memory checkpoint`, or `model.patch=1`"
    return None if model.can_stream else _no_state(model)


def _no_state(model: Model) -> tuple[str, str]:
    return (
        f"`{model.config.mechanism}` has no bounded state",
        "attention that has: " + quoted(mechanisms_implementing((Streaming,), causal=True)),
    )


def _needs_sums(model: Model) -> tuple[str, str] | None:
    if model.config.strands == "both":
        return "it needs a model of one strand", "`--memory checkpoint`, or two stacks"
    if model.config.causal:
        return "it needs a bidirectional stack", "`--memory slim` for causal ones"
    if model.config.residual != "plain":
        return "it needs plain residuals", "`--memory reversible`"
    if model.config.patch > 1:
        return "it needs tokens without patches", "`--memory checkpoint`, or `model.patch=1`"
    if not model.can_stream:
        return (
            f"`{model.config.mechanism}` is neither additive nor local",
            "`--memory checkpoint`, or attention that is: "
            + quoted(mechanisms_implementing((Additive, Local), causal=False)),
        )
    return None


def _needs_reversible_residuals(model: Model) -> tuple[str, str] | None:
    if model.config.strands == "both":
        return "it needs a model of one strand", "`--memory checkpoint`"
    if model.config.residual != "reversible":
        return "it needs reversible residuals", "start a run with `--memory reversible`"
    if model.config.causal:
        return "it needs a bidirectional stack", "`--memory slim` for causal ones"
    return None


PLANS: dict[str, PlanEntry] = {
    "full": PlanEntry(
        gradients=lambda model, examples, memory, weight: full_gradients(model, examples, weight),
        objection=_needs_nothing,
        memory="n L d",
        passes="1",
    ),
    "checkpoint": PlanEntry(
        gradients=lambda model, examples, memory, weight: checkpoint_gradients(
            model, examples, weight
        ),
        objection=_needs_nothing,
        memory="L d (n inputs, one block)",
        passes="2",
    ),
    "two-sweep": PlanEntry(
        gradients=_by_rows(Encoder, _two_sweep),
        objection=_needs_sums,
        memory="n buffers of L d",
        passes="2",
    ),
    "reversible": PlanEntry(
        gradients=_by_rows(Encoder, _reversible),
        objection=_needs_reversible_residuals,
        memory="4 buffers of L d",
        passes="2",
    ),
    "slim": PlanEntry(
        gradients=_by_rows(Encoder, _slim),
        objection=_needs_a_causal_stack,
        memory="C d + states",
        passes="2",
        keeps=True,
    ),
    "two-stack": PlanEntry(
        gradients=_by_rows(TwoStack, _two_stack),
        objection=_needs_two_stacks,
        memory="C d + states",
        passes="3",
    ),
}


def plan_entry(name: str) -> PlanEntry:
    """Return the plan of that name.

    Raises:
        ConfigError: The name is unknown; the hint lists the known names.
    """
    if name not in PLANS:
        listing = quoted(("auto", *PLANS))
        raise ConfigError(
            f"unknown memory plan `{name}`",
            hint=propose(name, (AUTO, *PLANS), otherwise=f"known: {listing}"),
        )
    return PLANS[name]


def check_plan(model: Model, name: str) -> None:
    """Check that a plan can train a model.

    Raises:
        ConfigError: The plan cannot train the model; the hint names plans that can.
    """
    objection = plan_entry(name).objection(model)
    if objection is not None:
        raise ConfigError(
            f"`--memory {name}` cannot train this model: {objection[0]}", hint=objection[1]
        )


def accumulate_gradients(
    model: Model, examples: Examples, memory: MemoryConfig, total_weight: Tensor | None = None
) -> Prediction:
    """Add the exact gradients of the loss of a batch to those of the weights.

    Args:
        model: Model whose weights receive the gradients.
        examples: Inputs and targets.
        memory: Plan of the registry, not `auto`.
        total_weight: Weight of all targets, if the examples are part of a larger batch.

    Raises:
        ConfigError: The plan cannot train the model.
    """
    check_plan(model, memory.plan)
    batch = len(examples.inputs_BL)
    rows = memory.rows or batch
    total_weight = examples.total_weight if total_weight is None else total_weight
    gradients = plan_entry(memory.plan).gradients
    parts = [
        gradients(model, examples.rows(slice(first, first + rows)), memory, total_weight)
        for first in range(0, batch, rows)
    ]
    return sum(parts[1:], parts[0])
