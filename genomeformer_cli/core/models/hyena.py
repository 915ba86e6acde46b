"""Hyena: gates and long convolutions, whose kernels a small network computes from the distance.

Poli et al. 2023, "Hyena Hierarchy", and Nguyen et al. 2023, "HyenaDNA", both at order 2. Every
position sees itself and earlier positions, so that padding at the end of a row changes nothing.
Shape letters: B batch, M length with the frame, K length of a kernel, E width, F features of a
distance, H hidden features of the kernel network, V vocabulary, G rows of a group, S their length,
L next positions, P past and next positions, W last inputs of the short convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.continuation import Continuation, SteppedContinuation
from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits
from genomeformer_cli.core.models.long_convolution import long_convolution, next_step, widen
from genomeformer_cli.core.models.protocol import Direction

NORM_EPSILON = 1e-5
SHORT_KERNEL = 3
# Exponential decay of the kernels over a full row: 1e-2 is reached at 0.3 to 1.5 of its length.
_DECAY_TARGET, _FAST, _SLOW, _DECAY_SHIFT = 1e-2, 0.3, 1.5, 0.05
_STD = 0.02
# Positions of all rows that a position-wise function computes at a time, without gradients.
_SLICE = 1 << 11


@dataclass(frozen=True, kw_only=True)
class HyenaConfig(PlainTraits):
    """Configuration of a Hyena model."""

    direction: ClassVar[Direction] = "causal"
    mechanism: ClassVar[str] = "hyena"

    vocabulary_size: int = 16  # Rows of the embedding and of the head.
    context: int = 1_024  # Tokens per window, without the frame.
    # Longest row with the frame: number of distances at which the kernels are defined.
    positions: int = 1_026
    width: int = 128  # Features per position.
    depth: int = 2  # Number of blocks.
    mlp_width: int = 512  # Hidden features of the MLP.
    kernel_features: int = 5  # Features of a distance: itself, cosines and sines; odd.
    kernel_width: int = 64  # Hidden features of the network that computes the kernels.
    kernel_depth: int = 2  # Hidden layers of that network after the first one.
    frequency: float = 10.0  # Initial frequency of its sine activations.
    tied: bool = True  # Use the embedding as the weights of the head.
    frame: Frame = field(default_factory=Frame)  # Token ids around every sequence.

    def __post_init__(self) -> None:
        sizes = (self.vocabulary_size, self.context, self.width, self.depth)
        if min(*sizes, self.mlp_width, self.kernel_width) < 1 or self.kernel_depth < 0:
            raise ConfigError(
                "every size of a Hyena model must be at least 1",
                hint="compare its `config.json` with a published one",
            )
        if self.kernel_features < 3 or self.kernel_features % 2 == 0:
            raise ConfigError(
                f"invalid number of features of a distance: {self.kernel_features}",
                hint="it is odd and at least 3: the distance, cosines and sines",
            )
        if self.positions < self.context + self.frame.size:
            raise ConfigError(
                f"a row of {self.context:,} tokens and its frame is longer than the kernels, "
                f"{self.positions:,} positions",
                hint="choose a smaller context",
            )


class Hyena(FramedModel):
    """Causal stack of Hyena blocks with pre-norm residuals, a final norm and a head.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights.
    """

    def __init__(self, config: HyenaConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config: HyenaConfig = config
        self._checkpointing = False
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.blocks = nn.ModuleList(HyenaBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.head = (
            None if config.tied else nn.Linear(config.width, config.vocabulary_size, bias=False)
        )
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
        """Longest row with its frame: the length of the kernels."""
        return self.config.positions

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, M, E) after each of some blocks; see `FramedModel.framed_layers`.

        Rows of similar length are computed together. The length of their kernels depends on the
        length of the row alone: the rounding errors of a transform, which grow with its length, do
        not depend on the other rows of a batch.
        """
        length = tokens_BM.shape[1]
        if mask_BM is None:
            return self._layers(tokens_BM, None, layers, self._kernel_length(length))
        groups: dict[int, list[int]] = {}
        lengths = [max(1, number) for number in mask_BM.sum(dim=1).tolist()]
        for row, number in enumerate(lengths):
            groups.setdefault(self._kernel_length(number), []).append(row)
        parts: list[list[Tensor]] = [[] for _ in layers]
        for kernel_length, rows in groups.items():
            stop = max(lengths[row] for row in rows)
            features = self._layers(
                tokens_BM[rows, :stop], mask_BM[rows, :stop], layers, kernel_length
            )
            for part, features_GSE in zip(parts, features, strict=True):
                part.append(functional.pad(features_GSE, (0, 0, 0, length - stop)))
        order = torch.tensor([row for rows in groups.values() for row in rows])
        place_B = order.argsort().to(tokens_BM.device)
        return [torch.cat(part)[place_B] for part in parts]

    def continuation(self, batch: int) -> Continuation:
        """Return the continuation of empty rows: every block keeps its inputs of the kernels.

        Kernels are computed for the next step of lengths, when rows reach it.
        """
        weight, width = self.embedding.weight, self.config.width
        empty_B0X = weight.new_zeros(batch, 0, 3 * width)
        values_B0E = widen(weight).new_zeros(batch, 0, width)
        kernels: list[Tensor] = []

        def step(
            tokens_BL: Tensor, states: list[State], position: int
        ) -> tuple[Tensor, list[State]]:
            length = self._kernel_length(position + tokens_BL.shape[1])
            if not kernels or len(kernels[0]) < length:
                kernels[:] = [cast("HyenaBlock", b).mixer.kernel(length) for b in self.blocks]
            x_BLE = self.embedding(tokens_BL)
            next_states = []
            for block, kernel_KE, state in zip(self.blocks, kernels, states, strict=True):
                x_BLE, state_after = cast("HyenaBlock", block).step(x_BLE, kernel_KE, state)
                next_states.append(state_after)
            return self.norm(x_BLE), next_states

        return SteppedContinuation(step, [(empty_B0X, values_B0E)] * self.config.depth)

    def _kernel_length(self, length: int) -> int:
        return min(self.config.positions, next_step(length))

    def _layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...], kernel_length: int
    ) -> list[Tensor]:
        x_BME = self.embedding(tokens_BM)
        features = {0: x_BME}
        for number, block in enumerate(self.blocks, start=1):
            if number > max(layers):
                break
            if self._checkpointing:
                x_BME = checkpoint(block, x_BME, mask_BM, kernel_length, use_reentrant=False)
            else:
                x_BME = block(x_BME, mask_BM, kernel_length)
            if number in layers:
                features[number] = x_BME
        if self.config.depth in layers:
            features[self.config.depth] = self.norm(x_BME)
        return [features[layer] for layer in layers]

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the next token."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return functional.linear(features, weight)


