"""Forecast of each preset without building it: parameters, memory, time on this machine.

Memory of a step grows with tokens, width and blocks, and blocks are alike; narrow models of one and
of two blocks on short rows therefore suffice. Time is arithmetic over the measured speed of a
matrix product, of which a training step reaches about two thirds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache

import torch

from genomeformer_cli.core.attention.registry import attention_entry
from genomeformer_cli.core.memory_plans.forecast import Step, try_step
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.training.presets import PRESETS, PretrainConfig

_REAL_IDS = range(5, 9)
_NARROW = 128
_TOKENS = (512, 1024)
# Bytes of a parameter: itself, its gradient, two moments.
_FIXED = 16
_SHARE_REACHED = 0.66
_MATRIX = 1024
_TRIALS = 3


@dataclass(frozen=True, kw_only=True)
class PresetForecast:
    """Forecast of a preset."""

    config: PretrainConfig  # Configuration.
    num_parameters: int  # Number of parameters.
    full_bytes: int  # Tensors of a step under `--memory full`, weights and optimizer included.
    checkpoint_bytes: int  # Tensors of a step under `--memory checkpoint`.
    flops: float  # Floating-point operations of the whole run.
    seconds: float  # Approximate time of the whole run on this machine.


def forecast_presets(*, reporter: Reporter) -> dict[str, PresetForecast]:
    """Forecast every preset on this machine."""
    speed = matrix_speed()
    by_preset: dict[str, PresetForecast] = {}
    with reporter.track("trying presets", len(PRESETS), "presets") as tracker:
        for name, build in PRESETS.items():
            by_preset[name] = forecast_preset(build(), speed)
            tracker.advance(1)
    return by_preset


def forecast_preset(config: PretrainConfig, speed: float) -> PresetForecast:
    """Forecast a preset.

    Args:
        config: Configuration.
        speed: Floating-point operations per second of a matrix product.
    """
    # Which token is whose complement is known with the corpus; to what a step takes it is nothing.
    model = replace(config.model, complement=tuple(range(config.model.vocabulary_size)))
    with torch.device("meta"):
        parameters = build_model(model).num_parameters
    batch = config.training.batch_size * config.model.context
    full, checkpoint = (
        _FIXED * parameters + batch * bytes_a_token(model, plan) for plan in ("full", "checkpoint")
    )
    tokens = max(config.training.tokens_per_step, batch)
    flops = config.training.steps * tokens * _flops_a_token(config.model, parameters)
    return PresetForecast(
        config=config,
        num_parameters=parameters,
        full_bytes=round(full),
        checkpoint_bytes=round(checkpoint),
        flops=flops,
        seconds=flops / (speed * _SHARE_REACHED),
    )


def bytes_a_token(config: ModelConfig, plan: str) -> float:
    """Measure the bytes that a plan keeps per token, on narrow models of one and of two blocks."""
    scale = _NARROW / config.width
    heads = max(round(config.num_heads * scale), 1)
    twin = replace(
        config,
        width=_NARROW,
        num_heads=heads,
        mlp_width=round(config.mlp_width * scale),
        context=_TOKENS[-1],
    )
    one_block, two_blocks = (_slope(replace(twin, depth=depth), plan) for depth in (1, 2))
    return (one_block + (config.depth - 1) * (two_blocks - one_block)) / scale


@cache
def _slope(config: ModelConfig, plan: str) -> float:
    """Measure the bytes per further token of a row."""
    model = build_model(config)
    short, long = (
        try_step(model, Step(batch=1, length=length, real_ids=_REAL_IDS), MemoryConfig(plan=plan))
        for length in _TOKENS
    )
    return (long.num_bytes - short.num_bytes) / (_TOKENS[1] - _TOKENS[0])


def _flops_a_token(config: ModelConfig, num_parameters: int) -> float:
    """Return forward and backward operations: six per parameter, plus quadratic attention scores.

    Weights of blocks are used once per patch; tied stacks use them twice.
    """
    quadratic = sum("L^2" in attention_entry(name).time for name in config.attention.names)
    layers = config.depth * quadratic / len(config.attention.names)
    visible = config.context / config.patch / (2 if config.causal else 1)
    blocks = config.depth * config.width * (4 * config.width + 3 * config.mlp_width)
    stacks = 2 if config.direction == "two-stack" else 1
    shared = stacks if config.tied else 1
    by_patch = 6.0 * blocks * stacks + 12.0 * layers * config.width * visible * stacks
    return (
        by_patch / config.patch + 6.0 * max(num_parameters - blocks * stacks / shared, 0) * shared
    )


def matrix_speed() -> float:
    """Measure operations per second of a matrix product: bfloat16 on a GPU, otherwise float32."""
    on_gpu = torch.cuda.is_available()
    size = _MATRIX * (8 if on_gpu else 1)
    kind = {"device": "cuda", "dtype": torch.bfloat16} if on_gpu else {}
    matrix = torch.ones(size, size, **kind)  # type: ignore[call-overload]
    seconds: list[float] = []
    for _ in range(_TRIALS):
        started = time.perf_counter()
        torch.mm(matrix, matrix)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return 2.0 * size**3 / min(seconds)
