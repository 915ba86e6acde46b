"""New random features during training, as a function of the seed and the step.

Choromanski et al. 2021, "Rethinking Attention with Performers", appendix B.2.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch

from genomeformer_cli.core.attention.registry import attention_entry
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.training.config import TrainingConfig

_REDRAW = 3


@runtime_checkable
class Redrawable(Protocol):
    """Mechanism with random features."""

    def redraw(self, generator: torch.Generator) -> None:
        """Draw new features."""


def check_redraw(model: ModelConfig, config: TrainingConfig) -> None:
    """Check that the model has random features if they are to be redrawn.

    Raises:
        ConfigError: No mechanism of the model has random features.
    """
    draws = any("num_features" in attention_entry(name).options for name in model.attention.names)
    if config.redraw_every and not draws:
        raise ConfigError(
            f"`{model.attention.name}` draws no random features to redraw",
            hint="`performer` does; leave `redraw_every` at 0",
        )


def redraw_features(model: Model, config: TrainingConfig, step: int) -> None:
    """Draw the features of step `step`, if that step starts with new ones."""
    if not config.redraw_every or step == 0 or step % config.redraw_every:
        return
    mechanisms = (module for module in model.modules() if isinstance(module, Redrawable))
    for number, mechanism in enumerate(mechanisms):
        words = np.random.SeedSequence([config.seed, _REDRAW, step, number]).generate_state(1)
        mechanism.redraw(torch.Generator().manual_seed(int(words[0])))
