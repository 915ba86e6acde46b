"""A training step as `pretrain` takes it, and the operations that its formula asks for."""

from __future__ import annotations

from collections.abc import Callable

import torch

from genomeformer_cli.core.attention.registry import attention_entry
from genomeformer_cli.core.gradients.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.objectives.prediction import Examples
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


def operations(name: str, length: int, config: ModelConfig) -> float:
    """Of one token, forward and backward: the blocks' matrices, and the scores.

    Args:
        name: A mechanism that is not quadratic, or softmax.
        length: Tokens of a row.
        config: Sizes.
    """
    width, depth = config.width, config.depth
    matrices = 6 * depth * (4 * width**2 + 3 * width * config.mlp_width)
    seen = {"softmax": length, "local": 2 * config.attention.window + 1}.get(name)
    if seen is None:
        assert "L^2" not in attention_entry(name).time
        head_width = width // config.num_heads
        features = config.attention.num_features if name == "performer" else head_width
        return matrices + 12 * depth * width * features
    return matrices + 12 * depth * width * min(seen, length)