class HyenaBlock(nn.Module):
    """Compute x + mixer(norm(x)), then x + mlp(norm(x)).

    Args:
        config: Sizes of the model.
    """

    def __init__(self, config: HyenaConfig) -> None:
        super().__init__()
        self.mixer_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mixer = HyenaMixer(config)
        self.mlp_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mlp_in = nn.Linear(config.width, config.mlp_width)
        self.mlp_out = nn.Linear(config.mlp_width, config.width)

    def forward(self, x_BME: Tensor, mask_BM: Tensor | None, kernel_length: int) -> Tensor:
        """Apply the block to whole rows, with kernels of some length, at least theirs."""
        x_BME = x_BME + self.mixer(x_BME, self.mixer_norm, mask_BM, kernel_length)
        return by_slices(self._add_mlp, x_BME)

    def step(self, x_BLE: Tensor, kernel_KE: Tensor, state: State) -> tuple[Tensor, State]:
        """Apply the block to the next positions; return the state after them."""
        mixed_BLE, state = self.mixer.step(self.mixer_norm(x_BLE), kernel_KE, state)
        return self._add_mlp(x_BLE + mixed_BLE), state

    def _add_mlp(self, x_BME: Tensor) -> Tensor:
        hidden_BMH = functional.gelu(self.mlp_in(self.mlp_norm(x_BME)), approximate="tanh")
        added_BME: Tensor = self.mlp_out(hidden_BMH)
        return x_BME + added_BME


