"""Decoder: pre-norm transformer of the Llama kind, causal or not, or of the GPT-2 kind.

Sources: Touvron et al. 2023, "LLaMA"; Jiang et al. 2023, "Mistral 7B" (grouped queries, sliding
window); Jiang et al. 2024, "Mixtral of Experts"; Qwen team 2025, "Qwen3" (normalised queries and
keys); Radford et al. 2019 (GPT-2); Gemma team 2024, "Gemma"; Boizard et al. 2025, "EuroBERT"
(bidirectional).
Shape letters: B batch, L length with the frame, E width, V vocabulary, H heads, G heads of keys and
values, D head width, N positions of all rows, K experts per position, P cached and new positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.attention.kernels.rotary import rotate
from genomeformer_cli.core.attention.ops.local import local_attention
from genomeformer_cli.core.attention.ops.softmax import softmax_attention
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.continuation import Continuation, SteppedContinuation
from genomeformer_cli.core.models.decoder_mlp import MLP, Activation, Experts
from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits
from genomeformer_cli.core.models.rotary_scaling import RotaryScaling

# More MLPs per block than any model has.
_MOST_EXPERTS = 1_024
Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(PlainTraits):
    """Configuration of a decoder."""

    mechanism: ClassVar[str] = "softmax"

    frame: Frame = field(default_factory=Frame)  # Token ids around every sequence.
    # `causal`: a position sees itself and its past. `bidirectional`: the whole row.
    direction: Literal["causal", "bidirectional"] = "causal"  # type: ignore[misc]
    vocabulary_size: int = 16  # Number of token ids.
    context: int = 512  # Longest window in tokens, without the frame.
    width: int = 64  # Features per position.
    depth: int = 2  # Number of blocks.
    num_heads: int = 4  # Attention heads per block.
    # Heads of keys and values; each of them serves equally many heads of queries.
    num_key_value_heads: int = 4
    head_width: int = 16  # Features per head.
    mlp_width: int = 128  # Hidden features of the MLP, or of every expert.
    norm: Literal["rms", "layer"] = "rms"  # Normalisation of the residual stream.
    norm_epsilon: float = 1e-6  # Number added to the mean square or to the variance.
    # `rotary`, or `learned` vectors that are added to the embedding.
    positions: Literal["rotary", "learned"] = "rotary"
    # Frequencies of rotary positions.
    rotary: RotaryScaling = field(default_factory=RotaryScaling)
    query_key_norm: bool = False  # Normalise queries and keys per head.
    # For each block, the number of positions that a position sees, itself included; 0 for the whole
    # past. Empty: the whole past in every block.
    windows: tuple[int, ...] = ()
    activation: Activation = "silu"  # Activation of the MLP.
    gated: bool = True  # Multiply the activation by a second projection.
    attention_bias: bool = False  # Biases of queries, keys and values.
    attention_out_bias: bool = False  # Bias of the output of attention.
    mlp_bias: bool = False  # Biases of the MLP.
    # MLPs per block among which every position chooses; 0 for one MLP without choice.
    num_experts: int = 0
    experts_per_token: int = 0  # MLPs that every position chooses.
    embedding_scale: float = 1.0  # Factor of the embedding.
    tied_head: bool = False  # Use the embedding as the weights of the head.
    has_head: bool = True  # Predict tokens.
    initial_std: float = 0.02  # Standard deviation of initial weights.
    # Standard deviation of the initial weights that add to the residual stream.
    initial_out_std: float = 0.02

    def __post_init__(self) -> None:
        sizes = (
            self.vocabulary_size,
            self.context,
            self.width,
            self.depth,
            self.num_heads,
            self.num_key_value_heads,
            self.head_width,
            self.mlp_width,
        )
        if min(sizes) < 1:
            raise _refused("every size is at least 1")
        if self.num_heads % self.num_key_value_heads:
            raise _refused(
                f"{self.num_heads} heads cannot share {self.num_key_value_heads} keys and values"
            )
        if self.positions == "rotary" and self.head_width % 2:
            raise _refused(f"rotary positions need an even head width, not {self.head_width}")
        if max(self.windows, default=0) and self.direction != "causal":
            raise _refused("windows are those of causal models")
        if self.windows and (len(self.windows) != self.depth or min(self.windows) < 0):
            raise _refused(f"{len(self.windows)} windows do not fit {self.depth} blocks")
        if not 0 <= self.experts_per_token <= self.num_experts <= _MOST_EXPERTS or (
            self.num_experts and not self.experts_per_token
        ):
            raise _refused(f"{self.experts_per_token} of {self.num_experts} experts per position")
        numbers = (self.norm_epsilon, self.initial_std, self.initial_out_std)
        if not all(0 <= number < math.inf for number in numbers):
            raise _refused(f"a number below 0: {min(numbers):g}")

    @property
    def num_positions(self) -> int:
        """Number of positions of a window with its frame."""
        return self.context + self.frame.size


def _refused(reason: str) -> ConfigError:
    return ConfigError(
        f"invalid decoder: {reason}", hint="the `config.json` of the model is damaged"
    )


class Decoder(FramedModel):
    """Decoder.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights.
    """

    config: DecoderConfig

    def __init__(self, config: DecoderConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self._checkpointing = False
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.positions = (
            nn.Embedding(config.num_positions, config.width)
            if config.positions == "learned"
            else None
        )
        windows = config.windows or (0,) * config.depth
        self.blocks = nn.ModuleList(DecoderBlock(config, window) for window in windows)
        self.norm = _norm(config, config.width)
        self.head = (
            None
            if config.tied_head or not config.has_head
            else nn.Linear(config.width, config.vocabulary_size, bias=False)
        )
        initialise(self, torch.Generator().manual_seed(seed))

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
        """Longest row with its frame: the learned positions; None for rotary ones."""
        return None if self.positions is None else self.config.num_positions

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, L, E) after some blocks; the last one includes the final norm.

        Padding stands at the end of rows, where a causal model does not see it.
        """
        mask_BL = None if self.config.direction == "causal" else mask_BM
        x_BLE, angles = self._embedded(tokens_BM, 0)
        features = {0: x_BLE}
        for number, block in enumerate(self.blocks[: max(layers)], start=1):
            x_BLE = self._run(cast("DecoderBlock", block), x_BLE, angles, mask_BL)
            if number in layers:
                features[number] = self.norm(x_BLE) if number == self.config.depth else x_BLE
        return [features[layer] for layer in layers]

    def continuation(self, batch: int) -> Continuation:
        """Return the continuation of empty rows: every block keeps its keys and values."""
        blocks = [cast("DecoderBlock", block) for block in self.blocks]
        states = [block.attention.start_cache(batch, self.embedding.weight) for block in blocks]
        return SteppedContinuation(self._step, states)

    def _step(
        self, tokens_BL: Tensor, states: list[State], position: int
    ) -> tuple[Tensor, list[State]]:
        x_BLE, angles = self._embedded(tokens_BL, position)
        next_states = []
        for module, state in zip(self.blocks, states, strict=True):
            block = cast("DecoderBlock", module)
            added_BLE, state_after = block.attention.step(
                block.attention_norm(x_BLE), angles, state
            )
            x_BLE = x_BLE + added_BLE
            x_BLE = x_BLE + block.mlp(block.mlp_norm(x_BLE))
            next_states.append(state_after)
        return self.norm(x_BLE), next_states

    def _embedded(self, tokens_BL: Tensor, start: int) -> tuple[Tensor, Angles | None]:
        """Return the embedding and the angles of rotary positions, if any, from a position on."""
        config, length = self.config, tokens_BL.shape[1]
        x_BLE = self.embedding(tokens_BL)
        if config.embedding_scale != 1:
            x_BLE = x_BLE * config.embedding_scale
        if self.positions is None:
            angles = config.rotary.angles(length, config.head_width, x_BLE.device, start=start)
            return x_BLE, angles
        return x_BLE + self.positions.weight[start : start + length], None

    def _run(
        self, block: DecoderBlock, x_BLE: Tensor, angles: Angles | None, mask_BL: Tensor | None
    ) -> Tensor:
        if not self._checkpointing:
            done_BLE: Tensor = block(x_BLE, angles, mask_BL)
        else:
            done_BLE = checkpoint(block, x_BLE, angles, mask_BL, use_reentrant=False)
        return done_BLE

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token after every position.

        Raises:
            ConfigError: The model was published without a head that predicts tokens.
        """
        if not self.config.has_head:
            raise ConfigError(
                "the model was published without a head that predicts tokens",
                hint="embed with it, or fetch the weights of its class for language modelling",
            )
        weight_VE = self.embedding.weight if self.head is None else self.head.weight
        return functional.linear(features, weight_VE)


class DecoderBlock(nn.Module):
    """Compute x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        config: Configuration of the model.
        window: Positions that a position sees; 0 for the whole past.
    """

    def __init__(self, config: DecoderConfig, window: int) -> None:
        super().__init__()
        self.attention_norm = _norm(config, config.width)
        self.attention = GroupedAttention(config, window)
        self.mlp_norm = _norm(config, config.width)
        self.mlp = Experts(config) if config.num_experts else MLP(config)

    def forward(self, x_BLE: Tensor, angles: Angles | None, mask_BL: Tensor | None) -> Tensor:
        """Apply the block to whole rows."""
        x_BLE = x_BLE + self.attention(self.attention_norm(x_BLE), angles, mask_BL)
        mixed_BLE: Tensor = x_BLE + self.mlp(self.mlp_norm(x_BLE))
        return mixed_BLE


class GroupedAttention(nn.Module):
    """Softmax attention in which several heads share keys and values.

    Args:
        config: Configuration of the model.
        window: Positions that a position sees; 0 for the whole past.
    """

    def __init__(self, config: DecoderConfig, window: int) -> None:
        super().__init__()
        self.window = window
        self.causal = config.direction == "causal"
        self.head_width = config.head_width
        self.heads_per_group = config.num_heads // config.num_key_value_heads
        queries = config.num_heads * config.head_width
        keys = config.num_key_value_heads * config.head_width
        self.widths = [queries, keys, keys]
        self.qkv = nn.Linear(config.width, queries + 2 * keys, bias=config.attention_bias)
        self.query_norm = _norm(config, config.head_width) if config.query_key_norm else None
        self.key_norm = _norm(config, config.head_width) if config.query_key_norm else None
        self.out = nn.Linear(queries, config.width, bias=config.attention_out_bias)

    def forward(self, x_BLE: Tensor, angles: Angles | None, mask_BL: Tensor | None) -> Tensor:
        """Attend; the mask is None if the model is causal or no row is padded."""
        q_BHLD, k_BGLD, v_BGLD = self._heads(x_BLE, angles)
        k_BHLD, v_BHLD = self._shared(k_BGLD), self._shared(v_BGLD)
        if 0 < self.window < x_BLE.shape[1]:
            mixed_BHLD = local_attention(
                q_BHLD, k_BHLD, v_BHLD, None, window=self.window - 1, causal=True
            )
        else:
            mixed_BHLD = softmax_attention(q_BHLD, k_BHLD, v_BHLD, mask_BL, causal=self.causal)
        out_BLE: Tensor = self.out(mixed_BHLD.transpose(1, 2).flatten(2))
        return out_BLE

    def start_cache(self, batch: int, like: Tensor) -> State:
        """Return the empty cache of keys and values."""
        empty_BG0D = like.new_zeros(batch, self.widths[1] // self.head_width, 0, self.head_width)
        return empty_BG0D, empty_BG0D

    def step(self, x_BLE: Tensor, angles: Angles | None, cache: State) -> tuple[Tensor, State]:
        """Attend from the next positions to visible earlier ones; return the cache after them."""
        q_BHLD, k_BGLD, v_BGLD = self._heads(x_BLE, angles)
        k_BGPD, v_BGPD = torch.cat((cache[0], k_BGLD), 2), torch.cat((cache[1], v_BGLD), 2)
        length, total = q_BHLD.shape[2], k_BGPD.shape[2]
        seen_LP = None
        if length > 1 or 0 < self.window < total:
            seen_LP = torch.ones(length, total, dtype=torch.bool, device=x_BLE.device)
            seen_LP = seen_LP.tril(total - length)
            if self.window:
                seen_LP = seen_LP.triu(total - length - self.window + 1)
        mixed_BHLD = functional.scaled_dot_product_attention(
            q_BHLD, self._shared(k_BGPD), self._shared(v_BGPD), attn_mask=seen_LP
        )
        out_BLE: Tensor = self.out(mixed_BHLD.transpose(1, 2).flatten(2))
        # The next position sees itself and the last `window - 1` of these.
        first = max(total - self.window + 1, 0) if self.window else 0
        return out_BLE, (k_BGPD[:, :, first:], v_BGPD[:, :, first:])

    def _heads(self, x_BLE: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, H, L, D), keys and values (B, G, L, D), rotated if positions are."""
        batch, length, _ = x_BLE.shape
        q_BHLD, k_BGLD, v_BGLD = (
            part.view(batch, length, -1, self.head_width).transpose(1, 2)
            for part in self.qkv(x_BLE).split(self.widths, dim=-1)
        )
        if self.query_norm is not None and self.key_norm is not None:
            # Under autocast the projections are narrower than the stream and the gains of norms.
            q_BHLD, k_BGLD = q_BHLD.to(x_BLE.dtype), k_BGLD.to(x_BLE.dtype)
            q_BHLD, k_BGLD = self.query_norm(q_BHLD), self.key_norm(k_BGLD)
        if angles is not None:
            q_BHLD, k_BGLD = rotate(q_BHLD, *angles), rotate(k_BGLD, *angles)
        return q_BHLD, k_BGLD, v_BGLD

    def _shared(self, x_BGLD: Tensor) -> Tensor:
        """Return keys or values (B, H, L, D) of every head."""
        return x_BGLD.repeat_interleave(self.heads_per_group, dim=1)


def _norm(config: DecoderConfig, width: int) -> nn.Module:
    if config.norm == "rms":
        return nn.RMSNorm(width, eps=config.norm_epsilon)
    return nn.LayerNorm(width, eps=config.norm_epsilon)


@torch.no_grad()
def initialise(model: Decoder, generator: torch.Generator) -> None:
    """Draw normal weights, smaller ones where a block adds to the stream; biases start at 0."""
    config = model.config
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            std = config.initial_out_std if name.endswith("out.weight") else config.initial_std
            parameter.normal_(0.0, std, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()
