"""Stack of dilated convolutions over single bases: the models of GPN.

Benegas et al. 2023, "DNA language models are powerful predictors of genome-wide variant effects".
Padding is set to zero before every convolution, as are the positions beyond the ends of a row: a
row has the same features alone and in a batch. (In the authors' code, padding is a token.)
Shape letters: B batch, M length with the frame, E width, C channels of a convolution, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits

BlockKind = Literal["post-norm", "pre-norm", "bytenet"]
_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class DilatedConfig(PlainTraits):
    """Configuration of a stack of dilated convolutions."""

    mechanism: ClassVar[str] = "dilated-convolution"

    vocabulary_size: int = 7  # Number of token ids.
    context: int = 512  # Tokens per window.
    width: int = 512  # Features per position.
    # Kernel size and dilation of the convolution of each block.
    kernels: tuple[int, ...] = (9,) * 25
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32) * 4 + (1,)
    # `post-norm`: a norm ends both branches of a block. `pre-norm`: it starts them. `bytenet`: one
    # branch with a convolution of fewer channels.
    block: BlockKind = "post-norm"
    inner_width: int = 512  # Hidden features of the MLP, or channels of a `bytenet` convolution.
    depthwise: bool = False  # Separate channels in the convolutions after the first one.
    bias: bool = True  # Biases of linear layers, convolutions and norms.
    embedding: Literal["one-hot", "learned"] = "one-hot"
    head_hidden: bool = True  # Hidden layer of the head.
    frame: Frame = field(default_factory=Frame)  # Token ids around every sequence.

    def __post_init__(self) -> None:
        sizes = (self.vocabulary_size, self.context, self.width, self.inner_width)
        if min(*sizes, len(self.kernels), *self.kernels, *self.dilations) < 1:
            raise ConfigError(
                "every size of a dilated stack must be at least 1",
                hint="compare its `config.json` with a published one",
            )
        if len(self.kernels) != len(self.dilations):
            raise ConfigError(
                f"{len(self.kernels)} kernel sizes, but {len(self.dilations)} dilations",
                hint="give one of each per block",
            )
        if self.embedding == "one-hot" and self.vocabulary_size > self.width:
            raise ConfigError(
                f"{self.vocabulary_size} tokens have no one-hot code of {self.width} features",
                hint="choose a larger width",
            )

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.kernels)


class Dilated(FramedModel):
    """Bidirectional stack of dilated convolutions with a head.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights.
    """

    def __init__(self, config: DilatedConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config: DilatedConfig = config
        self._checkpointing = False
        width, bias = config.width, config.bias
        self.embedding = (
            nn.Embedding(config.vocabulary_size, width) if config.embedding == "learned" else None
        )
        make_block = BLOCKS[config.block]
        self.blocks = nn.ModuleList(make_block(config, index) for index in range(config.depth))
        self.norm = None if config.block == "post-norm" else nn.LayerNorm(width, bias=bias)
        self.head_hidden = nn.Linear(width, width, bias=bias) if config.head_hidden else None
        self.head_norm = nn.LayerNorm(width, bias=bias) if config.head_hidden else None
        self.head = nn.Linear(width, config.vocabulary_size, bias=bias)
        _initialise(self, torch.Generator().manual_seed(seed))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.head.weight.device

    @property
    def feature_width(self) -> int:
        """Features per position."""
        return self.config.width

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        self._checkpointing = enabled

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, M, E) after each of some blocks; see `FramedModel.framed_layers`."""
        x_BME = self._embed(tokens_BM)
        features = {0: x_BME}
        for number, block in enumerate(self.blocks, start=1):
            if number > max(layers):
                break
            if self._checkpointing:
                x_BME = checkpoint(block, x_BME, mask_BM, use_reentrant=False)
            else:
                x_BME = block(x_BME, mask_BM)
            if number in layers:
                features[number] = x_BME
        if self.config.depth in layers and self.norm is not None:
            features[self.config.depth] = self.norm(x_BME)
        return [features[layer] for layer in layers]

    def _embed(self, tokens_BM: Tensor) -> Tensor:
        if self.embedding is not None:
            embedded_BME: Tensor = self.embedding(tokens_BM)
            return embedded_BME
        one_hot_BME = functional.one_hot(tokens_BM.long(), num_classes=self.config.width)
        return one_hot_BME.to(self.head.weight.dtype)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position."""
        if self.head_hidden is not None and self.head_norm is not None:
            features = self.head_norm(functional.gelu(self.head_hidden(features)))
        logits: Tensor = self.head(features)
        return logits


class Convolution(nn.Conv1d):
    """Dilated convolution along rows (B, M, C), with zeros beyond their ends and at padding.

    Args:
        config: Sizes of the model.
        index: Index of the block.
        channels: Channels of input and output, C.
    """

    def __init__(self, config: DilatedConfig, index: int, channels: int) -> None:
        super().__init__(
            channels,
            channels,
            config.kernels[index],
            dilation=config.dilations[index],
            padding="same",
            groups=channels if config.depthwise and index else 1,
            bias=config.bias,
        )

    def along_rows(self, x_BMC: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Convolve rows; the mask is True at real positions, None without padding."""
        if mask_BM is not None:
            x_BMC = x_BMC * mask_BM[..., None]
        y_BCM: Tensor = self(x_BMC.transpose(1, 2))
        return y_BCM.transpose(1, 2)


