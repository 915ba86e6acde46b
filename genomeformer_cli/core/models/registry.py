"""Registry of architectures, keyed by the `model_type` of `config.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.reverse_complement import BothStrands
from genomeformer_cli.core.models.protocol import Model


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Entry of the registry."""

    config: type[ModelConfig]  # Class of the configuration.
    # Function that builds a model with initial weights from a configuration and a seed.
    build: Callable[[ModelConfig, int], Model]


def _build_genomeformer(config: ModelConfig, seed: int) -> Model:
    if config.direction == "two-stack":
        return TwoStack(config, seed=seed)
    if config.strands == "both":
        return BothStrands(config, seed=seed)
    return Encoder(config, seed=seed)


ARCHITECTURES: dict[str, Architecture] = {
    "genomeformer-encoder": Architecture(config=ModelConfig, build=_build_genomeformer)
}


def model_type(config: ModelConfig) -> str:
    """Return the name of the architecture that a configuration belongs to."""
    return next(name for name, entry in ARCHITECTURES.items() if type(config) is entry.config)


def build_model(config: ModelConfig, *, seed: int = 0) -> Model:
    """Build a model with initial weights.

    Raises:
        ConfigError: The configuration is invalid.
    """
    return ARCHITECTURES[model_type(config)].build(config, seed)
