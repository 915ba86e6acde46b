"""Encoder: token embedding, a stack of blocks and a head that predicts tokens.

Shape letters: B batch, L length, T selected positions of all rows, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genomeformer_cli.core.attention.batch_layout import Layout, Rotary, each_document
from genomeformer_cli.core.attention.kernels.rms_norm import RMSNorm
from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.attention.protocols import Cached, State, Streaming
from genomeformer_cli.core.models.changed_rows import ChangedRows
from genomeformer_cli.core.models.continuation import Continuation, SteppedContinuation
from genomeformer_cli.core.models.genomeformer.block import Block
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.patches import TOKEN_WIDTH, Patches, earlier
from genomeformer_cli.core.models.genomeformer.shared_prefix import prefix_layers
from genomeformer_cli.core.models.genomeformer.streaming_forward import encoder_slices
from genomeformer_cli.core.models.protocol import Model

SMALL_STD = 0.02


class Encoder(Model):
    """Pre-norm transformer with RMSNorm, rotary positions and gated MLPs.

    Args:
        config: Configuration of the model.
        seed: Seed of the initial weights and of the random numbers of the attention mechanism.
    """

    config: ModelConfig

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.config = config
        self._checkpointing = False
        self.rotary = Rotary(head_width=config.width // config.num_heads, base=config.rotary_base)
        self.patches = Patches(config) if config.patch > 1 else None
        token_width = config.width if self.patches is None else TOKEN_WIDTH
        self.embedding = nn.Embedding(config.vocabulary_size, token_width)
        self.blocks = nn.ModuleList(
            Block(config, index, generator) for index in range(config.depth)
        )
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(self.feature_width, config.vocabulary_size, bias=False)
        initialise(self, generator)

    @property
    def stack(self) -> list[Block]:
        """Blocks in order from the embedding."""
        return cast("list[Block]", list(self.blocks))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embedding.weight.device

    @property
    def feature_width(self) -> int:
        """Features per position."""
        return self.config.width if self.patches is None else self.patches.width

    @property
    def can_stream(self) -> bool:
        """True if no block needs its activations for a whole row at once."""
        if self.config.causal:
            return all(isinstance(block.attention.mechanism, Streaming) for block in self.stack)
        return self.patches is None and all(block.is_sliceable for block in self.stack)

    @property
    def carries_states(self) -> bool:
        """True if every block of a causal stack can pass its past to the next positions."""
        mechanisms = [block.attention.mechanism for block in self.stack]
        return (
            self.config.causal
            and self.config.residual == "plain"
            and all(isinstance(mechanism, Streaming | Cached) for mechanism in mechanisms)
        )

    def layout(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, documents_BL: Tensor | None = None
    ) -> Layout:
        """Return the layout of a batch."""
        if documents_BL is not None:
            return self.rotary.packed_layout(documents_BL)
        return self.rotary.layout(tokens_BL.shape[1], mask_BL, device=tokens_BL.device)

    def hidden(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return features (B, L, E) of every position; see `Model.hidden`."""
        if self.patches is not None:
            if documents_BL is not None:
                return each_document(self.hidden, tokens_BL, documents_BL)
            return self._by_patches(self.patches, tokens_BL, mask_BL)
        layout = self.layout(tokens_BL, mask_BL, documents_BL)
        x_BLE = self.embedding(tokens_BL)
        if self.config.residual == "reversible":
            return self.merge_streams(*self._two_streams(x_BLE, layout))
        for block in self.stack:
            x_BLE = self._run(block, x_BLE, layout)
        return self.normed(x_BLE)

    def hidden_at(
        self,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        documents_BL: Tensor | None,
        selected: SelectedPositions,
    ) -> Tensor:
        """Return features (T, E) of selected positions; most others are skipped.

        In the last block of a plain bidirectional stack, other positions contribute only keys and
        values: their queries, where the mechanism allows it, outputs and MLPs are not computed.
        """
        config = self.config
        if config.causal or self.patches is not None or config.residual == "reversible":
            return selected.gather(self.hidden(tokens_BL, mask_BL, documents_BL))
        layout = self.layout(tokens_BL, mask_BL, documents_BL)
        x_BLE = self.embedding(tokens_BL)
        *below, top = self.stack
        for block in below:
            x_BLE = self._run(block, x_BLE, layout)
        return self.normed(self._run(partial(top, selected=selected), x_BLE, layout))

    def hidden_layers(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return the residual stream after each of some blocks, through the final norm.

        All layers are thus on one scale. Each token has the features of its patch; only the last
        layer is separated into tokens by the decoder.
        """
        if layers == (self.config.depth,):
            return [self.hidden(tokens_BL, mask_BL)]
        patches, length = self.patches, tokens_BL.shape[1]
        embedded_BLS = x_BLE = self.embedding(tokens_BL)
        if patches is not None:
            embedded_BLS = patches.filled(embedded_BLS, mask_BL)
            x_BLE = patches.merge(embedded_BLS)
            mask_BL = patches.mask(mask_BL)
        layout = self.rotary.layout(x_BLE.shape[1], mask_BL, device=x_BLE.device)
        features = {0: self.normed(x_BLE)}
        for number, block in enumerate(self.stack[: max(layers)], start=1):
            x_BLE = block(x_BLE, layout)
            if number in layers:
                features[number] = self.normed(x_BLE)
        if patches is None:
            return [features[layer] for layer in layers]
        return [
            self.of_tokens(patches, embedded_BLS, features[layer], length)
            if layer == len(self.stack)
            else features[layer].repeat_interleave(patches.size, dim=1)[:, :length]
            for layer in layers
        ]

    def changed_layers(
        self,
        tokens_BL: Tensor,
        changed: ChangedRows,
        layers: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return features of rows and of changed copies; common prefixes are computed once."""
        if not self.carries_states:
            return super().changed_layers(tokens_BL, changed, layers)
        origin = changed.row_C, changed.before_C
        return prefix_layers(self, tokens_BL, changed.tokens_CM, origin, layers)

    def _by_patches(self, patches: Patches, tokens_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        embedded_BLS = patches.filled(self.embedding(tokens_BL), mask_BL)
        x_BNE = patches.merge(embedded_BLS)
        layout = self.rotary.layout(x_BNE.shape[1], patches.mask(mask_BL), device=x_BNE.device)
        for block in self.stack:
            x_BNE = self._run(block, x_BNE, layout)
        return self.of_tokens(patches, embedded_BLS, self.normed(x_BNE), tokens_BL.shape[1])

    def of_tokens(
        self, patches: Patches, embedded_BLS: Tensor, features_BNE: Tensor, length: int
    ) -> Tensor:
        """Return features of tokens from those of the patches of whole rows."""
        if self.config.causal:
            features_BNE = earlier(features_BNE)
        return patches.apart(patches.around(embedded_BLS), features_BNE, length)

    def features_by_slices(
        self, tokens_BL: Tensor, chunk: int
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield features of rows slice by slice; see `Model.features_by_slices`."""
        return encoder_slices(self, tokens_BL, chunk)

    @property
    def is_quadratic(self) -> bool:
        """True if the time of a row grows with the square of its length."""
        return self.config.is_quadratic

    def continuation(self, batch: int) -> Continuation:
        """Return the continuation of empty rows: by states, if every block can carry one."""
        if not self.carries_states:
            return super().continuation(batch)

        def step(
            tokens_BL: Tensor, states: list[State], position: int
        ) -> tuple[Tensor, list[State]]:
            return self.step(tokens_BL, None, states, position=position)

        states = self.start(batch, self.embedding.weight)
        return SteppedContinuation(step, states, self.config.patch)

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        self._checkpointing = enabled

    def _run(self, function: Callable[..., Tensor], x_BLE: Tensor, layout: Layout) -> Tensor:
        if not self._checkpointing:
            return function(x_BLE, layout)
        result: Tensor = checkpoint(function, x_BLE, layout, use_reentrant=False)
        return result

    def _two_streams(self, x_BLE: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Apply the blocks to two streams (Gomez et al. 2017, equation 6)."""
        one_BLE, other_BLE = x_BLE, x_BLE
        for block in self.stack:
            one_BLE = one_BLE + self._run(block.attention_output, other_BLE, layout)
            other_BLE = other_BLE + self._run(block.mlp_output_at, one_BLE, layout)
        return one_BLE, other_BLE

    def merge_streams(self, one_BLE: Tensor, other_BLE: Tensor) -> Tensor:
        """Return the features of two streams."""
        return self.normed((one_BLE + other_BLE) / 2)

    def normed(self, x_BLE: Tensor) -> Tensor:
        """Return the features of a residual stream."""
        features_BLE: Tensor = self.norm(x_BLE)
        return features_BLE

    def start(self, batch: int, like: Tensor) -> list[State]:
        """Return the states of a causal stack before the first position."""
        states = [block.start(batch, like) for block in self.stack]
        if self.patches is not None:
            states.append(self.patches.start(batch, like))
        return states

    def step(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, states: list[State], *, position: int
    ) -> tuple[Tensor, list[State]]:
        """Return features of the next positions of a causal stack, and its states after them.

        Args:
            tokens_BL: Next token ids of every row, any number of them; whole patches, unless they
                are the last.
            mask_BL: True at real tokens; None if all are real.
            states: States from the previous call, or from `start`.
            position: Number of tokens before these.
        """
        if self.patches is not None:
            embedded_BLS, features_BNE, after = self._step_patches(
                self.patches, tokens_BL, mask_BL, states, position
            )
            features_BLD, left = self.patches.step(
                embedded_BLS, features_BNE, states[-1], tokens_BL.shape[1]
            )
            return features_BLD, [*after, left]
        x_BLE = self.embedding(tokens_BL)
        x_BLE, after = self._step_blocks(x_BLE, mask_BL, states, position)
        return self.normed(x_BLE), after

    def step_layers(
        self, tokens_BL: Tensor, states: list[State], layers: tuple[int, ...], *, position: int
    ) -> tuple[list[Tensor], list[State]]:
        """Return features (B, L, E) after some blocks, and the states after the next positions.

        Blocks above the last of the layers are skipped, and their states are returned unchanged.

        Args:
            tokens_BL: Next token ids of every row, as for `step`.
            states: States from the previous call, or from `start`.
            layers: Block numbers, as for `hidden_layers`.
            position: Number of tokens before these.
        """
        patches, length = self.patches, tokens_BL.shape[1]
        embedded_BLS = x_BLE = self.embedding(tokens_BL)
        if patches is not None:
            embedded_BLS = patches.filled(embedded_BLS, None)
            x_BLE = patches.merge(embedded_BLS)
        layout = self.rotary.layout(
            x_BLE.shape[1], None, device=x_BLE.device, start=position // self.config.patch
        )
        features, after = {0: self.normed(x_BLE)}, list(states)
        for number, block in enumerate(self.stack[: max(layers)], start=1):
            x_BLE, after[number - 1] = block.step(x_BLE, layout, states[number - 1])
            if number in layers:
                features[number] = self.normed(x_BLE)
        if patches is not None:
            last_BNE = features.pop(len(self.stack), None)
            features = {
                layer: of_patches.repeat_interleave(patches.size, dim=1)[:, :length]
                for layer, of_patches in features.items()
            }
            if last_BNE is not None:
                features[len(self.stack)], after[-1] = patches.step(
                    embedded_BLS, last_BNE, states[-1], length
                )
        return [features[layer] for layer in layers], after

    def _step_patches(
        self,
        patches: Patches,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        states: list[State],
        position: int,
    ) -> tuple[Tensor, Tensor, list[State]]:
        """Return embedded tokens, features of their patches, and the states after them."""
        embedded_BLS = patches.filled(self.embedding(tokens_BL), mask_BL)
        x_BNE, after = self._step_blocks(
            patches.merge(embedded_BLS),
            patches.mask(mask_BL),
            states[:-1],
            position // patches.size,
        )
        return embedded_BLS, self.normed(x_BNE), after

    def _step_blocks(
        self, x_BLE: Tensor, mask_BL: Tensor | None, states: list[State], position: int
    ) -> tuple[Tensor, list[State]]:
        layout = self.rotary.layout(x_BLE.shape[1], mask_BL, device=x_BLE.device, start=position)
        after: list[State] = []
        for block, state in zip(self.stack, states, strict=True):
            x_BLE, left = block.step(x_BLE, layout, state)
            after.append(left)
        return x_BLE, after

    def advance(self, tokens_BL: Tensor, states: list[State], *, position: int) -> list[State]:
        """Return the states after the next positions, without their features.

        The last MLP and the decoder of patches are skipped.
        """
        if self.patches is not None:
            embedded_BLS, features_BNE, after = self._step_patches(
                self.patches, tokens_BL, None, states, position
            )
            return [*after, self.patches.state_after(embedded_BLS, features_BNE, states[-1])]
        layout = self.rotary.layout(
            tokens_BL.shape[1], None, device=tokens_BL.device, start=position
        )
        x_BLE = self.embedding(tokens_BL)
        after = []
        for block, state in zip(self.stack, states, strict=True):
            if len(after) + 1 < len(states):
                x_BLE, left = block.step(x_BLE, layout, state)
            else:
                left = block.advance(x_BLE, layout, state)
            after.append(left)
        return after

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position."""
        logits: Tensor = self.head(features)
        return logits


@torch.no_grad()
def initialise(model: Encoder, generator: torch.Generator) -> None:
    """Initialise to unit-variance features, with small weights where a block adds to the stream."""
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or ".mechanism." in name:
            continue
        if name == "embedding.weight":
            std = 1.0
        elif name == "head.weight" or name.endswith("convolution.kernel"):
            std = SMALL_STD
        else:
            std = parameter.shape[1] ** -0.5
        if name.endswith("out.weight"):
            std /= (2 * model.config.depth) ** 0.5
        parameter.normal_(0.0, std, generator=generator)


def padding_mask(tokens_BL: Tensor, pad_id: int) -> Tensor | None:
    """Return True at real tokens, or None without padding; an empty row sees its first position."""
    mask_BL = tokens_BL != pad_id
    if bool(mask_BL.all()):
        return None
    empty_B = ~mask_BL.any(dim=1)
    mask_BL[:, 0] |= empty_B
    return mask_BL