class PostNormBlock(nn.Module):
    """Compute x + norm(gelu(convolution(x))), then x + norm(gelu(linear(x))).

    Args:
        config: Sizes of the model.
        index: Index of the block.
    """

    def __init__(self, config: DilatedConfig, index: int) -> None:
        super().__init__()
        width, bias = config.width, config.bias
        self.convolution = Convolution(config, index, width)
        self.convolution_norm = nn.LayerNorm(width, bias=bias)
        self.mlp = nn.Linear(width, width, bias=bias)
        self.mlp_norm = nn.LayerNorm(width, bias=bias)

    def forward(self, x_BME: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Apply the block to whole rows."""
        mixed_BME = functional.gelu(self.convolution.along_rows(x_BME, mask_BM))
        x_BME = x_BME + self.convolution_norm(mixed_BME)
        added_BME: Tensor = self.mlp_norm(functional.gelu(self.mlp(x_BME)))
        return x_BME + added_BME


class PreNormBlock(nn.Module):
    """Compute x + linear(gelu(convolution(norm(x)))), then x + mlp(norm(x)).

    Args:
        config: Sizes of the model.
        index: Index of the block.
    """

    def __init__(self, config: DilatedConfig, index: int) -> None:
        super().__init__()
        width, bias = config.width, config.bias
        self.convolution_norm = nn.LayerNorm(width, bias=bias)
        self.convolution = Convolution(config, index, width)
        self.convolution_out = nn.Linear(width, width, bias=bias)
        self.mlp_norm = nn.LayerNorm(width, bias=bias)
        self.mlp_in = nn.Linear(width, config.inner_width, bias=bias)
        self.mlp_out = nn.Linear(config.inner_width, width, bias=bias)

    def forward(self, x_BME: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Apply the block to whole rows."""
        mixed_BME = self.convolution.along_rows(self.convolution_norm(x_BME), mask_BM)
        x_BME = x_BME + self.convolution_out(functional.gelu(mixed_BME))
        hidden_BMC = functional.gelu(self.mlp_in(self.mlp_norm(x_BME)))
        added_BME: Tensor = self.mlp_out(hidden_BMC)
        return x_BME + added_BME


class ByteNetBlock(nn.Module):
    """Compute x plus a branch of fewer channels; a norm and GELU precede each of its layers.

    Kalchbrenner et al. 2017, "Neural Machine Translation in Linear Time", figure 3.

    Args:
        config: Sizes of the model.
        index: Index of the block.
    """

    def __init__(self, config: DilatedConfig, index: int) -> None:
        super().__init__()
        width, inner, bias = config.width, config.inner_width, config.bias
        self.norm_in = nn.LayerNorm(width, bias=bias)
        self.project_in = nn.Linear(width, inner, bias=bias)
        self.convolution_norm = nn.LayerNorm(inner, bias=bias)
        self.convolution = Convolution(config, index, inner)
        self.norm_out = nn.LayerNorm(inner, bias=bias)
        self.project_out = nn.Linear(inner, width, bias=bias)

    def forward(self, x_BME: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Apply the block to whole rows."""
        y_BMC = self.project_in(functional.gelu(self.norm_in(x_BME)))
        y_BMC = functional.gelu(self.convolution_norm(y_BMC))
        y_BMC = self.convolution.along_rows(y_BMC, mask_BM)
        added_BME: Tensor = self.project_out(functional.gelu(self.norm_out(y_BMC)))
        return x_BME + added_BME


BLOCKS: dict[BlockKind, type[PostNormBlock | PreNormBlock | ByteNetBlock]] = {
    "post-norm": PostNormBlock,
    "pre-norm": PreNormBlock,
    "bytenet": ByteNetBlock,
}


@torch.no_grad()
def _initialise(model: Dilated, generator: torch.Generator) -> None:
    """Draw initial weights as the authors do."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            limit = (module.weight.shape[1] * module.weight.shape[2]) ** -0.5
            for parameter in module.parameters():
                parameter.uniform_(-limit, limit, generator=generator)
        elif isinstance(module, nn.Linear | nn.Embedding):
            module.weight.normal_(0.0, _STD, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
