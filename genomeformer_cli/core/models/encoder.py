"""Encoder of published models: one configurable bidirectional transformer.

It covers BERT, ESM, MosaicBERT, MegatronBERT and ModernBERT, and what DNA models made of them.
Shape letters: B batch, L length, M length with the frame, T packed tokens, E width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.encoder_block import ACTIVATIONS, EncoderBlock, make_norm
from genomeformer_cli.core.models.encoder_positions import (
    Packed,
    Positions,
    alibi_bias,
    pack_rows,
    rotary_angles,
)
from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits
from genomeformer_cli.core.models.protocol import Direction

# Rives et al. 2021 (ESM-1b) hid 15 % of the tokens in training, 80 % of them by the mask token.
_HIDDEN_IN_TRAINING = 0.15 * 0.8


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(PlainTraits):
    """Configuration of an encoder."""

    direction: ClassVar[Direction] = "bidirectional"
    mechanism: ClassVar[str] = "softmax"

    vocabulary_size: int = 10  # Number of token ids.
    context: int = 510  # Longest window in tokens, without the frame.
    width: int = 64  # Features per position.
    depth: int = 2  # Number of blocks.
    num_heads: int = 4  # Attention heads per block.
    mlp_width: int = 256  # Hidden features of the MLP.
    frame: Frame = field(default_factory=Frame)  # Token ids around every sequence.
    # A table added to the embedding, rotated queries and keys, a bias by distance, a table of
    # distances in every block, or nothing.
    positions: Literal["learned", "rotary", "alibi", "relative-key-query", "none"] = "learned"
    # Rows of the table of `learned` positions; longest row of `relative-key-query`.
    max_positions: int = 512
    rotary_base: float = 10_000.0  # Base of the wavelengths of rotary positions.
    local_rotary_base: float = 10_000.0  # Base in the blocks with local attention.
    local_blocks: tuple[int, ...] = ()  # Numbers, from 1, of the blocks with local attention.
    local_window: int = 0  # Positions to either side that a position sees in those blocks.
    # Add one learned vector to all embeddings: that of the first segment of BERT.
    segment: bool = False
    # Normalise the inputs of attention and MLP, or the sums with their outputs.
    norm: Literal["pre", "post"] = "post"
    embedding_norm: bool = True  # Normalise the embeddings.
    first_norm: bool = True  # Normalise the input of the attention of the first block.
    final_norm: bool = False  # Normalise the features after the last block.
    norm_eps: float = 1e-12  # Number added to variances.
    norm_bias: bool = True  # Add biases in norms.
    attention_bias: bool = True  # Add biases in attention.
    gated: bool = False  # Gate the MLP.
    activation: Literal["gelu", "gelu-tanh", "relu", "silu"] = "gelu"
    mlp_up_bias: bool = True  # Add a bias in the first matrix of the MLP.
    mlp_out_bias: bool = True  # Add a bias in the second matrix of the MLP.
    # Set the embedding of the mask token to zero, and scale the others by the share of tokens that
    # are not masked, as ESM does.
    token_dropout: bool = False
    mask_id: int = 0  # Id of the mask token, for `token_dropout`.
    head: bool = True  # Predict tokens.
    tied: bool = True  # Predict tokens by the matrix of the embedding.
    head_bias: bool = True  # Add a bias in the first matrix of the head.
    head_activation: Literal["gelu", "gelu-tanh", "relu", "silu"] = "gelu"
    output_bias: bool = True  # Add a bias to the logits.
    initial_std: float = 0.02  # Standard deviation of initial weights.
    # Standard deviation of the matrices that add to the residual stream.
    initial_out_std: float = 0.02

    def __post_init__(self) -> None:
        sizes = (self.vocabulary_size, self.context, self.width, self.depth, self.num_heads)
        if min(*sizes, self.mlp_width) < 1:
            raise ConfigError("every size of a model must be at least 1", hint=_HINT)
        per_head = 2 * self.num_heads if self.positions == "rotary" else self.num_heads
        if self.width % per_head:
            raise ConfigError(
                f"width {self.width} does not divide into {self.num_heads} heads", hint=_HINT
            )
        has_table = self.positions in ("learned", "relative-key-query")
        if has_table and self.max_positions < self.context + self.frame.size:
            raise ConfigError(
                f"{self.max_positions} positions are fewer than the {self.context} of the context "
                f"and the {self.frame.size} tokens around a sequence",
                hint=_HINT,
            )
        if self.local_blocks and self.local_window < 1:
            raise ConfigError("blocks with local attention need a window", hint=_HINT)
        if not all(1 <= number <= self.depth for number in self.local_blocks):
            raise ConfigError(f"the model has blocks 1 to {self.depth}", hint=_HINT)
        if self.norm == "post" and not self.first_norm:
            raise ConfigError("the first block of a `post` model has a norm", hint=_HINT)


_HINT = "`config.json` holds the configuration of another model"


class EncoderHead(nn.Module):
    """Head that predicts tokens: a layer, a norm, and a matrix that can be that of the embedding.

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width, bias=config.head_bias)
        self.activation = ACTIVATIONS[config.head_activation]
        self.norm = make_norm(config)
        self.weight: nn.Parameter | None = None
        if not config.tied:
            self.weight = nn.Parameter(torch.empty(config.vocabulary_size, config.width))
        self.bias: nn.Parameter | None = None
        if config.output_bias:
            self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def forward(self, features: Tensor, embedding_VE: Tensor) -> Tensor:
        """Return logits (..., V)."""
        weight_VE = embedding_VE if self.weight is None else self.weight
        hidden = self.norm(self.activation(self.dense(features)))
        return functional.linear(hidden, weight_VE, self.bias)


