"""Registries of architectures and of the published layouts of other authors' models.

`ARCHITECTURES` is keyed by the `model_type` of our own `config.json`; `own_families` recognise the
`config.json` of others. The module of an architecture is imported when its entry is used, and those
of families for a `config.json` that is not ours. Other packages add to both by entry points, see
`core.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core import plugins
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.escaping import excerpt
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Model

if TYPE_CHECKING:
    from genomeformer_cli.core.models.families.protocol import Family


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Entry of the registry."""

    config: type[Any]  # Class of the configuration, a frozen dataclass.
    # Function that builds a model with initial weights from a configuration and a seed.
    build: Callable[[Any, int], Model]
    families: tuple[Family, ...] = ()  # Published layouts; those of this package: `own_families`.


def _build_genomeformer(config: ModelConfig, seed: int) -> Model:
    if config.direction == "two-stack":
        from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack

        return TwoStack(config, seed=seed)
    if config.strands == "both":
        from genomeformer_cli.core.models.genomeformer.reverse_complement import BothStrands

        return BothStrands(config, seed=seed)
    from genomeformer_cli.core.models.genomeformer.encoder import Encoder

    return Encoder(config, seed=seed)


def _genomeformer_encoder() -> Architecture:
    return Architecture(config=ModelConfig, build=_build_genomeformer)


def _published_encoder() -> Architecture:
    from genomeformer_cli.core.models.encoder import EncoderConfig, build_encoder

    return Architecture(config=EncoderConfig, build=build_encoder)


def _decoder() -> Architecture:
    from genomeformer_cli.core.models.decoder import Decoder, DecoderConfig

    return Architecture(config=DecoderConfig, build=lambda config, seed: Decoder(config, seed=seed))


def _caduceus() -> Architecture:
    from genomeformer_cli.core.models.caduceus import Caduceus, CaduceusConfig

    return Architecture(
        config=CaduceusConfig, build=lambda config, seed: Caduceus(config, seed=seed)
    )


def _mamba() -> Architecture:
    from genomeformer_cli.core.models.mamba import Mamba, MambaConfig

    return Architecture(config=MambaConfig, build=lambda config, seed: Mamba(config, seed=seed))


def _dilated() -> Architecture:
    from genomeformer_cli.core.models.dilated import Dilated, DilatedConfig

    return Architecture(config=DilatedConfig, build=lambda config, seed: Dilated(config, seed=seed))


def _hyena() -> Architecture:
    from genomeformer_cli.core.models.hyena import Hyena, HyenaConfig

    return Architecture(config=HyenaConfig, build=lambda config, seed: Hyena(config, seed=seed))


_LOADERS: dict[str, Callable[[], Architecture]] = {
    "genomeformer-encoder": _genomeformer_encoder,
    "published-encoder": _published_encoder,
    "genomeformer-decoder": _decoder,
    "genomeformer-caduceus": _caduceus,
    "genomeformer-mamba": _mamba,
    "genomeformer-dilated": _dilated,
    "genomeformer-hyena": _hyena,
}


class _OwnArchitectures(Mapping[str, Architecture]):
    """Architectures of this package; the module of an entry is imported on its first use."""

    def __init__(self) -> None:
        self._loaded: dict[str, Architecture] = {}

    def __getitem__(self, name: str) -> Architecture:
        if name not in self._loaded:
            self._loaded[name] = _LOADERS[name]()
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_LOADERS)

    def __len__(self) -> int:
        return len(_LOADERS)

    def __contains__(self, name: object) -> bool:
        # The default would import the module.
        return name in _LOADERS


# Architectures of this package, and those of other installed packages.
ARCHITECTURES = plugins.Registry(plugins.ARCHITECTURE, Architecture, _OwnArchitectures())


@cache
def own_families() -> tuple[Family, ...]:
    """Import the published layouts that this package reads or refuses."""
    from genomeformer_cli.core.models.families import caduceus, gpn, hyena, mamba
    from genomeformer_cli.core.models.families.decoders import DECODER_FAMILIES
    from genomeformer_cli.core.models.families.encoders import ENCODER_FAMILIES

    return (
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
    kind = document.get("model_type")
    # The functions that recognise a family may rely on the type.
    is_text = kind is None or isinstance(kind, str)
    families = [family for family in own_families() if is_text and family.recognise(document)]
    if is_text and not families:
        plugins = [
            family for name in ARCHITECTURES.plugins for family in ARCHITECTURES[name].families
        ]
        families = [family for family in plugins if family.recognise(document)]
    if len(families) == 1:
        return families[0]
    described = ", ".join(
        f"`{key}` `{excerpt(document[key])}`"
        for key in ("model_type", "architectures")
        if key in document
    )
    names = ", ".join(f"`{family.name}`" for family in families or own_families() if family.is_read)
    raise CheckpointError(
        f"no architecture for the model of this `config.json` ({described or 'no model_type'})"
        if not families
        else f"ambiguous `config.json` ({described}): it fits several families",
        hint=f"families: {names}",
    )
