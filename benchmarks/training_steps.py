"""A training step as `pretrain` takes it, and the operations that its formula asks for.

Alone it measures the step of a preset: seconds of gradients and of the optimizer, page faults,
operations as torch counts them (causal scores in full), and the share of the speed of matrix
products of its size in the same process, on as many threads. On one thread seconds are CPU time, on
several wall time.

    python benchmarks/training_steps.py [--preset default] [--rows 8] [--repeats 3]
    python benchmarks/training_steps.py --rows 64 --threads 2   # 262,144 bases, 8 rows at once
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from genomeformer_cli.core.attention.protocols import Additive, Selective
from genomeformer_cli.core.attention.registry import attention_entry, mechanisms_implementing
from genomeformer_cli.core.memory_plans.flops import count_flops
from genomeformer_cli.core.memory_plans.forecast import Step as StepShape
from genomeformer_cli.core.memory_plans.forecast import random_examples
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.optimizer import build_optimizers
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from genomeformer_cli.core.training.presets import preset
from genomeformer_cli.core.workflows.run_config import resolve_config

Step = Callable[[], None]

PLAIN = ComputeConfig(precision="fp32", compile="off")


def training_step(
    model: Model,
    examples: Examples,
    *,
    memory: MemoryConfig | None = None,
    compute: ComputeConfig = PLAIN,
) -> Step:
    """Gradients, their norm clipped, optimizer.

    Args:
        model: On the device of the examples.
        examples: Inputs and targets of every step.
        memory: Memory plan; None: `full`.
        compute: Precision, and whether the model is compiled.
    """
    memory = memory or MemoryConfig(plan="full")
    optimizers = build_optimizers(model, TrainingConfig())

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with computing(compute, model):
            accumulate_gradients(model, examples, memory)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

    return step


def operations(name: str, length: int, config: ModelConfig, *, asked: float = 1.0) -> float:
    """Return the operations of one token, forward and backward: matrices of blocks, and scores.

    Args:
        name: A mechanism that is not quadratic, or softmax.
        length: Tokens of a row.
        config: Sizes.
        asked: Share of the tokens that are predicted: of the others the last block computes no more
            than what these need (`Encoder.hidden_at`). All, if the model is compiled.
    """
    width, above = config.width, config.depth - 1 + asked
    selective, additive = (
        name in mechanisms_implementing((kind,), causal=False) for kind in (Selective, Additive)
    )
    everywhere = 2 if selective else 3
    matrices = config.depth * everywhere * width**2 + above * (
        (4 - everywhere) * width**2 + 3 * width * config.mlp_width
    )
    # Sums are made of all, and read where it is asked.
    scored = (config.depth + above) / 2 if additive else above if selective else config.depth
    return 6 * matrices + 12 * scored * width * _partners(name, length, config)


def _partners(name: str, length: int, config: ModelConfig) -> int:
    """Numbers of each feature that a query is multiplied with."""
    if name == "softmax":
        return length
    if name == "local":
        return min(2 * config.attention.window + 1, length)
    assert "L^2" not in attention_entry(name).time
    if name == "performer":
        return config.attention.num_features
    return config.width // config.num_heads


def main() -> None:
    """Measure the step of a preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--rows", type=int, default=8, help="rows of a step")
    parser.add_argument("--at-once", type=int, default=8, help="rows of a micro batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.threads == 1 else time.perf_counter
    num_parts = max(chosen.rows // chosen.at_once, 1)
    num_rows = num_parts * min(chosen.rows, chosen.at_once)
    tokenizer = build_tokenizer("char")
    config = resolve_config(chosen.preset, None, {}, tokenizer)
    model = build_model(config.model)
    shape = StepShape(
        batch=num_rows // num_parts, length=config.model.context, real_ids=range(5, 9)
    )
    examples = random_examples(model, shape)
    optimizers = build_optimizers(model, preset(chosen.preset).training)
    num_operations, speed = count_flops(model, replace(shape, batch=1)) * num_rows, products(clock)
    for _ in range(1 + chosen.repeats):
        before, start = resource.getrusage(resource.RUSAGE_SELF), clock()
        model.zero_grad(set_to_none=True)
        for _ in range(num_parts):
            accumulate_gradients(model, examples, MemoryConfig(plan="full"))
        gradients = clock() - start
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seconds = clock() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        print(
            f"{num_rows * shape.length:,} bases on {chosen.threads} threads, "
            f"{num_rows * shape.length / seconds / 1e3:.1f} kbases/s: "
            f"gradients {gradients:.2f} s, optimizer "
            f"{seconds - gradients:.2f} s, {after.ru_minflt - before.ru_minflt:,} page faults; "
            f"{num_operations / 1e9:.0f} GFLOP, {num_operations / seconds / speed:.0%} of "
            f"{speed / 1e9:.0f} GFLOP/s",
            flush=True,
        )


def products(clock: Callable[[], float]) -> float:
    """Return the operations per second of products of 2,048 rows."""
    left, right = torch.randn(2048, 256), torch.randn(256, 1408)
    times: list[float] = []
    for _ in range(5):
        start = clock()
        for _ in range(40):
            torch.mm(left, right)
        times.append(clock() - start)
    return 40 * 2 * 2048 * 256 * 1408 / min(times)


if __name__ == "__main__":
    main()
