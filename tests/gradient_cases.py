"""Small models of every kind, what they are asked, and how far their gradients are apart."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples, Prediction

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
SHAPES: dict[str, dict[str, Any]] = {
    "bidirectional": {},
    "reversible": {"residual": "reversible"},
    "causal": {"direction": "causal"},
    "two-stack": {"direction": "two-stack", "complement": COMPLEMENT},
    "two-stack-untied": {"direction": "two-stack", "tied": False},
}
MIXTURES = [*ATTENTIONS, "linear+local", "gated-linear+local", "performer+softmax"]


def config(attention: str, shape: str, *, conv_width: int = 3) -> ModelConfig:
    dials = AttentionConfig(
        name=attention,
        num_features=8,
        window=4,
        num_projected=6,
        num_landmarks=5,
        hash_chunk=4,
        value_conv_width=5,
    )
    return ModelConfig(
        context=64,
        width=16,
        depth=3 if "+" in attention else 2,
        num_heads=2,
        mlp_width=24,
        attention=dials,
        conv_width=conv_width,
        **SHAPES[shape],
    )


def sliceable() -> list[tuple[str, str]]:
    """Mechanisms and shapes of models that can be read slice by slice."""
    found: list[tuple[str, str]] = []
    for shape, attention in itertools.product(SHAPES, MIXTURES):
        with suppress(ConfigError):
            if build_model(config(attention, shape)).can_stream:
                found.append((attention, shape))
    return found


def examples(
    batch: int = 2, length: int = 37, mask: Tensor | None = None, documents: Tensor | None = None
) -> Examples:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 9, (batch, length), generator=generator)
    asked = torch.rand(batch, length, generator=generator) < 0.4
    if mask is not None:
        asked, tokens = asked & mask, tokens.masked_fill(~mask, 0)
    if documents is not None:
        asked = asked & (documents >= 0)
    return Examples(
        inputs_BL=tokens,
        targets_BL=torch.where(asked, tokens, -100),
        weights_BL=torch.rand(batch, length, generator=generator, dtype=torch.float64),
        real_ids=range(5, 9),
        mask_BL=mask,
        documents_BL=documents,
    )


def gradients(
    model: Model, asked: Examples, memory: MemoryConfig
) -> tuple[Prediction, dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    prediction = accumulate_gradients(model, asked, memory)
    return prediction, {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def gradient_of(projection: nn.Linear) -> Tensor:
    """The gradient of a projection without a bias."""
    assert projection.weight.grad is not None
    return projection.weight.grad.clone()


def worst(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest relative error of any weight's gradient; of all together where it is nearly 0."""
    scale = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    return max(
        float((found[name] - wanted[name]).norm() / (wanted[name].norm() + 1e-3 * scale))
        for name in wanted
    )


MASK = torch.arange(37) < torch.tensor([37, 20, 37, 1])[:, None]
DOCUMENTS = torch.tensor(
    [[0] * 10 + [1] * 27, [2] * 37, [3] * 5 + [4] * 30 + [-1] * 2, [5] * 9 + [6] * 9 + [7] * 19]
)
