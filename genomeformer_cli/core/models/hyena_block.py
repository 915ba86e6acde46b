"""Block of Hyena: gates and long convolutions, with kernels that a network of sines computes.

Poli et al. 2023, "Hyena Hierarchy", at order 2.
Shape letters: B batch, M length with the frame, K length of a kernel, E width, F features of a
distance, H hidden features of the kernel network, L next positions, P past and next positions, W
last inputs of the short convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.long_convolution import long_convolution, widen

if TYPE_CHECKING:
    from genomeformer_cli.core.models.hyena import HyenaConfig

NORM_EPSILON = 1e-5
SHORT_KERNEL = 3
# Exponential decay of the kernels over a full row: 1e-2 is reached at 0.3 to 1.5 of its length.
_DECAY_TARGET, _FAST, _SLOW, _DECAY_SHIFT = 1e-2, 0.3, 1.5, 0.05
# Positions of all rows that a position-wise function computes at a time, without gradients.
_SLICE = 1 << 11


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
