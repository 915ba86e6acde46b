"""AdamW: Loshchilov and Hutter 2019. Matrices decay; norms do not, nor does the embedding."""

from __future__ import annotations

import torch

from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.training.config import TrainingConfig


def build_optimizer(model: Model, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer of a run; its learning rate is set before every step."""
    decayed = [
        p for name, p in model.named_parameters() if p.dim() >= 2 and "embedding." not in name
    ]
    chosen = {id(parameter) for parameter in decayed}
    kept = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
    )
