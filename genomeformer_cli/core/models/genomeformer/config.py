"""What a model is, in numbers: saved as `config.json` beside its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from genomeformer_cli.core.attention.registry import AttentionConfig, check_direction
from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """An encoder.

    Attributes:
        vocabulary_size: Number of token ids.
        context: Tokens in a training window; `embed` cuts longer sequences into windows of this
            length.
        width: Features of a position.
        depth: Blocks.
        num_heads: Attention heads a block.
        mlp_width: Hidden features of the gated MLP.
        attention: The mechanism.
        rotary_base: Base of the rotary positions' wavelengths.
        conv_width: Bases that a short depthwise convolution mixes before each attention; odd
            unless the model is causal, 0 leaves it out. Mechanisms that estimate softmax cannot
            point at a single neighbour; with the convolution they need not.
        patch: Tokens that a position of the stack stands for; a light decoder tells them apart
            again. The work shrinks as much.
        direction: `bidirectional`: every position sees both sides. `causal`: itself and its past.
            `two-stack`: two causal stacks, one from either end, joined at the top, so that every
            position sees all others but not itself.
        tied: Whether the two stacks share their weights, the second one reading the other strand;
            such a model is equivariant under reverse complement.
        residual: `plain`, or `reversible` (two streams, each block invertible).
        strands: `one`: as the bases are given. `both`: the model reads the other strand too, and
            its answer turns with the strand; twice the cost.
        complement: Id of the complement of every token, for models that read the other strand.
    """

    vocabulary_size: int = 10
    context: int = 256
    width: int = 128
    depth: int = 4
    num_heads: int = 4
    mlp_width: int = 352
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    rotary_base: float = 10_000.0
    conv_width: int = 0
    patch: int = 1
    direction: Literal["bidirectional", "causal", "two-stack"] = "bidirectional"
    tied: bool = True
    residual: Literal["plain", "reversible"] = "plain"
    strands: Literal["one", "both"] = "one"
    complement: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sizes = (
            self.vocabulary_size,
            self.context,
            self.width,
            self.depth,
            self.num_heads,
            self.mlp_width,
            self.patch,
        )
        if min(sizes) < 1:
            raise ConfigError(
                "every size of a model must be at least 1",
                hint="start from a preset such as `tiny`",
            )
        if not 1 <= self.rotary_base < math.inf:
            raise ConfigError(
                f"the base of rotary positions cannot be {self.rotary_base}",
                hint="10,000 is usual; it is at least 1",
            )
        check_direction(self.attention, causal=self.causal)
        even = self.conv_width > 0 and self.conv_width % 2 == 0
        if self.conv_width < 0 or (even and not self.causal):
            raise ConfigError(
                f"a convolution cannot be {self.conv_width} bases wide",
                hint="choose an odd width, or 0 for none",
            )
        if self.width % (2 * self.num_heads):
            raise ConfigError(
                f"width {self.width} does not divide into {self.num_heads} heads of even width",
                hint="choose a width that is a multiple of twice the number of heads",
            )
        if self.strands == "both" and self.causal:
            raise ConfigError(
                "a causal model cannot read both strands",
                hint="tied two-stack models read both; others can be trained on either",
            )
        if self.direction == "two-stack" and self.residual == "reversible":
            raise ConfigError(
                "two stacks need no reversible residuals",
                hint="their memory does not grow with the length as it is",
            )

        if self.patch > 1 and self.residual == "reversible":
            raise ConfigError(
                "patches and reversible residuals do not go together",
                hint="patches need little memory as it is: `--memory checkpoint` takes less",
            )

    @property
    def causal(self) -> bool:
        """Whether each stack sees only the past."""
        return self.direction != "bidirectional"
