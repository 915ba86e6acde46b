"""Predict the memory and time of each memory plan by trying it on short rows, and choose one.

The memory of a step grows linearly with its tokens under every plan (softmax runs fused). The time
grows linearly, or quadratically for softmax. Two short rows therefore determine long ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.memory_meter import (
    Usage,
    available_bytes,
    bytes_in_use,
    measure,
)
from genomeformer_cli.core.memory_plans.plans import (
    AUTO,
    PLANS,
    MemoryConfig,
    accumulate_gradients,
    check_plan,
    plan_entry,
)
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter

SHARE_OF_AVAILABLE = 0.85
_SURELY_FITS = 0.2
# Floats kept a token and block, in units of the width; generous.
_KEPT = 60
_PROBED_SLICES = (2, 4)
# Slices that `slim` keeps if it is told neither how many nor a budget: on rows of 16 slices a third
# of the second pass is saved, and at a million bases they are little.
_USUALLY_KEPT = 6
_MASKED = 0.15
_ABOUT = 1.15


@dataclass(frozen=True, kw_only=True)
class Step:
    """Shape of a training step."""

    batch: int  # Number of rows.
    length: int  # Tokens per row.
    real_ids: range  # Token ids that can be predicted.


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Predicted cost of a memory plan."""

    memory: MemoryConfig  # Plan, with the number of kept slices where it keeps some.
    # Peak bytes of the tensors of a step, with weights and optimizer; None if the plan cannot train
    # the model.
    num_bytes: int | None = None
    # Seconds per step without the optimizer; None if the plan cannot train the model.
    seconds: float | None = None
    objection: str | None = None  # Reason why the plan cannot train the model; empty if it can.


def forecasts(
    model: Model, step: Step, memory: MemoryConfig, reporter: Reporter, *, limit: int | None = None
) -> list[Forecast]:
    """Predict the cost of every plan; plans that cannot train the model come last."""
    _warm_up(model, step)
    able: list[Forecast] = []
    unable: list[Forecast] = []
    with reporter.track("trying memory plans", len(PLANS), "plans") as tracker:
        for name, entry in PLANS.items():
            candidate = replace(memory, plan=name)
            objection = entry.objection(model)
            if objection is None:
                able.append(forecast(model, step, candidate, limit=limit))
            else:
                unable.append(Forecast(memory=candidate, objection=objection[0]))
            tracker.advance(1)
    return able + unable


