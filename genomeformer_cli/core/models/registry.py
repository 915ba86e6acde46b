"""Registries of architectures and of the published layouts of other authors' models.

`ARCHITECTURES` is keyed by the `model_type` of our own `config.json`; `FAMILIES` recognise the
`config.json` of others. Other packages add to both by entry points, see `core.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genomeformer_cli.core import plugins
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.models.decoder import Decoder, DecoderConfig
from genomeformer_cli.core.models.dilated import Dilated, DilatedConfig
from genomeformer_cli.core.models.encoder import EncoderConfig, build_encoder
from genomeformer_cli.core.models.families import caduceus, gpn, hyena, mamba
from genomeformer_cli.core.models.families.decoders import DECODER_FAMILIES
from genomeformer_cli.core.models.families.encoders import ENCODER_FAMILIES
from genomeformer_cli.core.models.families.protocol import Family
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.reverse_complement import BothStrands
from genomeformer_cli.core.models.hyena import Hyena, HyenaConfig
from genomeformer_cli.core.models.mamba import Caduceus, CaduceusConfig, Mamba, MambaConfig
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Model


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Entry of the registry."""

    config: type[Any]  # Class of the configuration, a frozen dataclass.
    # Function that builds a model with initial weights from a configuration and a seed.
    build: Callable[[Any, int], Model]
    families: tuple[Family, ...] = ()  # Published layouts; those of this package are in `FAMILIES`.


def _build_genomeformer(config: ModelConfig, seed: int) -> Model:
    if config.direction == "two-stack":
        return TwoStack(config, seed=seed)
    if config.strands == "both":
        return BothStrands(config, seed=seed)
    return Encoder(config, seed=seed)


def _build_decoder(config: DecoderConfig, seed: int) -> Model:
    return Decoder(config, seed=seed)


def _build_caduceus(config: CaduceusConfig, seed: int) -> Model:
    return Caduceus(config, seed=seed)


def _build_mamba(config: MambaConfig, seed: int) -> Model:
    return Mamba(config, seed=seed)


def _build_hyena(config: HyenaConfig, seed: int) -> Model:
    return Hyena(config, seed=seed)


def _build_dilated(config: DilatedConfig, seed: int) -> Model:
    return Dilated(config, seed=seed)


_OWN: dict[str, Architecture] = {
    "genomeformer-encoder": Architecture(config=ModelConfig, build=_build_genomeformer),
    "published-encoder": Architecture(config=EncoderConfig, build=build_encoder),
    "genomeformer-decoder": Architecture(config=DecoderConfig, build=_build_decoder),
    "genomeformer-caduceus": Architecture(config=CaduceusConfig, build=_build_caduceus),
    "genomeformer-mamba": Architecture(config=MambaConfig, build=_build_mamba),
    "genomeformer-dilated": Architecture(config=DilatedConfig, build=_build_dilated),
    "genomeformer-hyena": Architecture(config=HyenaConfig, build=_build_hyena),
}

# Architectures of this package, and those of other installed packages.
ARCHITECTURES = plugins.Registry(plugins.ARCHITECTURE, Architecture, _OWN)

FAMILIES: tuple[Family, ...] = (
    *ENCODER_FAMILIES,
    *DECODER_FAMILIES,
    gpn.FAMILY,
    gpn.FIRST_FAMILY,
    gpn.OTHER_INPUTS,
    hyena.FAMILY,
    hyena.CHECKPOINTS,
    caduceus.FAMILY,
    mamba.FAMILY,
)


def model_type(config: ArchitectureConfig) -> str:
    """Return the name of the architecture that a configuration belongs to."""
    return next(name for name, entry in ARCHITECTURES.items() if type(config) is entry.config)


def build_model(config: ArchitectureConfig, *, seed: int = 0) -> Model:
    """Build a model with initial weights.

    Raises:
        ConfigError: The configuration is invalid.
    """
    return ARCHITECTURES[model_type(config)].build(config, seed)


def trainable_config(config: ArchitectureConfig) -> ModelConfig:
    """Return the configuration of a model that `pretrain` can train.

    Raises:
        ConfigError: The model belongs to another family.
    """
    if not isinstance(config, ModelConfig):
        raise ConfigError(
            f"`pretrain` does not train models of the architecture `{model_type(config)}`",
            hint="use `genomeformer finetune`, or start from a model of `genomeformer pretrain`",
        )
    return config


def find_family(document: Mapping[str, Any]) -> Family:
    """Return the family of a published `config.json`: of this package, else of other packages.

    Raises:
        CheckpointError: No family, or more than one, recognises it.
        ConfigError: Another package that may know it cannot be imported.
    """
    families = [family for family in FAMILIES if family.recognise(document)]
    if not families:
        plugins = [
            family for name in ARCHITECTURES.plugins for family in ARCHITECTURES[name].families
        ]
        families = [family for family in plugins if family.recognise(document)]
    if len(families) == 1:
        return families[0]
    described = ", ".join(
        f"`{key}` `{document[key]}`" for key in ("model_type", "architectures") if key in document
    )
    names = ", ".join(f"`{family.name}`" for family in families or FAMILIES if family.is_read)
    raise CheckpointError(
        f"no architecture for the model of this `config.json` ({described or 'no model_type'})"
        if not families
        else f"ambiguous `config.json` ({described}): it fits several families",
        hint=f"families: {names}",
    )
