"""Registry of attention mechanisms: capabilities, limits, cost and paper of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from genomeformer_cli.core.attention.bidirectional import BidirectionalAttention
from genomeformer_cli.core.attention.kernels.fused import FLASH_LINEAR, FLEX, FusedKernel
from genomeformer_cli.core.attention.ops.gated_delta import GatedDeltaAttention
from genomeformer_cli.core.attention.ops.gated_linear import GatedLinearAttention
from genomeformer_cli.core.attention.ops.linear import (
    CausalLinearAttention,
    LinearAttention,
    linear_feature_map,
)
from genomeformer_cli.core.attention.ops.linformer import LinformerAttention, Share
from genomeformer_cli.core.attention.ops.local import CausalLocalAttention, LocalAttention
from genomeformer_cli.core.attention.ops.longformer import LongformerAttention
from genomeformer_cli.core.attention.ops.nystromformer import NystromformerAttention
from genomeformer_cli.core.attention.ops.performer import (
    CausalPerformerAttention,
    PerformerAttention,
)
from genomeformer_cli.core.attention.ops.reformer import ReformerAttention
from genomeformer_cli.core.attention.ops.softmax import SoftmaxAttention
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.plugins import ATTENTION, Registry
from genomeformer_cli.core.proposals import look_up, quoted

_MOST_ITERATIONS = 64


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Attention mechanism and its options."""

    # Mechanism of the registry; or several, joined by `+`, that alternate from block to block.
    name: str = "softmax"
    num_features: int = 64  # Random features per head (performer).
    # Replacement of the exponential: `elu` (elu + 1) or `squared` (linear).
    feature_map: str = "elu"
    # Share the weights of both directions of a causal mechanism in a bidirectional model
    # (gated-linear, gated-delta).
    tied_ways: bool = False
    # Visible positions to either side, or to the left if causal (local, longformer).
    window: int = 128
    # Number of first positions of a row that attend to all and are attended to by all (longformer).
    num_global: int = 1
    hash_rounds: int = 2  # Number of hash rounds (reformer).
    hash_chunk: int = 64  # Positions per chunk of the sorted row (reformer).
    # Learned mixtures of the keys and of the values per layer (linformer).
    num_projected: int = 128
    # Share one mixture matrix per layer among the heads, for the keys and for the values, or for
    # both (linformer).
    share_projections: Share = "heads"
    num_landmarks: int = 64  # Segments whose means represent the sequence (nystromformer).
    inverse_iterations: int = 6  # Steps of the pseudo-inverse between landmarks (nystromformer).
    # Kernel size of the convolution of the values that is added; odd, 0 for none (nystromformer).
    value_conv_width: int = 33

    def __post_init__(self) -> None:
        for name in self.names:
            attention_entry(name)
        if self.num_features < 1:
            raise ConfigError(
                f"{self.num_features} features cannot represent anything",
                hint="64 to 256 are usual",
            )
        linear_feature_map(self.feature_map)
        if not 1 <= self.inverse_iterations <= _MOST_ITERATIONS:
            raise ConfigError(
                f"{self.inverse_iterations} steps cannot invert anything",
                hint=f"6 are usual, {_MOST_ITERATIONS} the most",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the mechanisms that alternate."""
        return tuple(self.name.split("+"))


@dataclass(frozen=True, kw_only=True)
class AttentionContext:
    """Sizes and direction of the layer that contains a mechanism."""

    num_heads: int  # Heads of the layer.
    head_width: int  # Features per head.
    context: int  # Longest row supported by the model.
    causal: bool  # True if a position sees only itself and earlier ones.
    query_key_norm: bool = True  # Normalise queries and keys per head.

    @property
    def direction(self) -> Literal["bidirectional", "causal"]:
        """Direction of the layer."""
        return "causal" if self.causal else "bidirectional"


Build = Callable[[AttentionConfig, AttentionContext, torch.Generator], nn.Module]
CountGates = Callable[[AttentionConfig, AttentionContext], int]


@dataclass(frozen=True, kw_only=True)
class AttentionEntry:
    """Entry of the registry."""

    build: Build  # Builds the module from its options, its context and a random generator.
    exact: bool  # True if the mechanism is not an approximation of softmax attention.
    time: str  # Time complexity in the length L.
    memory: str  # Memory complexity in the length L.
    paper: str  # Reference.
    causal: bool = True  # True if it supports causal models; all support bidirectional ones.
    options: tuple[str, ...] = ()  # Settings of `AttentionConfig` that it uses.
    limit: str = ""  # Description of what it does not support; empty if nothing.
    rotary: bool = True  # True if queries and keys receive rotary positions.
    shares_query_key: bool = False  # True if queries and keys share one projection.
    num_gates: CountGates = lambda config, context: 0  # Raw gates per head that it uses.
    fused: FusedKernel | None = None  # Fused kernel, chosen at run time.
    fused_directions: tuple[str, ...] = ("bidirectional", "causal")  # Directions that have it.

    @property
    def directions(self) -> tuple[Literal["bidirectional", "causal"], ...]:
        """Supported directions."""
        return ("bidirectional", "causal") if self.causal else ("bidirectional",)


def _build_linear(
    config: AttentionConfig, context: AttentionContext, generator: torch.Generator
) -> nn.Module:
    del generator
    if context.causal:
        return CausalLinearAttention(feature_map=config.feature_map, head_width=context.head_width)
    return LinearAttention(feature_map=config.feature_map)


def _build_performer(
    config: AttentionConfig, context: AttentionContext, generator: torch.Generator
) -> nn.Module:
    kind = CausalPerformerAttention if context.causal else PerformerAttention
    return kind(
        num_features=config.num_features, head_width=context.head_width, generator=generator
    )


def _build_local(
    config: AttentionConfig, context: AttentionContext, generator: torch.Generator
) -> nn.Module:
    del generator
    if context.causal:
        return CausalLocalAttention(window=config.window, head_width=context.head_width)
    return LocalAttention(window=config.window)


def _build_gated(kind: type[GatedLinearAttention | GatedDeltaAttention]) -> Build:
    def build(
        config: AttentionConfig, context: AttentionContext, generator: torch.Generator
    ) -> nn.Module:
        del generator
        ways = [
            kind(num_heads=context.num_heads, head_width=context.head_width)
            for _ in range(_num_ways(config, context))
        ]
        return ways[0] if context.causal else BidirectionalAttention(*ways)

    return build


def _num_ways(config: AttentionConfig, context: AttentionContext) -> int:
    return 1 if context.causal or config.tied_ways else 2


_OWN: dict[str, AttentionEntry] = {
    "softmax": AttentionEntry(
        build=lambda config, context, generator: SoftmaxAttention(causal=context.causal),
        exact=True,
        time="L^2",
        memory="L",
        paper="Vaswani et al. 2017, arXiv 1706.03762",
        fused=FLEX,
    ),
    "local": AttentionEntry(
        build=_build_local,
        exact=True,
        time="L W",
        memory="L",
        paper="Beltagy et al. 2020, arXiv 2004.05150",
        options=("window",),
        fused=FLEX,
        limit="one layer sees no further than its window",
    ),
    "longformer": AttentionEntry(
        build=lambda config, context, generator: LongformerAttention(
            window=config.window, num_global=config.num_global
        ),
        exact=True,
        causal=False,
        time="L (W + E)",
        memory="L",
        paper="Beltagy et al. 2020, arXiv 2004.05150",
        options=("window", "num_global"),
        fused=FLEX,
        limit="what is beyond the window is heard of through the global positions alone",
    ),
    "reformer": AttentionEntry(
        build=lambda config, context, generator: ReformerAttention(
            num_rounds=config.hash_rounds,
            chunk=config.hash_chunk,
            head_width=context.head_width,
            causal=context.causal,
            generator=generator,
            context=context.context,
        ),
        exact=False,
        time="L log L",
        memory="L",
        paper="Kitaev et al. 2020, arXiv 2001.04451",
        options=("hash_rounds", "hash_chunk"),
        limit="it sorts whole rows: it cannot go slice by slice",
        shares_query_key=True,
    ),
    "linformer": AttentionEntry(
        build=lambda config, context, generator: LinformerAttention(
            max_length=context.context,
            num_projected=config.num_projected,
            share=config.share_projections,
            generator=generator,
        ),
        exact=False,
        causal=False,
        time="L",
        memory="L",
        paper="Wang et al. 2020, arXiv 2006.04768",
        options=("num_projected", "share_projections"),
        limit="no row may be longer than the context that the model was made for",
    ),
    "nystromformer": AttentionEntry(
        build=lambda config, context, generator: NystromformerAttention(
            num_heads=context.num_heads,
            num_landmarks=config.num_landmarks,
            iterations=config.inverse_iterations,
            kernel=config.value_conv_width,
            generator=generator,
        ),
        exact=False,
        causal=False,
        time="L",
        memory="L",
        paper="Xiong et al. 2021, arXiv 2102.03902",
        options=("num_landmarks", "inverse_iterations", "value_conv_width"),
    ),
    "performer": AttentionEntry(
        build=_build_performer,
        exact=False,
        time="L",
        memory="L",
        paper="Choromanski et al. 2021, arXiv 2009.14794",
        options=("num_features",),
    ),
    "linear": AttentionEntry(
        build=_build_linear,
        exact=True,
        time="L",
        memory="L",
        paper="Katharopoulos et al. 2020, arXiv 2006.16236",
        options=("feature_map",),
        fused=FLASH_LINEAR,
        fused_directions=("causal",),
    ),
    "gated-linear": AttentionEntry(
        build=_build_gated(GatedLinearAttention),
        exact=True,
        time="L",
        memory="L",
        paper="Dao and Gu 2024, arXiv 2405.21060",
        options=("tied_ways",),
        fused=FLASH_LINEAR,
        limit="to see both sides it runs twice, once from each end",
        rotary=False,
        num_gates=lambda config, context: (
            GatedLinearAttention.num_gates * _num_ways(config, context)
        ),
    ),
    "gated-delta": AttentionEntry(
        build=_build_gated(GatedDeltaAttention),
        exact=True,
        time="L",
        memory="L",
        paper="Yang et al. 2024, arXiv 2412.06464",
        options=("tied_ways",),
        fused=FLASH_LINEAR,
        limit="to see both sides it runs twice, once from each end",
        rotary=False,
        num_gates=lambda config, context: (
            GatedDeltaAttention.num_gates * _num_ways(config, context)
        ),
    ),
}

# Mechanisms of this package, and those of other installed packages.
ATTENTIONS = Registry(ATTENTION, AttentionEntry, _OWN)


def attention_entry(name: str) -> AttentionEntry:
    """Return the mechanism of that name.

    Raises:
        ConfigError: The name is unknown; the hint lists the known names.
    """
    return look_up(ATTENTIONS, name, "attention")


def mechanisms_implementing(kinds: tuple[type, ...], *, causal: bool) -> list[str]:
    """Return the names of the mechanisms that implement one of `protocols` in that direction."""
    context = AttentionContext(num_heads=1, head_width=2, context=2, causal=causal)
    direction = "causal" if causal else "bidirectional"
    generator = torch.Generator()
    return [
        name
        for name, entry in ATTENTIONS.items()
        if direction in entry.directions
        and isinstance(entry.build(AttentionConfig(name=name), context, generator), kinds)
    ]


def check_direction(config: AttentionConfig, *, causal: bool) -> None:
    """Check that every mechanism of a configuration supports a direction.

    Raises:
        ConfigError: One does not; the hint lists those that do.
    """
    direction = "causal" if causal else "bidirectional"
    for name in config.names:
        if direction not in attention_entry(name).directions:
            able = [
                candidate
                for candidate, entry in ATTENTIONS.items()
                if direction in entry.directions
            ]
            raise ConfigError(
                f"`{name}` attention cannot be {direction}",
                hint=f"{direction}: " + quoted(able),
            )
