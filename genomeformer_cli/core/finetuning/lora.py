"""LoRA: train a low-rank update of every matrix of the blocks, with the matrices frozen.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1: W + alpha / r
B A, with A random and B zero at the start. As a parametrization it applies wherever `.weight` is
read; after merging, the model has its original structure.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.seeds import part_generator
from genomeformer_cli.core.models.protocol import Model


class LoraLinear(nn.Module):
    """Low-rank update of a matrix.

    Args:
        weight: The matrix.
        rank: r.
        scale: alpha / r.
        generator: Random generator of A.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        initial_down = torch.randn(rank, columns, generator=generator) * columns**-0.5
        self.scale = scale
        self.down = nn.Parameter(initial_down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated matrix."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_lora(model: Model, rank: int, alpha: float, *, seed: int) -> int:
    """Freeze a model and add low-rank updates to the matrices of its blocks.

    Returns:
        Number of matrices.

    Raises:
        ConfigError: The blocks have no matrices.
    """
    generator = part_generator(seed, "low-rank changes")
    model.requires_grad_(requires_grad=False)
    matrices = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".blocks." in f".{name}."
    ]
    for module in matrices:
        update = LoraLinear(module.weight, rank, alpha / rank, generator)
        parametrize.register_parametrization(module, "weight", update)
    if not matrices:
        raise ConfigError("the model's blocks hold no matrices to adapt", hint="`--method full`")
    return len(matrices)


def merge_lora(model: Model) -> None:
    """Merge the updates into the matrices."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