class PublishedEncoder(FramedModel):
    """Encoder with the options of published models.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights.
    """

    config: EncoderConfig

    def __init__(self, config: EncoderConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self._checkpointing = False
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.position: nn.Embedding | None = None
        if config.positions == "learned":
            self.position = nn.Embedding(config.max_positions, config.width)
        self.segment: nn.Parameter | None = None
        if config.segment:
            self.segment = nn.Parameter(torch.empty(config.width))
        self.embedding_norm = make_norm(config) if config.embedding_norm else None
        self.blocks = nn.ModuleList(
            EncoderBlock(config, number) for number in range(1, config.depth + 1)
        )
        self.final_norm = make_norm(config) if config.final_norm else None
        self.head = EncoderHead(config) if config.head else None
        _initialise(self, torch.Generator().manual_seed(seed))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embedding.weight.device

    @property
    def feature_width(self) -> int:
        """Features per position."""
        return self.config.width

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        self._checkpointing = enabled

    @property
    def max_positions(self) -> int | None:
        """Longest row with its frame: the rows of a table of positions; None without a table."""
        has_table = self.config.positions in ("learned", "relative-key-query")
        return self.config.max_positions if has_table else None

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, M, E) after each of some blocks; see `FramedModel.framed_layers`."""
        packed = pack_rows(tokens_BM, mask_BM)
        x_TE = self._embed(tokens_BM, packed)
        positions = self._positions(packed, x_TE)
        features = {0: packed.scatter(x_TE)} if 0 in layers else {}
        blocks = cast("list[EncoderBlock]", list(self.blocks))
        for number, block in enumerate(blocks[: max(layers)], start=1):
            if self._checkpointing:
                x_TE = checkpoint(block, x_TE, positions, use_reentrant=False)
            else:
                x_TE = block(x_TE, positions)
            if number in layers:
                is_last = number == len(blocks)
                features[number] = packed.scatter(self._finish(x_TE) if is_last else x_TE)
        return [features[layer] for layer in layers]

    def _finish(self, x_TE: Tensor) -> Tensor:
        """Return the features after the last block."""
        return x_TE if self.final_norm is None else self.final_norm(x_TE)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position.

        Raises:
            ConfigError: The model was published without a head that predicts tokens.
        """
        if self.head is None:
            raise ConfigError(
                "the model was published without a head that predicts tokens",
                hint="it can `embed`, and be trained by `finetune`",
            )
        logits: Tensor = self.head(features, self.embedding.weight)
        return logits

    def _embed(self, tokens_BM: Tensor, packed: Packed) -> Tensor:
        """Return the embeddings (T, E) of the packed tokens."""
        tokens_T = packed.gather(tokens_BM).long()
        x_TE: Tensor = self.embedding(tokens_T)
        if self.config.token_dropout:
            x_TE = self._drop_masked(x_TE, tokens_T, packed)
        if self.segment is not None:
            x_TE = x_TE + self.segment
        if self.position is not None:
            x_TE = x_TE + self.position(packed.position_T)
        return x_TE if self.embedding_norm is None else self.embedding_norm(x_TE)

    def _drop_masked(self, x_TE: Tensor, tokens_T: Tensor, packed: Packed) -> Tensor:
        """Set the embeddings of masked tokens to zero and scale the others of their row.

        The share of masked tokens counts real tokens and the frame, so that neither padding nor the
        other rows of a batch matter.
        """
        is_masked_T = tokens_T == self.config.mask_id
        masked_B = x_TE.new_zeros(packed.shape[0]).index_add(0, packed.row_T, is_masked_T.to(x_TE))
        masks = [group.mask_NL for group in packed.groups if group.mask_NL is not None]
        is_real_T = masks[0].flatten().to(x_TE) if masks else torch.ones_like(x_TE[:, 0])
        sizes_B = x_TE.new_zeros(packed.shape[0]).index_add(0, packed.row_T, is_real_T)
        scale_B = (1 - _HIDDEN_IN_TRAINING) / (1 - masked_B / sizes_B)
        return x_TE.masked_fill(is_masked_T[:, None], 0.0) * scale_B[packed.row_T][:, None]

    def _positions(self, packed: Packed, like: Tensor) -> Positions:
        """Return the positions of the packed tokens."""
        config = self.config
        angles: dict[float, tuple[Tensor, Tensor]] = {}
        alibi_NHMM = None
        if config.positions == "rotary":
            head_width = config.width // config.num_heads
            bases = {config.local_rotary_base} if config.local_blocks else set()
            if len(config.local_blocks) < config.depth:
                bases.add(config.rotary_base)
            for base in bases:
                angles[base] = rotary_angles(packed.position_T, head_width, base)
        elif config.positions == "alibi":
            alibi_NHMM = alibi_bias(config.num_heads, packed, like)
        return Positions(packed=packed, angles=angles, alibi_NHMM=alibi_NHMM)


@torch.no_grad()
def _initialise(model: PublishedEncoder, generator: torch.Generator) -> None:
    """Draw matrices and tables from a normal distribution; norms are 1 and biases 0."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name == "segment":
            is_out = name.endswith(("attention.out.weight", "mlp.out.weight"))
            std = model.config.initial_out_std if is_out else model.config.initial_std
            parameter.normal_(0.0, std, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()


def build_encoder(config: EncoderConfig, seed: int) -> PublishedEncoder:
    """Build an encoder with initial weights."""
    return PublishedEncoder(config, seed=seed)
