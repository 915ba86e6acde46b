"""LoRA: to every matrix of the blocks a change of low rank is learned, the matrix itself stays.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1: W + alpha / r
B A, A random and B zero at the start. As a parametrization it serves whoever reads `.weight`;
merged, it leaves no trace.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.seeds import part_generator
from genomeformer_cli.core.models.protocol import Model


class LoraLinear(nn.Module):
    """A change of low rank.

    Args:
        weight: Whose.
        rank: r.
        scale: alpha / r.
        generator: Draws A.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        drawn = torch.randn(rank, columns, generator=generator) * columns**-0.5
        self.scale = scale
        self.down = nn.Parameter(drawn.to(weight))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix as it is used."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_lora(model: Model, rank: int, alpha: float, *, seed: int) -> int:
    """Freeze a model and let the matrices of its blocks change by low rank.

    Returns:
        How many matrices.

    Raises:
        ConfigError: It has none.
    """
    generator = part_generator(seed, "low-rank changes")
    model.requires_grad_(requires_grad=False)
    matrices = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".blocks." in f".{name}."
    ]
    for module in matrices:
        change = LoraLinear(module.weight, rank, alpha / rank, generator)
        parametrize.register_parametrization(module, "weight", change)
    if not matrices:
        raise ConfigError("the model's blocks hold no matrices to adapt", hint="`--method full`")
    return len(matrices)


def merge_lora(model: Model) -> None:
    """Make the changes part of the matrices."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
