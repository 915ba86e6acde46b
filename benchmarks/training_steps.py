"""A training step as `pretrain` takes it, and the operations that its formula asks for."""

from __future__ import annotations

from collections.abc import Callable

import torch

from genomeformer_cli.core.attention.protocols import Additive, Selective
from genomeformer_cli.core.attention.registry import attention_entry, mechanisms_implementing
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.optimizer import build_optimizers
from genomeformer_cli.core.training.precision import ComputeConfig, computing

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
        examples: What every step asks.
        memory: Its plan; None: `full`.
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
    """Of one token, forward and backward: the blocks' matrices, and the scores.

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
