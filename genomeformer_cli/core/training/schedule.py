"""Learning-rate schedules."""

from __future__ import annotations

import math

from genomeformer_cli.core.training.config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of step `step` (0-based).

    Warm-up is linear. `wsd` then stays at the peak and falls linearly to zero over the last
    `decay_share` of the steps (Hu et al. 2024, "MiniCPM", section 4); `cosine` falls to zero over
    all steps after the warm-up (Loshchilov and Hutter 2017, "SGDR", equation 5).
    """
    warmup = config.warmup_share * config.steps
    if step < warmup:
        return config.learning_rate * (step + 1) / math.ceil(warmup)
    if config.schedule == "cosine":
        progress = (step - warmup) / max(config.steps - warmup, 1)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    decay = config.decay_share * config.steps
    return config.learning_rate * min(1.0, (config.steps - step) / max(decay, 1.0))
