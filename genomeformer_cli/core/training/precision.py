"""Precision and compilation of a step, chosen by measurement.

The result of a measurement is stored, so that it is made once per machine and configuration.
Weights, optimizer and validation are in float32 in every case: `bf16` is autocast.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernel_choice import describe_kernels, first_failure
from genomeformer_cli.core.attention.kernels.fused import KernelChoice, using_kernels
from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.forecast import Step, random_examples
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_json

# What must be gained before the plainer way is left: more than the noise of a busy machine.
_GAIN = 1.3
# A trial of the compiler takes about half a minute: only a run this long is worth it.
_WORTH_COMPILING = 1800.0
# Gain that a run of that length keeps after compiling twice, for the trial and for its own shapes.
_COMPILING_GAIN = 1.1
_REPEATS = 3
_TOKENS_TRIED = 8192


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Precision and compilation of a step."""

    # `fp32`; `bf16`: matrix products in bfloat16 (autocast), and TF32 on GPUs for the products that
    # stay in float32; `auto`: the faster one.
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Compile the model with `torch.compile` (with `--memory full` and one document per row);
    # `auto`: if it is faster and the run is long enough to measure it.
    compile: Literal["auto", "on", "off"] = "auto"
    # Kernels of the attention: `plain` torch; `fused` (FlexAttention, or flash-linear-attention of
    # the extra `gpu`), an error where that is impossible; `auto`: fused where possible.
    kernels: KernelChoice = "auto"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Run for which precision and compilation are chosen."""

    model: Model  # Model to train.
    step: Step  # Shape of a training step.
    memory: MemoryConfig  # Memory plan.
    steps: int  # Optimizer steps of the run.
    packed: bool  # True if rows hold several documents.


@contextmanager
def computing(compute: ComputeConfig, model: Model) -> Iterator[None]:
    """Run the body in the configured precision, with the model compiled if requested."""
    assert compute.precision != "auto"
    assert compute.compile != "auto"
    if compute.compile == "on":
        # Over the method, for as long as this lasts: validation has other shapes.
        vars(model)["hidden"] = compiled = _compiled(model)
        vars(model)["hidden_at"] = partial(_select_features, compiled)
    kind, bf16 = model.device.type, compute.precision == "bf16"
    try:
        with (
            torch.autocast(kind, torch.bfloat16, enabled=bf16),
            _tf32(enabled=bf16, kind=kind),
            using_kernels(compute.kernels),
        ):
            yield
    finally:
        if compute.compile == "on":
            vars(model).pop("hidden", None)
            vars(model).pop("hidden_at", None)


@contextmanager
def _tf32(*, enabled: bool, kind: str) -> Iterator[None]:
    """Compute float32 products of a GPU in TF32, which has more mantissa bits than bfloat16.

    Sums and scores that autocast leaves in float32 would otherwise not use the matrix units.
    """
    if not enabled or kind != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _compiled(model: Model) -> Any:
    compiled = vars(model).get("_compiled_hidden")
    if compiled is None:
        # Each shape by itself: a run has few, and kernels for one are faster than for all.
        compiled = torch.compile(model.hidden, dynamic=False)
        vars(model)["_compiled_hidden"] = compiled
    return compiled


def _select_features(
    hidden: Callable[..., Tensor],
    tokens_BL: Tensor,
    mask_BL: Tensor | None,
    documents_BL: Tensor | None,
    positions: SelectedPositions,
) -> Tensor:
    """Select positions from all features; compiled code cannot, as their number changes."""
    return positions.gather(hidden(tokens_BL, mask_BL, documents_BL))


def choose_compute(
    compute: ComputeConfig, trial: Trial, remembered: Path, reporter: Reporter
) -> ComputeConfig:
    """Resolve `auto` by measurement, or from a stored measurement.

    Args:
        compute: Requested settings.
        trial: Run to measure.
        remembered: JSON file of stored measurements.
        reporter: Receives the results and unavailable options.

    Raises:
        ConfigError: The requested settings are not possible for this run.
    """
    _check(compute, trial)
    compute = _try_kernels(compute, trial, reporter)
    key = _key(trial, compute.kernels)
    records = _read(remembered)
    record = records.get(key, {})
    seconds: dict[str, float] = dict(record.get("seconds", {}))
    before = dict(seconds)
    precisions = ["fp32", "bf16"] if compute.precision == "auto" else [compute.precision]
    if compute.precision == "auto" and not _has_bf16(trial.model.device):
        precisions = ["fp32"]
    elif compute.precision == "auto" and compute.kernels == "fused":
        precisions = ["bf16"]  # The only precision of some kernels.
    precision = precisions[0]
    if len(precisions) > 1:
        for name in precisions:
            _time(_ways(compute, name, "off"), trial, seconds, reporter)
        if seconds["bf16"] * _GAIN < seconds["fp32"]:
            precision = "bf16"
    compiled = _choose_compile(compute, precision, trial, seconds, reporter)
    if seconds != before:
        records[key] = {"machine": _machine(trial.model.device), "seconds": seconds}
        write_json(remembered, records)
        listing = ", ".join(
            f"{name} {1000 * duration:.0f} ms" for name, duration in seconds.items()
        )
        reporter.note(
            f"measured on this machine: {listing} per step; using {precision}, compile {compiled}"
        )
    return _ways(compute, precision, compiled)


def check_kernels(compute: ComputeConfig, config: ModelConfig, device: torch.device) -> None:
    """Check, before a run is made, that its mechanisms can run in the requested kernels.

    Raises:
        ConfigError: `compute.kernels=fused`, and a mechanism cannot.
    """
    if compute.kernels == "fused":
        describe_kernels(
            build_model(replace(config, depth=len(config.attention.names))),
            compute.kernels,
            device=device,
            dtype=torch.float32 if compute.precision == "fp32" else torch.bfloat16,
            length=config.context,
        )


def _try_kernels(compute: ComputeConfig, trial: Trial, reporter: Reporter) -> ComputeConfig:
    """Return the settings, with plain kernels instead of `auto` if a fused one fails here."""
    if compute.kernels != "auto":
        return compute
    dtype = torch.float32 if compute.precision == "fp32" else torch.bfloat16
    failure = first_failure(trial.model, dtype, packed=trial.packed)
    if not failure:
        return compute
    reporter.warn(f"a fused kernel fails on this machine, continuing without it: {failure}")
    return replace(compute, kernels="plain")


def report_kernels(compute: ComputeConfig, trial: Trial, reporter: Reporter) -> None:
    """Report the kernels of the attention, as a detail where there is no choice.

    Raises:
        ConfigError: `compute.kernels=fused`, and a mechanism cannot run in a fused kernel.
    """
    device = trial.model.device
    kernels = describe_kernels(
        trial.model,
        compute.kernels,
        device=device,
        dtype=torch.bfloat16 if compute.precision == "bf16" else torch.float32,
        length=trial.step.length,
        packed=trial.packed,
    )
    report = reporter.debug if device.type == "cpu" else reporter.note
    report(f"kernels: {kernels}")


def default_compute(compute: ComputeConfig, device: torch.device) -> ComputeConfig:
    """Return the settings without measurement: bfloat16 on GPUs that support it, no compilation.

    Raises:
        ConfigError: Compilation was requested.
    """
    if compute.compile == "on":
        raise ConfigError(
            "`compute.compile=on` with `parallel.shard` or `parallel.sequence_parallel`",
            hint="leave it out; divided models are not compiled",
        )
    precision = compute.precision
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and _has_bf16(device) else "fp32"
    return _ways(compute, precision, "off")


def _choose_compile(
    compute: ComputeConfig,
    precision: str,
    trial: Trial,
    seconds: dict[str, float],
    reporter: Reporter,
) -> str:
    if compute.compile == "off" or not _can_compile(trial):
        return "off"
    name = f"{precision}, compiled"
    if compute.compile == "auto":
        _time(_ways(compute, precision, "off"), trial, seconds, reporter)
        tokens = trial.step.batch * trial.step.length
        trial_step = _trial_step(trial)
        scale = tokens / (trial_step.batch * trial_step.length)
        if seconds[precision] * scale * trial.steps < _WORTH_COMPILING:
            return "off"
    _time(_ways(compute, precision, "on"), trial, seconds, reporter)
    if name not in seconds:
        return "off"
    if compute.compile == "on" or seconds[name] * _COMPILING_GAIN < seconds[precision]:
        return "on"
    return "off"


def _ways(compute: ComputeConfig, precision: str, compiled: str) -> ComputeConfig:
    return replace(compute, precision=cast("Any", precision), compile=cast("Any", compiled))


def _check(compute: ComputeConfig, trial: Trial) -> None:
    if compute.compile == "on" and not _can_compile(trial):
        raise ConfigError(
            "`compute.compile=on` needs `--memory full` and rows of one document",
            hint="`compute.compile=auto` compiles where it can; `training.pack=off` packs no rows",
        )


def _can_compile(trial: Trial) -> bool:
    return trial.memory.plan == "full" and not trial.packed


def _time(
    compute: ComputeConfig, trial: Trial, seconds: dict[str, float], reporter: Reporter
) -> None:
    """Add the seconds of a short step, unless they are known or the compiler is missing."""
    name = compute.precision + (", compiled" if compute.compile == "on" else "")
    if name in seconds:
        return
    try:
        seconds[name] = _seconds(compute, trial)
    except Exception as failure:
        # Whatever the compiler fails with: its own errors, a missing C++ compiler, an odd kernel.
        if compute.compile != "on":
            raise
        reason = str(failure).strip().splitlines()[0]
        reporter.warn(f"torch.compile fails on this machine, continuing without it: {reason}")
    finally:
        trial.model.zero_grad(set_to_none=True)


def _seconds(compute: ComputeConfig, trial: Trial) -> float:
    examples = random_examples(trial.model, _trial_step(trial))
    memory = replace(trial.memory, rows=0)
    times: list[float] = []
    for _ in range(1 + _REPEATS):
        started = time.perf_counter()
        with computing(compute, trial.model):
            accumulate_gradients(trial.model, examples, memory).loss.item()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _trial_step(trial: Trial) -> Step:
    """Return some rows of a step, or a whole step on a GPU, which small steps do not fill.

    Rows are whole up to 8,192 tokens: a compiled model gains less or more at another length.
    """
    step = trial.step
    if trial.model.device.type == "cuda":
        return step
    length = min(step.length, _TOKENS_TRIED)
    return replace(step, length=length, batch=min(step.batch, max(_TOKENS_TRIED // length, 1)))


def _has_bf16(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.is_bf16_supported()


def _key(trial: Trial, kernels: KernelChoice) -> str:
    identity = [
        _machine(trial.model.device),
        to_plain(trial.model.config),
        asdict(replace(_trial_step(trial), real_ids=range(0))),
        trial.memory.plan,
        kernels,
    ]
    return hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()[:16]


def _machine(device: torch.device) -> str:
    """Return a key for the machine, on which the result of a measurement depends."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("model name"))
        processor = line.partition(":")[2].strip()
    threads = torch.get_num_threads()
    return f"{processor}, {threads} threads, torch {torch.__version__}"


def _read(path: Path) -> dict[str, Any]:
    try:
        records: dict[str, Any] = read_json(path)
    except DocumentError:
        return {}
    return records
