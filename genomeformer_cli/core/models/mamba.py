"""Mamba: blocks whose state depends on the input, and a causal stack of them.

Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces".
Shape letters: B batch, L length, M length with the frame, E width, D inner width, N states of a
channel, K kernel, R rank of the step size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.attention.kernels.chunked_scan import working_dtype
from genomeformer_cli.core.attention.kernels.selective_scan import selective_scan
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.continuation import Continuation, SteppedContinuation
from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits
from genomeformer_cli.core.models.protocol import Direction

_EMBEDDING_STD = 0.02
# Step sizes of a fresh model are between these, evenly on a logarithmic scale.
_SHORTEST_STEP, _LONGEST_STEP = 1e-3, 1e-1
# Positions at a time, without gradients: intermediate results stay small.
_SLICE = 1 << 11

State = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class MambaSizes:
    """Sizes of a stack of Mamba blocks."""

    mechanism: ClassVar[str] = "selective-scan"

    vocabulary_size: int = 16  # Number of token ids.
    context: int = 1_024  # Tokens per window, without the frame.
    width: int = 128  # Features per position, E.
    depth: int = 4  # Number of blocks.
    inner_width: int = 256  # Channels of the recurrence, D.
    state_size: int = 16  # States of a channel, N.
    conv_width: int = 4  # Kernel size of the causal convolution before the recurrence, K.
    step_rank: int = 8  # Rank of the map from channels to their step sizes, R.
    conv_bias: bool = True  # Add a bias after the convolution.
    norm_epsilon: float = 1e-5  # Term added to mean squares in norms.
    frame: Frame = field(default_factory=Frame)  # Token ids around every sequence.

    def __post_init__(self) -> None:
        sizes = (self.vocabulary_size, self.context, self.width, self.depth, self.inner_width)
        if min(*sizes, self.state_size, self.conv_width, self.step_rank) < 1:
            raise ConfigError(
                "every size of a Mamba model must be at least 1",
                hint="compare its `config.json` with a published one",
            )


@dataclass(frozen=True, kw_only=True)
class MambaConfig(MambaSizes, PlainTraits):
    """Configuration of a causal Mamba model."""

    direction: ClassVar[Direction] = "causal"

    bias: bool = False  # Add biases in the projections into and out of the blocks.
    tied: bool = True  # Use the embedding as the weights of the head.


class SelectiveState(nn.Module):
    """Convolution and selective state of one direction.

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: MambaSizes) -> None:
        super().__init__()
        inner, states, rank = config.inner_width, config.state_size, config.step_rank
        self._sizes = (rank, states, states)
        self.kernel = nn.Parameter(torch.zeros(config.conv_width, inner))
        self.kernel_bias = nn.Parameter(torch.zeros(inner)) if config.conv_bias else None
        self.selection = nn.Linear(inner, rank + 2 * states, bias=False)
        self.step_size = nn.Linear(rank, inner)
        self.log_rate = nn.Parameter(torch.zeros(inner, states))
        self.skip = nn.Parameter(torch.ones(inner))

    def start(self, like_BLD: Tensor) -> State:
        """Return the last inputs of the convolution and the states before the first position."""
        batch, _, inner = like_BLD.shape
        last_BKD = like_BLD.new_zeros(batch, len(self.kernel) - 1, inner)
        states, dtype = self.log_rate.shape[1], working_dtype(like_BLD)
        return last_BKD, like_BLD.new_zeros(batch, states, inner, dtype=dtype)

    def forward(self, x_BLD: Tensor, real_BL1: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, L, D) at the next positions, and the state after them.

        Args:
            x_BLD: Inputs, 0 at padding.
            real_BL1: True at positions that may change the state; None: all.
            state: State before the positions.
        """
        last_BKD, states_BND = state
        padded_BMD = torch.cat((last_BKD, x_BLD), dim=1)
        x_BLD = functional.silu(self._convolve(padded_BMD, x_BLD.shape[1]))
        if real_BL1 is not None:
            x_BLD = x_BLD * real_BL1
        step_BLR, b_BLN, c_BLN = self.selection(x_BLD).split(self._sizes, dim=-1)
        delta_BLD = functional.softplus(self.step_size(step_BLR))
        a_DN = -self.log_rate.to(states_BND.dtype).exp()
        y_BLD, states_BND = selective_scan(x_BLD, delta_BLD, a_DN, b_BLN, c_BLN, states_BND)
        y_BLD = torch.addcmul(y_BLD.to(x_BLD.dtype), x_BLD, self.skip.to(x_BLD.dtype))
        return y_BLD, (padded_BMD[:, padded_BMD.shape[1] - len(self.kernel) + 1 :], states_BND)

    def _convolve(self, padded_BMD: Tensor, length: int) -> Tensor:
        sums_BLD = padded_BMD[:, :length] * self.kernel[0]
        for place in range(1, len(self.kernel)):
            shifted_BLD = padded_BMD[:, place : place + length]
            sums_BLD = torch.addcmul(sums_BLD, shifted_BLD, self.kernel[place])
        return sums_BLD if self.kernel_bias is None else sums_BLD + self.kernel_bias


class MambaMixer(nn.Module):
    """Gated selective states, of one direction or the sum of both.

    Both directions share the projections into and out of the block, which are computed once.

    Args:
        config: Configuration of the model.
        bias: Add biases in the projections.
        both_ways: Also run from the last position to the first.
    """

    def __init__(self, config: MambaSizes, *, bias: bool, both_ways: bool) -> None:
        super().__init__()
        self.has_bias = bias
        self.into = nn.Linear(config.width, 2 * config.inner_width, bias=bias)
        self.ahead = SelectiveState(config)
        self.back = SelectiveState(config) if both_ways else None
        self.out = nn.Linear(config.inner_width, config.width, bias=bias)

    def forward(self, x_BME: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Mix every position with those before it, and with those after it if it runs both ways."""
        x_BMD, gate_BMD = self.into(x_BME).chunk(2, dim=-1)
        y_BMD, _ = self.ahead(x_BMD, None, self.ahead.start(x_BMD))
        if self.back is not None:
            y_BMD = y_BMD + self._run_reversed(x_BMD, mask_BM, self.back.start(x_BMD))[0]
        mixed_BME: Tensor = self.out(y_BMD * functional.silu(gate_BMD))
        return mixed_BME

    def step(self, x_BLE: Tensor, state: State) -> tuple[Tensor, State]:
        """Mix the next positions with those before them; return the state after them."""
        x_BLD, gate_BLD = self.into(x_BLE).chunk(2, dim=-1)
        y_BLD, state = self.ahead(x_BLD, None, state)
        mixed_BLE: Tensor = self.out(y_BLD * functional.silu(gate_BLD))
        return mixed_BLE, state

    def by_slices(self, x_BME: Tensor, mask_BM: Tensor | None, norm: nn.Module) -> Tensor:
        """Return `forward(norm(x))` in less memory, for rows of any length; without gradients."""
        weight_DE, gate_DE = self.into.weight.chunk(2)
        bias_D, gate_D = self.into.bias.chunk(2) if self.has_bias else (None, None)
        length = x_BME.shape[1]
        spans = [slice(start, start + _SLICE) for start in range(0, length, _SLICE)]
        inputs, outputs = [], []
        state: State | None = None
        for span in spans:
            x_BLD = functional.linear(norm(x_BME[:, span]), weight_DE, bias_D)
            y_BLD, state = self.ahead(x_BLD, None, state or self.ahead.start(x_BLD))
            outputs.append(y_BLD)
            if self.back is not None:
                inputs.append(x_BLD)
        state = None
        for number in reversed(range(len(inputs))):
            x_BLD, mask_BL = inputs.pop(), None if mask_BM is None else mask_BM[:, spans[number]]
            y_BLD, state = self._run_reversed(x_BLD, mask_BL, state or self.ahead.start(x_BLD))
            outputs[number] += y_BLD
        mixed_BME = torch.empty_like(x_BME)
        for number, span in enumerate(spans):
            gate_BLD = functional.linear(norm(x_BME[:, span]), gate_DE, gate_D)
            mixed_BME[:, span] = self.out(outputs[number].mul_(functional.silu(gate_BLD)))
        return mixed_BME

    def _run_reversed(
        self, x_BLD: Tensor, mask_BL: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Run from the last position to the first; return outputs in the order of the row."""
        assert self.back is not None
        x_BLD, real_BL1 = x_BLD.flip(1), None
        if mask_BL is not None:
            real_BL1 = mask_BL[..., None].flip(1)
            x_BLD = x_BLD * real_BL1
        y_BLD, state = self.back(x_BLD, real_BL1, state)
        return y_BLD.flip(1), state


class MambaBlock(nn.Module):
    """Norm, then the mixer; the caller adds the result to the residual stream.

    Args:
        config: Configuration of the model.
        bias: Add biases in the projections.
        both_ways: Also run from the last position to the first.
    """

    def __init__(self, config: MambaSizes, *, bias: bool, both_ways: bool) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=config.norm_epsilon)
        self.mixer = MambaMixer(config, bias=bias, both_ways=both_ways)

    def forward(self, x_BME: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Return what the block adds to the residual stream."""
        if x_BME.shape[1] > _SLICE and not torch.is_grad_enabled():
            return self.mixer.by_slices(x_BME, mask_BM, self.norm)
        added_BME: Tensor = self.mixer(self.norm(x_BME), mask_BM)
        return added_BME


class MambaStack(FramedModel):
    """Embedding, blocks and final norm: what both architectures share."""

    config: MambaSizes  # type: ignore[assignment]

    def build(self, config: MambaSizes, *, bias: bool, both_ways: bool) -> None:
        """Create the layers of the stack.

        Args:
            config: Configuration of the model.
            bias: Add biases in the projections.
            both_ways: Also run every block from the last position to the first.
        """
        self._checkpointing = False
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.blocks = nn.ModuleList(
            MambaBlock(config, bias=bias, both_ways=both_ways) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(config.width, eps=config.norm_epsilon)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embedding.weight.device

    @property
    def feature_width(self) -> int:
        """Features per position."""
        return self.config.width

    @property
    def is_quadratic(self) -> bool:
        """False: the time of a row grows with its length."""
        return False

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        self._checkpointing = enabled

    def run_block(
        self, block: Callable[..., Tensor], x_BME: Tensor, mask_BM: Tensor | None
    ) -> Tensor:
        """Return what a block adds to the residual stream; see `set_checkpointing`."""
        if not self._checkpointing:
            return block(x_BME, mask_BM)
        added_BME: Tensor = checkpoint(block, x_BME, mask_BM, use_reentrant=False)
        return added_BME


class Mamba(MambaStack):
    """Causal stack of Mamba blocks.

    Features of a layer are the residual stream after it, those of the last one also through the
    final norm.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights.
    """

    config: MambaConfig

    def __init__(self, config: MambaConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.build(config, bias=config.bias, both_ways=False)
        vocabulary = config.vocabulary_size
        self.head = None if config.tied else nn.Linear(config.width, vocabulary, bias=False)
        initialise(self, torch.Generator().manual_seed(seed))

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, M, E) after each of some blocks; see `FramedModel.framed_layers`."""
        x_BME = self.embedding(tokens_BM)
        features = {0: x_BME}
        for number, block in enumerate(self.blocks[: max(layers)], start=1):
            x_BME = x_BME + self.run_block(block, x_BME, mask_BM)
            if number in layers:
                features[number] = x_BME
        if self.config.depth in layers:
            features[self.config.depth] = self.norm(x_BME)
        return [features[layer] for layer in layers]

    def continuation(self, batch: int) -> Continuation:
        """Return the continuation of empty rows: every block hands on its state."""
        like_B1D = self.embedding.weight.new_zeros(batch, 1, self.config.inner_width)
        states: list[tuple[Tensor, ...]] = [
            cast("MambaBlock", block).mixer.ahead.start(like_B1D) for block in self.blocks
        ]
        return SteppedContinuation(self._step, states)

    def _step(
        self, tokens_BL: Tensor, states: list[tuple[Tensor, ...]], position: int
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        del position
        x_BLE = self.embedding(tokens_BL)
        next_states: list[tuple[Tensor, ...]] = []
        for module, (last_BKD, states_BND) in zip(self.blocks, states, strict=True):
            block = cast("MambaBlock", module)
            added_BLE, state = block.mixer.step(block.norm(x_BLE), (last_BKD, states_BND))
            x_BLE = x_BLE + added_BLE
            next_states.append(state)
        return self.norm(x_BLE), next_states

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token after every position."""
        weight_VE = self.embedding.weight if self.head is None else self.head.weight
        return functional.linear(features, weight_VE)


@torch.no_grad()
def initialise(model: MambaStack, generator: torch.Generator) -> None:
    """Initialise as the reference code: rates of decay 1 to N, steps between 0.001 and 0.1."""
    depth = model.config.depth
    for name, parameter in model.named_parameters():
        leaf = name.rpartition(".")[0].rpartition(".")[2] if name.endswith("weight") else ""
        if name.endswith("log_rate"):
            parameter.copy_(torch.arange(1, parameter.shape[1] + 1).log().expand_as(parameter))
        elif name.endswith("step_size.bias"):
            steps = torch.empty_like(parameter).uniform_(
                math.log(_SHORTEST_STEP), math.log(_LONGEST_STEP), generator=generator
            )
            # Softplus of this bias is the step size.
            parameter.copy_(steps.exp().expm1().log())
        elif leaf in ("embedding", "head"):
            parameter.normal_(0.0, _EMBEDDING_STD, generator=generator)
        elif name.endswith("kernel") or (parameter.dim() == 2 and leaf):
            inputs = parameter.shape[0] if name.endswith("kernel") else parameter.shape[1]
            bound = inputs**-0.5 / (depth**0.5 if leaf == "out" else 1)
            parameter.uniform_(-bound, bound, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()