class HyenaMixer(nn.Module):
    """Hyena operator of order 2: gate * long convolution(gate * value).

    Args:
        config: Sizes of the model.
    """

    def __init__(self, config: HyenaConfig) -> None:
        super().__init__()
        self.project_in = nn.Linear(config.width, 3 * config.width)
        self.short_kernel = nn.Parameter(torch.zeros(3 * config.width, SHORT_KERNEL))
        self.short_bias = nn.Parameter(torch.zeros(3 * config.width))
        self.kernel = KernelNetwork(config)
        self.direct = nn.Parameter(torch.zeros(config.width))
        self.project_out = nn.Linear(config.width, config.width)

    def forward(
        self, x_BME: Tensor, norm: nn.LayerNorm, mask_BM: Tensor | None, kernel_length: int
    ) -> Tensor:
        """Mix the positions of whole rows.

        Args:
            x_BME: Residual stream.
            norm: Norm to apply to it first.
            mask_BM: True at real positions; None without padding.
            kernel_length: Length of the kernels, K, at least that of the rows.
        """
        pair_BMX = by_slices(lambda x_BME: self._gates(norm(x_BME)), x_BME, before=SHORT_KERNEL - 1)
        gate_BME, value_BME = pair_BMX.chunk(2, dim=-1)
        if mask_BM is not None:
            value_BME = value_BME * mask_BM[..., None]
        y_BME = long_convolution(value_BME, self.kernel(kernel_length), self.direct)
        mixed_BME: Tensor = self.project_out(y_BME.to(gate_BME.dtype) * gate_BME)
        return mixed_BME

    def step(self, x_BLE: Tensor, kernel_KE: Tensor, state: State) -> tuple[Tensor, State]:
        """Mix the next positions with those before them; return the state after them.

        Args:
            x_BLE: Residual stream after the norm.
            kernel_KE: Kernels, at least as long as the rows so far.
            state: Last projected inputs, and all values so far.
        """
        last_BWX, past_BPE = state
        projected_BMX = torch.cat((last_BWX, self.project_in(x_BLE)), dim=1)
        pair_BLX = self._gates_of(projected_BMX)[:, last_BWX.shape[1] :]
        gate_BLE, value_BLE = pair_BLX.chunk(2, dim=-1)
        values_BPE = torch.cat((past_BPE, widen(value_BLE)), dim=1)
        total, length = values_BPE.shape[1], x_BLE.shape[1]
        if length == 1:
            y_BE = torch.einsum("bpe,pe->be", values_BPE, kernel_KE[:total].flip(0))
            y_BLE = y_BE[:, None] + widen(self.direct) * values_BPE[:, -1:]
        else:
            y_BLE = long_convolution(values_BPE, kernel_KE[:total], self.direct)[:, -length:]
        mixed_BLE: Tensor = self.project_out(y_BLE.to(gate_BLE.dtype) * gate_BLE)
        return mixed_BLE, (projected_BMX[:, 1 - SHORT_KERNEL :], values_BPE)

    def _gates(self, x_BME: Tensor) -> Tensor:
        return self._gates_of(self.project_in(x_BME))

    def _gates_of(self, projected_BMX: Tensor) -> Tensor:
        """Return the outer gate, and the product of the inner gate and the value: (B, M, 2 E)."""
        outer, inner, value = self._short_convolution(projected_BMX).chunk(3, dim=-1)
        return torch.cat((outer, inner * value), dim=-1)

    def _short_convolution(self, x_BMX: Tensor) -> Tensor:
        """Mix every position with the two before it, channel by channel."""
        length = x_BMX.shape[1]
        padded_BWX = functional.pad(x_BMX, (0, 0, SHORT_KERNEL - 1, 0))
        kernel_WX = self.short_kernel.T
        y_BMX = torch.addcmul(self.short_bias, kernel_WX[0], padded_BWX[:, :length])
        for place in range(1, SHORT_KERNEL):
            # In place: neither factor changes, and a new tensor would be read from memory again.
            y_BMX.addcmul_(kernel_WX[place], padded_BWX[:, place : place + length])
        return y_BMX


