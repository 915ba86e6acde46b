"""Length curriculum: short windows first, then longer ones, with equal tokens per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Steps with windows of one length."""

    first: int  # First step.
    length: int  # Tokens per window.
    rows: int  # Windows per step.
    rows_at_once: int = 0  # Windows whose gradients are computed together; 0: by the memory plan.


def stages(config: TrainingConfig, context: int) -> list[Stage]:
    """Return the stages of a run.

    The length doubles from `start_length` to the context; the shorter lengths share
    `curriculum_share` of the steps evenly, and the context has the rest.

    Raises:
        ConfigError: The first length exceeds the context, or a stage has no step.
    """
    lengths = [context]
    if config.start_length:
        if config.start_length > context:
            raise ConfigError(
                f"windows cannot grow from {config.start_length} to {context} tokens",
                hint="`--context 256:4096` grows from 256 to 4096",
            )
        lengths = [config.start_length]
        while lengths[-1] * 2 < context:
            lengths.append(lengths[-1] * 2)
        lengths += [context] * (lengths[-1] < context)
    shorter = len(lengths) - 1
    share = config.curriculum_share / shorter if shorter else 0.0
    firsts = [round(place * share * config.steps) for place in range(len(lengths))]
    if len(set(firsts)) < len(firsts) or firsts[-1] >= config.steps:
        raise ConfigError(
            f"{config.steps} steps are too few for windows of {len(lengths)} lengths",
            hint="raise `--steps`, or begin with longer windows",
        )
    return [
        _stage(config, context, first, length)
        for first, length in zip(firsts, lengths, strict=True)
    ]


def _stage(config: TrainingConfig, context: int, first: int, length: int) -> Stage:
    together = max(config.batch_size * context // length, 1)
    if not config.tokens_per_step:
        return Stage(first=first, length=length, rows=together)
    rows = max(config.tokens_per_step // length, 1)
    return Stage(first=first, length=length, rows=rows, rows_at_once=min(together, rows))


def stage_of(step: int, of: Sequence[Stage]) -> Stage:
    """Return the stage of a step."""
    return next(stage for stage in reversed(of) if stage.first <= step)
