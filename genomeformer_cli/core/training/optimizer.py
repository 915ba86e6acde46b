"""AdamW and Muon; only matrices have weight decay, except the embedding.

AdamW: Loshchilov and Hutter 2019. Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers",
its steps scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training",
section 2.2), so that one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.training.config import TrainingConfig

Optimizers = Sequence[torch.optim.Optimizer]


def build_optimizers(model: Model, config: TrainingConfig) -> Optimizers:
    """Build the optimizers of a run, AdamW first; their learning rate is set before every step.

    Raises:
        ConfigError: The installed torch has no Muon.
    """
    by_muon: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if config.optimizer == "muon" and _is_hidden_matrix(name, parameter):
            by_muon.append(parameter)
        elif parameter.dim() >= 2 and "embedding." not in name:
            decayed.append(parameter)
        else:
            undecayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
    )
    return [adamw, _muon(by_muon, config)] if by_muon else [adamw]


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Return True for a matrix that multiplies the features of a block, which Muon updates."""
    within = ".blocks." in f".{name}" and ".mechanism." not in name
    return within and parameter.dim() == 2 and name.endswith(".weight")


def _muon(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"torch {torch.__version__} has no Muon", hint="it came with torch 2.9; or use `adamw`"
        )
    return torch.optim.Muon(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        adjust_lr_fn="match_rms_adamw",
    )


def set_learning_rate(optimizers: Optimizers, rate: float) -> None:
    """Set the learning rate of the next step, times the `scale` of a group that has one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
