"""Training settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Steps, batches, optimizer and schedule."""

    steps: int = 400  # Optimizer steps.
    # Windows whose gradients are computed together; one step, unless `tokens_per_step` is larger.
    batch_size: int = 32
    # Tokens per step, with gradients accumulated over batches of `batch_size` windows; 0: one
    # batch.
    tokens_per_step: int = 0
    # Segments shorter than a window: `on`: several share a row; `off`: each has a padded row;
    # `auto`: `on` where there are any; `skip`: they are left out, so that every row is full, as
    # compilers prefer.
    pack: Literal["auto", "on", "off", "skip"] = "auto"
    # Tokens per window at the start; the length doubles up to the context; 0: the context from the
    # start.
    start_length: int = 0
    curriculum_share: float = 0.5  # Fraction of the steps with windows shorter than the context.
    # `adamw`, or `muon`: Muon for the matrices of the blocks, AdamW for the rest.
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 2e-3  # Peak learning rate.
    schedule: Literal["wsd", "cosine"] = "wsd"  # `wsd` (warm-up, stable, linear decay) or `cosine`.
    warmup_share: float = 0.1  # Fraction of the steps in which the learning rate rises.
    decay_share: float = 0.3  # Fraction of the steps in which it falls at the end (`wsd`).
    weight_decay: float = 0.05  # Weight decay, for matrices only.
    beta1: float = 0.9  # Decay of the first moment of AdamW.
    beta2: float = 0.98  # Decay of the second moment of AdamW.
    momentum: float = 0.95  # Momentum of Muon.
    clip_norm: float = 1.0  # Largest gradient norm of a step.
    # Skip steps whose gradient norm exceeds this multiple of the median of the latest 64; 0: skip
    # none.
    spike_factor: float = 0.0
    # Decay of the moving average of the weights, which is validated and saved too; 0: none.
    ema: float = 0.0
    redraw_every: int = 0  # Steps between new draws of random features; 0: never.
    seed: int = 0  # Seed of weights, data order, masks and strands.
    reverse_complement: bool = True  # Read each window from either strand with equal probability.
    validate_every: int = 100  # Steps between validations.
    validation_windows: int = 256  # Largest number of validation windows.
    # Number of disjoint sets of bases of each window that are hidden in turn.
    validation_passes: int = 4
    both_strands: bool = False  # Validate with the mean of the predictions from both strands.
    checkpoint_every: int = 100  # Steps between checkpoints.
    keep_checkpoints: int = 2  # Number of newest checkpoints that are kept.

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "validate_every",
            "validation_windows",
            "validation_passes",
            "checkpoint_every",
            "keep_checkpoints",
        ):
            check_range(f"training.{name}", getattr(self, name), 1)
        check_range("training.learning_rate", self.learning_rate, 0, excluded="lowest")
        check_range("training.warmup_share", self.warmup_share, 0, 1)
        check_range("training.decay_share", self.decay_share, 0, 1)
        if self.warmup_share + self.decay_share > 1:
            raise ConfigError(
                "`training.warmup_share` and `training.decay_share` sum to more than 1",
                hint="0.1 and 0.3 are usual",
            )
        self._check_dials()

    def _check_dials(self) -> None:
        for name in ("tokens_per_step", "start_length", "redraw_every", "seed", "weight_decay"):
            check_range(f"training.{name}", getattr(self, name), 0)
        check_range("training.beta1", self.beta1, 0, 1, "highest")
        check_range("training.beta2", self.beta2, 0, 1, "highest")
        check_range("training.clip_norm", self.clip_norm, 0, excluded="lowest")
        check_range("training.ema", self.ema, 0, 1, "highest")
        check_range("training.momentum", self.momentum, 0, 1, "highest")
        check_range("training.curriculum_share", self.curriculum_share, 0, 1, "both")
        if not (self.spike_factor == 0 or 1 < self.spike_factor < math.inf):
            raise ConfigError(
                f"`training.spike_factor` cannot be {self.spike_factor:g}",
                hint="give more than 1, usually 5 to 10, or 0, which leaves no step out",
            )
