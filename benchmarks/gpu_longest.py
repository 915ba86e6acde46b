"""The longest row that a GPU can train on, for each mechanism and memory plan. Part of `gpu.py`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from one_device import (
    GIB,
    Cells,
    Row,
    TooLongError,
    is_out_of_memory,
    release,
    seconds_of,
)
from training_steps import training_step

from genomeformer_cli.core.attention.registry import AttentionConfig, attention_entry
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.memory_meter import forget_peak, peak_bytes
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, check_plan
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.training.precision import ComputeConfig

# Of the device's memory: what a length is tried with if it was foreseen to take less.
_SURELY = 0.92
_MOST_AT_ONCE = 8
# A step that takes fewer seconds is taken a second time.
_TWICE = 2.0
# Longest steps that a climb takes together.
_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Search:
    """Lengths and model of a search."""

    first: int  # Shortest row.
    last: int  # Longest row.
    step_seconds: float  # No row is tried whose step is foreseen to take longer.
    sizes: ModelConfig  # Model; attention, direction, residual and context are filled in.
    chunk: int  # Tokens of a slice.
    compute: ComputeConfig  # Precision.


def longest(cells: Cells, search: Search, mechanisms: list[str], plans: list[str]) -> None:
    """Print one row for each possible pair of mechanism and plan."""
    header = ["mechanism", "plan", "longest", "s/step", "tokens/s", "peak GiB", "ended by"]
    cells.table(f"Longest row, batch 1, slices of {search.chunk:,} tokens", header)
    for name in mechanisms:
        for plan in plans:
            try:
                check_plan(build_model(configuration(search, name, plan, search.first)), plan)
            except ConfigError as failure:
                print(f"{name}, {plan}: {failure}", file=sys.stderr)
                continue
            cells.run(
                {"section": "longest", "mechanism": name, "plan": plan},
                lambda name=name, plan=plan: climb(cells, search, name, plan),  # type: ignore[misc]
                shown,
                seconds=cells.patience.cell + _STEPS * search.step_seconds,
            )


def shown(row: Row) -> list[str]:
    """The columns of what was found."""
    return [
        f"{row['length']:,}",
        f"{row['seconds']:.2f}",
        f"{row['length'] / row['seconds']:,.0f}",
        f"{row['peak'] / GIB:.1f}",
        row["ended"],
    ]


def configuration(search: Search, name: str, plan: str, length: int) -> ModelConfig:
    """A model that the plan could train."""
    direction: Any = {"slim": "causal", "two-stack": "two-stack"}.get(plan, "bidirectional")
    return replace(
        search.sizes,
        context=length,
        attention=AttentionConfig(name=name),
        direction=direction,
        complement=tuple(range(search.sizes.vocabulary_size)),
        residual="reversible" if plan == "reversible" else "plain",
    )


def climb(cells: Cells, search: Search, name: str, plan: str) -> Row:
    """Go up by powers of two, several at once where memory and time surely suffice.

    Raises:
        TooLongError: Time was up before the first step ended.
    """
    found: list[Row] = []
    ended, length, fails = "", search.first, 0
    try:
        while not ended:
            row = attempt(cells, search, name, plan, length)
            if row is None:
                fails, length = length, length // 2
                if not found or length <= found[-1]["length"]:
                    ended = f"memory, at {fails:,}"
                continue
            found.append(row)
            if fails:
                ended = f"memory, at {fails:,}"
            else:
                ended, length = _next(found, search, _available(cells.device), name)
    except TooLongError:
        if not found:
            raise
        ended = f"time: the cell's, at {length:,}"
    if not found:
        raise torch.OutOfMemoryError(ended)
    return {**found[-1], "ended": ended, "shorter": found[:-1]}


def _next(found: list[Row], search: Search, available: float, name: str) -> tuple[str, int]:
    """Why no longer row is tried, or the next one."""
    quadratic = "L^2" in attention_entry(name).time
    row = found[-1]
    length = row["length"]
    slope = row["peak"] / length
    if len(found) > 1:
        before = found[-2]
        slope = max(row["peak"] - before["peak"], 0) / (length - before["length"])
    chosen = 0
    for factor in (2, 4, _MOST_AT_ONCE):
        if len(found) == 1 and factor > 2:
            break
        seconds = row["seconds"] * factor ** (2 if quadratic else 1)
        if seconds > search.step_seconds or factor * length > search.last:
            break
        if factor > 2 and row["peak"] + slope * (factor - 1) * length > _SURELY * available:
            break
        chosen = factor * length
    if chosen:
        return "", chosen
    if 2 * length > search.last:
        return f"not tried beyond {search.last:,}", 0
    seconds = row["seconds"] * (4 if quadratic else 2)
    return f"time: about {seconds:.0f} s a step at {2 * length:,}", 0


def attempt(cells: Cells, search: Search, name: str, plan: str, length: int) -> Row | None:
    """A step of a row that long; None if memory does not suffice."""
    found: Row | None = None
    try:
        found = _step(cells, search, name, plan, length)
    except RuntimeError as failure:
        if not is_out_of_memory(failure):
            raise
    release(cells.device)
    return found


def _step(cells: Cells, search: Search, name: str, plan: str, length: int) -> Row:
    device = cells.device
    torch.manual_seed(0)
    model = build_model(configuration(search, name, plan, length))
    model.to(device).train()
    examples = random_examples(model, Step(batch=1, length=length, real_ids=range(5, 9)))
    memory = MemoryConfig(plan=plan, chunk=min(search.chunk, length))
    step = training_step(model, examples, memory=memory, compute=search.compute)
    forget_peak(device)
    # The shortest row also pays for what every process does once.
    if length == search.first:
        step()
    seconds = seconds_of(step, device)
    if seconds < _TWICE:
        seconds = min(seconds, seconds_of(step, device))
    return {"length": length, "seconds": seconds, "peak": peak_bytes(device)}


def _available(device: torch.device) -> float:
    if device.type != "cuda":
        return float("inf")
    return float(torch.cuda.get_device_properties(device).total_memory)
