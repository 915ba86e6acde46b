"""How a run is trained, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Steps, batches, optimizer and schedule.

    Attributes:
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak of the schedule.
        schedule: `wsd` (warm-up, stable, linear decay) or `cosine`.
        warmup_share: Part of the steps that the learning rate rises.
        decay_share: Part of the steps that it falls at the end (`wsd`).
        weight_decay: AdamW's, on matrices only.
        beta1: AdamW's first moment decay.
        beta2: AdamW's second moment decay.
        clip_norm: Largest norm of a step's gradient.
        seed: Of weights, data order, masks and strands.
        reverse_complement: Read each window from either strand with equal chance.
        validate_every: Steps between validations.
        validation_windows: Windows validated on, at most.
        validation_passes: How many disjoint sets of bases of each window are hidden in turn.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: How many of the newest are kept.
    """

    steps: int = 400
    batch_size: int = 32
    learning_rate: float = 2e-3
    schedule: Literal["wsd", "cosine"] = "wsd"
    warmup_share: float = 0.1
    decay_share: float = 0.3
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    seed: int = 0
    reverse_complement: bool = True
    validate_every: int = 100
    validation_windows: int = 256
    validation_passes: int = 4
    checkpoint_every: int = 100
    keep_checkpoints: int = 2

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
