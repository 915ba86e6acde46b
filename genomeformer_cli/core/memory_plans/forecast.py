"""What each memory plan will take, found by trying it on short rows; and the choice among them.

A step's memory grows linearly with its tokens under every plan (softmax runs fused), its time
linearly or, for softmax, with the square; so two short rows tell of long ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from genomeformer_cli.core.attention.registry import attention_entry
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
from genomeformer_cli.core.models.genomeformer.build import Model
from genomeformer_cli.core.objectives.loss import Examples
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
    """The shape of a training step.

    Attributes:
        batch: Rows.
        length: Tokens of a row.
        real_ids: Ids that can be an answer.
    """

    batch: int
    length: int
    real_ids: range


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a plan will take.

    Attributes:
        memory: The plan; where it keeps slices, how many.
        num_bytes: Peak of the tensors of a step, weights and optimizer included; None if the plan
            cannot train the model.
        seconds: Of a step, the optimizer apart; None likewise.
        objection: Why it cannot, if it cannot.
    """

    memory: MemoryConfig
    num_bytes: int | None = None
    seconds: float | None = None
    objection: str | None = None


def forecasts(
    model: Model,
    step: Step,
    memory: MemoryConfig,
    reporter: Reporter,
    *,
    limit: int | None = None,
) -> list[Forecast]:
    """What every plan would take, those that cannot train the model last; see `forecast`."""
    _warm_up(model, step)
    able: list[Forecast] = []
    unable: list[Forecast] = []
    with reporter.track("trying memory plans", len(PLANS), "plans") as tracker:
        for name, entry in PLANS.items():
            chosen = replace(memory, plan=name)
            objection = entry.objection(model)
            if objection is None:
                able.append(forecast(model, step, chosen, limit=limit))
            else:
                unable.append(Forecast(memory=chosen, objection=objection[0]))
            tracker.advance(1)
    return able + unable


def forecast(
    model: Model, step: Step, memory: MemoryConfig, *, limit: int | None = None
) -> Forecast:
    """What a plan will take, from a step as it is if it is short, else from two shorter ones.

    Args:
        model: To be trained.
        step: The shape of a step.
        memory: A plan of the table.
        limit: Bytes; where it is left open how many slices are kept, as many as fit. None: as many
            as usual.
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
        usage = _told_from_shorter(model, whole, replace(memory, kept=1))
        if fills or (keeps and memory.kept > 1):
            one = _kept_slice(model, step, memory)
            room = (limit or 0) - usage.num_bytes - _fixed_bytes(model)
            kept = memory.kept or 1 + max(room, 0) // one.num_bytes
            kept = min(kept, -(-step.length // max(memory.chunk // rows, 1)))
            memory = replace(memory, kept=kept)
            usage = Usage(
                num_bytes=usage.num_bytes + (kept - 1) * one.num_bytes,
                seconds=usage.seconds - (kept - 1) * one.seconds,
            )
    return Forecast(
        memory=memory,
        num_bytes=usage.num_bytes + _fixed_bytes(model),
        seconds=usage.seconds * step.batch / rows,
    )


def _told_from_shorter(model: Model, step: Step, memory: MemoryConfig) -> Usage:
    """What a long step will take, told from two shorter rows."""
    short, long = _probed_tokens(memory)
    one, two = (_try_row(model, step, length, memory) for length in (short, long))
    slope = max(two.num_bytes - one.num_bytes, 0) / (long - short)
    seconds = _seconds(model, step.length, (short, one.seconds), (long, two.seconds))
    return Usage(
        num_bytes=round(two.num_bytes + slope * (step.batch * step.length - long)),
        seconds=step.batch * seconds,
    )


def _kept_slice(model: Model, step: Step, memory: MemoryConfig) -> Usage:
    """What each slice that is kept takes, and the seconds that it saves."""
    _, length = _probed_tokens(memory)
    slices = _PROBED_SLICES[1]
    lean, whole = (
        _try_row(model, step, length, replace(memory, kept=kept)) for kept in (1, slices)
    )
    return Usage(
        num_bytes=max((whole.num_bytes - lean.num_bytes) // (slices - 1), 1),
        seconds=max((lean.seconds - whole.seconds) / (slices - 1), 0.0),
    )


def expected_bytes(model: Model, step: Step, memory: MemoryConfig) -> int | None:
    """What the process, or the GPU's allocator, will hold at the peak of a step.

    None for steps that are as short as the ones they would be told from.
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
    """The fastest plan that fits, if the plan is `auto`; else the one that is given, if it fits.

    Args:
        model: To be trained.
        step: The shape of a step.
        memory: What was asked for.
        budget: Bytes that a step may take; None: what is asked for is not held to any, `auto`, and
            the slices kept by a plan that may, to most of what is available.
        reporter: Follows the trials.

    Raises:
        ConfigError: No plan fits, or the one that is given cannot train the model.
    """
    limit = budget or int(available_bytes(model.device) * SHARE_OF_AVAILABLE)
    if memory.plan != AUTO:
        check_plan(model, memory.plan)
        if budget is not None:
            return _within(model, step, memory, limit)
        return _usual(model, step, memory, limit) if _is_left_open(memory) else memory
    if _surely_fits(model, step.batch * step.length, limit):
        return replace(memory, plan="full")
    found = [
        one
        for rows in dict.fromkeys((memory.rows or step.batch, 1))
        for one in forecasts(model, step, replace(memory, rows=rows), reporter, limit=limit)
        if one.num_bytes is not None
    ]
    fitting = [one for one in found if (one.num_bytes or 0) <= limit]
    if not fitting:
        least = min(found, key=lambda one: one.num_bytes or 0)
        raise ConfigError(
            f"no memory plan fits into {limit / 2**30:.1f} GiB; the leanest, "
            f"`{least.memory.plan}`, takes {(least.num_bytes or 0) / 2**30:.1f} GiB",
            hint="shorten `--seq-len`, or start a model that is leaner by design: "
            "`--memory two-stack`, or `--memory reversible`",
        )
    fastest = min(one.seconds or 0.0 for one in fitting)
    # Of plans that are about as fast, the simplest: they stand in that order.
    return next(one.memory for one in fitting if (one.seconds or 0.0) <= _ABOUT * fastest)


