"""Configuration of a model, saved as `config.json` beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from genomeformer_cli.core.attention.registry import (
    AttentionConfig,
    attention_entry,
    check_direction,
)
from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.protocol import Direction


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Configuration of an encoder."""

    vocabulary_size: int = 10  # Number of token ids.
    # Tokens per training window; `embed` splits longer sequences into windows of this length.
    context: int = 256
    width: int = 128  # Features per position.
    depth: int = 4  # Number of blocks.
    num_heads: int = 4  # Attention heads per block.
    mlp_width: int = 352  # Hidden features of the gated MLP.
    # Attention mechanism and its options.
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    rotary_base: float = 10_000.0  # Base of the wavelengths of rotary positions.
    # Normalise queries and keys per head. Softmax models without it have the form of Llama or
    # EuroBERT.
    query_key_norm: bool = True
    # Kernel size of a short depthwise convolution before each attention; odd unless the model is
    # causal, 0 for none. Mechanisms that approximate softmax cannot attend to a single neighbour;
    # the convolution provides it.
    conv_width: int = 0
    # Tokens per position of the stack; a light decoder separates them again. The work falls by this
    # factor.
    patch: int = 1
    # `bidirectional`: every position sees both sides. `causal`: itself and its past. `two-stack`:
    # two causal stacks in opposite directions, joined at the top, so that every position sees all
    # others but not itself.
    direction: Direction = "bidirectional"
    # Share the weights of the two stacks, the second one reading the other strand; such a model is
    # equivariant under reverse complement.
    tied: bool = True
    # `plain`, or `reversible` (two streams, each block invertible).
    residual: Literal["plain", "reversible"] = "plain"
    # `one`: the given strand. `both`: the model also reads the other strand and is equivariant
    # under reverse complement; twice the cost.
    strands: Literal["one", "both"] = "one"
    # Id of the complement of every token, for models that read the other strand.
    complement: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in (
            "vocabulary_size",
            "context",
            "width",
            "depth",
            "num_heads",
            "mlp_width",
            "patch",
        ):
            check_range(f"model.{name}", getattr(self, name), 1)
        check_range("model.rotary_base", self.rotary_base, 1)
        check_direction(self.attention, causal=self.causal)
        even = self.conv_width > 0 and self.conv_width % 2 == 0
        if self.conv_width < 0 or (even and not self.causal):
            raise ConfigError(
                f"`model.conv_width` cannot be {self.conv_width}",
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
                "`two-stack` models do not take reversible residuals",
                hint="their memory does not grow with the length",
            )

        if self.patch > 1 and self.residual == "reversible":
            raise ConfigError(
                "patches and reversible residuals do not go together",
                hint="use `--memory checkpoint` with patches",
            )

    @property
    def mechanism(self) -> str:
        """Name of the attention mechanism."""
        return self.attention.name

    @property
    def is_quadratic(self) -> bool:
        """True if the time of one of the mechanisms grows with the square of the length."""
        return any("L^2" in attention_entry(name).time for name in self.attention.names)

    @property
    def causal(self) -> bool:
        """True if each stack sees only the past."""
        return self.direction != "bidirectional"