def forecast(
    model: Model, step: Step, memory: MemoryConfig, *, limit: int | None = None
) -> Forecast:
    """Predict the cost of one plan.

    A short step is run; a long one is extrapolated from two short rows.

    Args:
        model: Model to be trained.
        step: Shape of a step.
        memory: Plan of the registry.
        limit: Bytes available. If the number of kept slices is open, as many are kept as fit; None
            keeps the usual number.
    """
    rows = min(memory.rows or step.batch, step.batch)
    whole = replace(step, batch=rows)
    keeps = plan_entry(memory.plan).keeps
    fills = _is_left_open(memory) and limit is not None
    if _is_left_open(memory) and limit is None:
        memory = replace(memory, kept=_USUALLY_KEPT)
    if rows * step.length <= _probed_tokens(memory)[1] and not fills:
        usage = try_step(model, whole, memory)
    else:
        usage = _extrapolate(model, whole, replace(memory, kept=1))
        if fills or (keeps and memory.kept > 1):
            one_slice = _kept_slice(model, step, memory)
            room = (limit or 0) - usage.num_bytes - _fixed_bytes(model)
            num_kept = memory.kept or 1 + max(room, 0) // one_slice.num_bytes
            num_kept = min(num_kept, -(-step.length // max(memory.chunk // rows, 1)))
            memory = replace(memory, kept=num_kept)
            usage = Usage(
                num_bytes=usage.num_bytes + (num_kept - 1) * one_slice.num_bytes,
                seconds=usage.seconds - (num_kept - 1) * one_slice.seconds,
            )
    return Forecast(
        memory=memory,
        num_bytes=usage.num_bytes + _fixed_bytes(model),
        seconds=usage.seconds * step.batch / rows,
    )


def _extrapolate(model: Model, step: Step, memory: MemoryConfig) -> Usage:
    """Extrapolate the cost of a long step from two shorter rows."""
    short, long = _probed_tokens(memory)
    shorter, longer = (_try_row(model, step, length, memory) for length in (short, long))
    slope = max(longer.num_bytes - shorter.num_bytes, 0) / (long - short)
    seconds = _seconds(model, step.length, (short, shorter.seconds), (long, longer.seconds))
    return Usage(
        num_bytes=round(longer.num_bytes + slope * (step.batch * step.length - long)),
        seconds=step.batch * seconds,
    )


def _kept_slice(model: Model, step: Step, memory: MemoryConfig) -> Usage:
    """Measure the bytes that a kept slice needs and the seconds that it saves."""
    _, length = _probed_tokens(memory)
    slices = _PROBED_SLICES[1]
    lean, whole = (
        _try_row(model, step, length, replace(memory, kept=num_kept)) for num_kept in (1, slices)
    )
    return Usage(
        num_bytes=max((whole.num_bytes - lean.num_bytes) // (slices - 1), 1),
        seconds=max((lean.seconds - whole.seconds) / (slices - 1), 0.0),
    )


def expected_bytes(model: Model, step: Step, memory: MemoryConfig) -> int | None:
    """Predict the bytes that the process, or the allocator of the GPU, holds at the peak of a step.

    Return None for a step that is as short as the rows used for the extrapolation.
    """
    rows = min(memory.rows or step.batch, step.batch)
    if rows * step.length <= _probed_tokens(memory)[1]:
        return None
    before = bytes_in_use(model.device)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return before + (forecast(model, step, memory).num_bytes or 0) - weights


def choose(
    model: Model, step: Step, memory: MemoryConfig, budget: int | None, reporter: Reporter
) -> MemoryConfig:
    """Choose the fastest plan that fits if the plan is `auto`; otherwise check the given plan.

    Args:
        model: Model to be trained.
        step: Shape of a step.
        memory: Requested plan.
        budget: Bytes that a step may use. None: a named plan is not limited; `auto` and the number
            of kept slices are limited by most of the available memory.
        reporter: Reports the progress of the trials.

    Raises:
        ConfigError: No plan fits, or the given plan cannot train the model.
    """
    limit = budget or int(available_bytes(model.device) * SHARE_OF_AVAILABLE)
    if memory.plan != AUTO:
        check_plan(model, memory.plan)
        if budget is not None:
            return _within(model, step, memory, limit)
        return _usual(model, step, memory, limit) if _is_left_open(memory) else memory
    if _surely_fits(model, step.batch * step.length, limit):
        return replace(memory, plan="full")
    candidates = [
        candidate
        for rows in dict.fromkeys((memory.rows or step.batch, 1))
        for candidate in forecasts(model, step, replace(memory, rows=rows), reporter, limit=limit)
        if candidate.num_bytes is not None
    ]
    fitting = [candidate for candidate in candidates if (candidate.num_bytes or 0) <= limit]
    if not fitting:
        least = min(candidates, key=lambda candidate: candidate.num_bytes or 0)
        raise ConfigError(
            f"no memory plan fits into {limit / 2**30:.1f} GiB; the leanest, "
            f"`{least.memory.plan}`, takes {(least.num_bytes or 0) / 2**30:.1f} GiB",
            hint="shorten `--context`, or start a model that is leaner by design: "
            "`--memory two-stack`, or `--memory reversible`",
        )
    fastest = min(candidate.seconds or 0.0 for candidate in fitting)
    # Of plans that are about as fast, the simplest: they stand in that order.
    return next(
        candidate.memory for candidate in fitting if (candidate.seconds or 0.0) <= _ABOUT * fastest
    )


def _is_left_open(memory: MemoryConfig) -> bool:
    """Return True if the plan may keep slices and their number was not given."""
    return plan_entry(memory.plan).keeps and memory.kept == 0


def _usual(model: Model, step: Step, memory: MemoryConfig, limit: int) -> MemoryConfig:
    """Return the plan with the usual number of kept slices, or as many as fit."""
    usual = replace(memory, kept=_USUALLY_KEPT)
    if _surely_fits(model, _USUALLY_KEPT * memory.chunk, limit):
        return usual
    _warm_up(model, step)
    candidate = forecast(model, step, memory, limit=limit).memory
    return candidate if candidate.kept < _USUALLY_KEPT else usual


def _surely_fits(model: Model, tokens: int, limit: int) -> bool:
    """Return True if a rough count of the activations is small compared with the limit."""
    config = model.config
    num_bytes = _KEPT * tokens * config.width * config.depth * 4
    return num_bytes + _fixed_bytes(model) < limit * _SURELY_FITS


def _within(model: Model, step: Step, memory: MemoryConfig, limit: int) -> MemoryConfig:
    """Return the requested plan with as many kept slices as fit."""
    _warm_up(model, step)
    candidate = forecast(model, step, memory, limit=limit)
    if (candidate.num_bytes or 0) > limit:
        raise ConfigError(
            f"`--memory {memory.plan}` takes {(candidate.num_bytes or 0) / 2**30:.2f} GiB, "
            "more than "
            f"the {limit / 2**30:.2f} GiB that were allowed",
            hint="allow more by `parallel.memory_budget`, or let `--memory auto` choose",
        )
    return candidate.memory


def _probed_tokens(memory: MemoryConfig) -> tuple[int, int]:
    """Return the lengths of the two rows used for the extrapolation."""
    short, long = (number * memory.chunk for number in _PROBED_SLICES)
    return short, long


def _warm_up(model: Model, step: Step) -> None:
    """Run a first step, which is slower than later ones."""
    few = Step(batch=1, length=64, real_ids=step.real_ids)
    try_step(model, few, MemoryConfig(plan="full"))


def _try_row(model: Model, step: Step, length: int, memory: MemoryConfig) -> Usage:
    """Measure the cost of one row of the given length."""
    return try_step(model, Step(batch=1, length=length, real_ids=step.real_ids), memory)


def _fixed_bytes(model: Model) -> int:
    """Return the bytes of the weights and of the two moments of the optimizer.

    Gradients are part of what is measured.
    """
    return 3 * sum(parameter.nbytes for parameter in model.parameters())


def _seconds(
    model: Model, length: int, shorter: tuple[int, float], longer: tuple[int, float]
) -> float:
    """Extrapolate a t + b t^2, or a line through the longer row for mechanisms linear in time."""
    (short, fast), (long, slow) = shorter, longer
    if not model.is_quadratic:
        return slow * length / long
    curve = max((slow / long - fast / short) / (long - short), 0.0)
    return (slow / long + curve * (length - long)) * length


def try_step(model: Model, step: Step, memory: MemoryConfig) -> Usage:
    """Measure the cost of the gradients of one step by computing them."""
    examples = random_examples(model, step)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    _, usage = measure(lambda: accumulate_gradients(model, examples, memory), model.device)
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name]
    return usage


def random_examples(model: Model, step: Step) -> Examples:
    """Return a random batch of the given shape."""
    generator = torch.Generator().manual_seed(0)
    shape = (step.batch, step.length)
    ids = (step.real_ids.start, step.real_ids.stop)
    tokens_BL = torch.randint(*ids, shape, generator=generator)
    targets_BL = tokens_BL
    if objective_for(model.config.direction).hides_targets:
        asked_BL = torch.rand(shape, generator=generator) < _MASKED
        targets_BL = torch.where(asked_BL, tokens_BL, -1)
    return Examples(
        inputs_BL=tokens_BL,
        targets_BL=targets_BL,
        weights_BL=torch.ones(shape),
        real_ids=step.real_ids,
    ).to(model.device)