class KernelNetwork(nn.Module):
    """Network of sines that computes the kernels from features of the distance, in float32.

    The features, the relative distances and the decays are stored with the weights, as the authors
    do; they are not trained.

    Args:
        config: Sizes of the model.
    """

    # Kernels are computed once per length, and their errors would add along the row.
    float32_products = True

    features_MF: Tensor
    distances_M: Tensor
    decays_E: Tensor

    def __init__(self, config: HyenaConfig) -> None:
        super().__init__()
        self.register_buffer("features_MF", distance_features(config))
        self.register_buffer("distances_M", torch.linspace(0, 1, config.positions))
        slow, fast = math.log(_DECAY_TARGET) / _SLOW, math.log(_DECAY_TARGET) / _FAST
        self.register_buffer("decays_E", torch.linspace(slow, fast, config.width))
        self.frequency = nn.Parameter(torch.full((config.kernel_width,), config.frequency))
        sizes = (config.kernel_features, *[config.kernel_width] * (config.kernel_depth + 1))
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.out = nn.Linear(config.kernel_width, config.width, bias=False)

    def forward(self, length: int) -> Tensor:
        """Return kernels of some length, shape (K, E), by distance."""
        features_1KX = torch.cat(
            (self.features_MF[None, :length], self.distances_M[None, :length, None]), dim=-1
        )
        with torch.autocast(features_1KX.device.type, enabled=False):
            return by_slices(self._kernels, widen(features_1KX))[0]

    def _kernels(self, features_1KX: Tensor) -> Tensor:
        x_1KH, distance_1K1 = features_1KX[..., :-1], features_1KX[..., -1:]
        for layer in self.layers:
            linear = cast("nn.Linear", layer)
            x_1KH = functional.linear(x_1KH, widen(linear.weight), widen(linear.bias))
            x_1KH = torch.sin(widen(self.frequency) * x_1KH)
        kernel_1KE = functional.linear(x_1KH, widen(self.out.weight))
        decay_1KE = torch.exp(-distance_1K1 * widen(self.decays_E).abs())
        return kernel_1KE * (decay_1KE + _DECAY_SHIFT)


def distance_features(config: HyenaConfig) -> Tensor:
    """Return the initial features of every distance, shape (M, F)."""
    positions, bands = config.positions, (config.kernel_features - 1) // 2
    angle_M1 = 2 * math.pi * torch.arange(positions, dtype=torch.float32)[:, None] / positions
    angle_MX = torch.linspace(1e-4, bands - 1, bands) * angle_M1
    relative_M1 = torch.linspace(0, 1, positions)[:, None]
    return torch.cat((relative_M1, torch.cos(angle_MX), -torch.sin(angle_MX)), dim=1)


def by_slices(function: Callable[[Tensor], Tensor], x_BMX: Tensor, *, before: int = 0) -> Tensor:
    """Apply a function of single positions slice by slice: long rows then need less memory.

    With gradients, which need all intermediate results, the rows are computed at once.

    Args:
        function: Function of rows (B, M, ...) that returns (B, M, Y).
        x_BMX: Rows.
        before: Number of positions before each one that the function also reads.
    """
    batch, length = x_BMX.shape[:2]
    size = max(1, _SLICE // batch)
    if torch.is_grad_enabled() or length <= size:
        return function(x_BMX)
    y_BMY: Tensor | None = None
    for start in range(0, length, size):
        first = max(0, start - before)
        part = function(x_BMX[:, first : start + size])[:, start - first :]
        if y_BMY is None:
            y_BMY = part.new_empty(batch, length, part.shape[-1])
        y_BMY[:, start : start + size] = part
    assert y_BMY is not None
    return y_BMY


@torch.no_grad()
def _initialise(model: Hyena, generator: torch.Generator) -> None:
    """Draw initial weights as the authors do."""
    for name, parameter in model.named_parameters():
        if name.endswith("direct"):
            parameter.normal_(0.0, 1.0, generator=generator)
        elif "short_" in name:
            limit = SHORT_KERNEL**-0.5
            parameter.uniform_(-limit, limit, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()
        elif parameter.dim() == 2:
            added = name.endswith(("project_out.weight", "mlp_out.weight"))
            scale = (2 * model.config.depth) ** -0.5 if added else 1.0
            parameter.normal_(0.0, _STD * scale, generator=generator)