def _is_left_open(memory: MemoryConfig) -> bool:
    """Whether nobody said how many slices a plan that may keep some is to keep."""
    return plan_entry(memory.plan).keeps and memory.kept == 0


def _usual(model: Model, step: Step, memory: MemoryConfig, limit: int) -> MemoryConfig:
    """The plan with as many slices kept as usual, or as many of them as fit."""
    usual = replace(memory, kept=_USUALLY_KEPT)
    if _surely_fits(model, _USUALLY_KEPT * memory.chunk, limit):
        return usual
    _warm_up(model, step)
    found = forecast(model, step, memory, limit=limit).memory
    return found if found.kept < _USUALLY_KEPT else usual


def _surely_fits(model: Model, tokens: int, limit: int) -> bool:
    """Whether the activations of so many tokens are small beside the limit, by a rough count."""
    config = model.config
    kept = _KEPT * tokens * config.width * config.depth * 4
    return kept + _fixed_bytes(model) < limit * _SURELY_FITS


def _within(model: Model, step: Step, memory: MemoryConfig, limit: int) -> MemoryConfig:
    """The plan that was asked for, if it fits, with as many slices kept as fit."""
    _warm_up(model, step)
    found = forecast(model, step, memory, limit=limit)
    if (found.num_bytes or 0) > limit:
        raise ConfigError(
            f"`--memory {memory.plan}` takes {(found.num_bytes or 0) / 2**30:.2f} GiB, more than "
            f"the {limit / 2**30:.2f} GiB that were allowed",
            hint="allow more by `--memory-budget`, or let `--memory auto` choose",
        )
    return found.memory


def _probed_tokens(memory: MemoryConfig) -> tuple[int, int]:
    """Lengths of the two rows that longer ones are told from."""
    short, long = (number * memory.chunk for number in _PROBED_SLICES)
    return short, long


def _warm_up(model: Model, step: Step) -> None:
    """A first step, which is slower than those after it."""
    few = Step(batch=1, length=64, real_ids=step.real_ids)
    try_step(model, few, MemoryConfig(plan="full"))


def _try_row(model: Model, step: Step, length: int, memory: MemoryConfig) -> Usage:
    """What a row of that length takes."""
    return try_step(model, Step(batch=1, length=length, real_ids=step.real_ids), memory)


def _fixed_bytes(model: Model) -> int:
    """Weights, and the optimizer's two moments; gradients are among what is measured."""
    return 3 * sum(parameter.nbytes for parameter in model.parameters())


def _seconds(model: Model, length: int, one: tuple[int, float], two: tuple[int, float]) -> float:
    """Extrapolate a t + b t^2, or a line through the longer row for mechanisms linear in time."""
    (short, fast), (long, slow) = one, two
    names = model.config.attention.names
    if all("L^2" not in attention_entry(name).time for name in names):
        return slow * length / long
    curve = max((slow / long - fast / short) / (long - short), 0.0)
    return (slow / long + curve * (length - long)) * length


def try_step(model: Model, step: Step, memory: MemoryConfig) -> Usage:
    """What the gradients of a step of that shape take, by computing them."""
    examples = random_examples(model, step)
    kept = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    _, usage = measure(lambda: accumulate_gradients(model, examples, memory), model.device)
    for name, parameter in model.named_parameters():
        parameter.grad = kept[name]
    return usage


def random_examples(model: Model, step: Step) -> Examples:
    """A batch of that shape, to try a model on."""
    generator = torch.Generator().manual_seed(0)
    shape = (step.batch, step.length)
    ids = (step.real_ids.start, step.real_ids.stop)
    tokens_BL = torch.randint(*ids, shape, generator=generator)
    targets_BL = tokens_BL
    if model.config.direction == "bidirectional":
        asked_BL = torch.rand(shape, generator=generator) < _MASKED
        targets_BL = torch.where(asked_BL, tokens_BL, -1)
    return Examples(
        inputs_BL=tokens_BL,
        targets_BL=targets_BL,
        weights_BL=torch.ones(shape),
        real_ids=step.real_ids,
    ).to(model.device)
