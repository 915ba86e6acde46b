"""Settings of the loggers of a run, which do not change the result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Services that show a run, beside its own `metrics.jsonl`."""

    tensorboard: bool = False  # Write `tensorboard/` in the run folder (extra `tensorboard`).
    # Project of Weights & Biases that shows the run too (extra `wandb`); empty: none.
    wandb: str = ""
