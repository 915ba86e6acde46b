"""The table of attention mechanisms: what each can do, what it costs, where it is from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from genomeformer_cli.core.attention.ops.performer import PerformerAttention
from genomeformer_cli.core.attention.ops.softmax import SoftmaxAttention
from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Which mechanism, and its dials.

    Attributes:
        name: A mechanism of the registry.
        num_features: Random features a head (performer).
    """

    name: str = "softmax"
    num_features: int = 64

    def __post_init__(self) -> None:
        attention_entry(self.name)
        if self.num_features < 1:
            raise ConfigError(
                f"{self.num_features} features cannot represent anything",
                hint="64 to 256 are usual",
            )


@dataclass(frozen=True, kw_only=True)
class AttentionEntry:
    """One mechanism.

    Attributes:
        build: Makes the module from its configuration, the head width and a generator for what it
            draws.
        exact: Whether it computes softmax attention itself, not an approximation.
        bidirectional: Whether it can see both sides.
        causal: Whether it can be restricted to the past.
        time: Cost in time, in the length L.
        memory: Cost in memory, in the length L.
        paper: Where it is from.
    """

    build: Callable[[AttentionConfig, int, torch.Generator], nn.Module]
    exact: bool
    bidirectional: bool
    causal: bool
    time: str
    memory: str
    paper: str


def _build_softmax(
    config: AttentionConfig, head_width: int, generator: torch.Generator
) -> nn.Module:
    del config, head_width, generator
    return SoftmaxAttention()


def _build_performer(
    config: AttentionConfig, head_width: int, generator: torch.Generator
) -> nn.Module:
    return PerformerAttention(
        num_features=config.num_features, head_width=head_width, generator=generator
    )


ATTENTIONS: dict[str, AttentionEntry] = {
    "softmax": AttentionEntry(
        build=_build_softmax,
        exact=True,
        bidirectional=True,
        causal=False,
        time="L^2",
        memory="L",
        paper="Vaswani et al. 2017, arXiv 1706.03762",
    ),
    "performer": AttentionEntry(
        build=_build_performer,
        exact=False,
        bidirectional=True,
        causal=False,
        time="L",
        memory="L",
        paper="Choromanski et al. 2021, arXiv 2009.14794",
    ),
}


def attention_entry(name: str) -> AttentionEntry:
    """The mechanism of that name.

    Raises:
        ConfigError: It is unknown; the hint lists the known ones.
    """
    if name not in ATTENTIONS:
        known = ", ".join(f"`{known}`" for known in ATTENTIONS)
        raise ConfigError(f"unknown attention `{name}`", hint=f"known: {known}")
    return ATTENTIONS[name]
