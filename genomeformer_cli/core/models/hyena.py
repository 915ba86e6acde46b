"""Hyena: a causal stack of blocks of gates and long convolutions.

Poli et al. 2023, "Hyena Hierarchy", and Nguyen et al. 2023, "HyenaDNA", both at order 2. Every
position sees itself and earlier positions, so that padding at the end of a row changes nothing.
Shape letters: B batch, M length with the frame, K length of a kernel, E width, V vocabulary, G rows
of a group, S their length, L next positions, X projected features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.continuation import Continuation, SteppedContinuation
from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits
from genomeformer_cli.core.models.hyena_block import NORM_EPSILON, SHORT_KERNEL, HyenaBlock
from genomeformer_cli.core.models.long_convolution import next_step, widen
from genomeformer_cli.core.models.protocol import Direction

_STD = 0.02


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
