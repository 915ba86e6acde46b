"""Training settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
        counts = (
            self.steps,
            self.batch_size,
            self.validate_every,
            self.validation_windows,
            self.validation_passes,
            self.checkpoint_every,
            self.keep_checkpoints,
        )
        if min(counts) < 1:
            raise ConfigError(
                "steps, batch size, intervals and counts must be at least 1",
                hint="see `--list-presets`",
            )
        if self.learning_rate <= 0:
            raise ConfigError(
                f"the learning rate {self.learning_rate} is not positive", hint="0.002 is usual"
            )
        if min(self.warmup_share, self.decay_share) < 0 or self.warmup_share + self.decay_share > 1:
            raise ConfigError(
                "warm-up and decay must be 0 or more and sum to at most 1",
                hint="0.1 and 0.3 are usual",
            )
        self._check_dials()

    def _check_dials(self) -> None:
        if min(self.tokens_per_step, self.start_length, self.redraw_every) < 0:
            raise ConfigError(
                "tokens of a step, lengths and intervals cannot be negative",
                hint="0 leaves each out",
            )
        if not (0 <= self.ema < 1 and 0 < self.curriculum_share < 1 and 0 <= self.momentum < 1):
            raise ConfigError(
                "decays and shares lie between 0 and 1",
                hint="0.999 is usual for `ema`, 0.95 for the momentum",
            )
        if self.spike_factor != 0 and self.spike_factor <= 1:
            raise ConfigError(
                f"invalid spike factor {self.spike_factor}: it must be above 1",
                hint="5 to 10 are usual; 0 leaves no step out",
            )
