"""Build a model from a configuration."""

from __future__ import annotations

from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.reverse_complement import BothStrands

Model = Encoder | BothStrands | TwoStack


def build_model(config: ModelConfig, *, seed: int = 0) -> Model:
    """Build a model with initial weights.

    Raises:
        ConfigError: The configuration is invalid.
    """
    if config.direction == "two-stack":
        return TwoStack(config, seed=seed)
    if config.strands == "both":
        return BothStrands(config, seed=seed)
    return Encoder(config, seed=seed)


def is_equivariant(model: Model) -> bool:
    """Return True if the reverse complement flips the features of a row and swaps their halves."""
    return isinstance(model, BothStrands) or (isinstance(model, TwoStack) and model.config.tied)
