"""Two causal stacks in opposite directions, joined at the top: each position sees all others.

The forward stack reads the bases before a position, the backward stack those after it; neither sees
the position itself, so that every base is a target and none need be hidden. The past of each stack
is a bounded state, so that exact gradients take memory independent of the length
(`core/memory_plans`). Tied stacks share their weights, and the backward stack reads the complement:
the model is then equivariant under reverse complement.

Peters et al. 2018, "Deep contextualized word representations", section 3.1, join two causal models
in this way; Duan et al. 2025, "JanusDNA", section 3, for DNA.
Shape letters: B batch, L length, T selected positions of all rows, E width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.batch_layout import each_document
from genomeformer_cli.core.attention.kernels.rms_norm import RMSNorm
from genomeformer_cli.core.models.changed_rows import ChangedRows
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import SMALL_STD, Encoder
from genomeformer_cli.core.models.genomeformer.reverse_complement import (
    complement_ids,
    concatenate_strands,
    flip_positions,
    flip_rows,
)
from genomeformer_cli.core.models.genomeformer.seeds import part_generator, part_seed
from genomeformer_cli.core.models.genomeformer.streaming_forward import two_stack_slices
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.tokenizers.protocol import CLS_ID


class TwoStack(Model):
    """Two causal encoders and a gated head over the features of both.

    Args:
        config: Sizes of each stack; tied stacks need the complement of every token.
        seed: Seed of the initial weights and of the random numbers of the attention mechanism.

    Raises:
        ConfigError: The stacks are tied and the tokens have no complement.
    """

    config: ModelConfig

    complement_V: Tensor

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        stack = dataclasses.replace(config, direction="causal")
        generator = part_generator(seed, "two-stack head")
        self.config = config
        self.ahead = Encoder(stack, seed=seed)
        self.own_back = (
            None if config.tied else Encoder(stack, seed=part_seed(seed, "second stack"))
        )
        width = self.ahead.feature_width
        self.join = nn.Linear(2 * width, width, bias=False)
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, config.vocabulary_size, bias=False)
        ids = complement_ids(config) if config.tied else torch.arange(config.vocabulary_size)
        self.register_buffer("complement_V", ids, persistent=False)
        with torch.no_grad():
            self.join.weight.normal_(0.0, (2 * width) ** -0.5, generator=generator)
            self.head.weight.normal_(0.0, SMALL_STD, generator=generator)

    @property
    def back(self) -> Encoder:
        """Stack that reads from right to left."""
        return self.own_back or self.ahead

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.head.weight.device

    @property
    def feature_width(self) -> int:
        """Features per position: those of both stacks."""
        return 2 * self.ahead.feature_width

    @property
    def is_equivariant(self) -> bool:
        """True if the stacks are tied: the second one then reads the complement."""
        return self.config.tied

    @property
    def can_stream(self) -> bool:
        """True if the stacks pass a state of bounded size from slice to slice."""
        return self.ahead.can_stream

    def layer_width(self, layer: int) -> int:
        """Return the features per position of a layer: those of both stacks."""
        return 2 * self.ahead.layer_width(layer)

    def hidden(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return features (B, L, 2 E) of every position: of the bases before and after it."""
        if documents_BL is not None:
            return each_document(self.hidden, tokens_BL, documents_BL)
        turn_BL = flip_positions(tokens_BL, mask_BL)
        turned_BL = self.other_strand(tokens_BL.gather(1, turn_BL))
        both_ways = self._at_once if self._is_launched(tokens_BL) else self._in_turn
        ahead_BLE, back_BLE = both_ways(self.shifted(tokens_BL), self.shifted(turned_BL), mask_BL)
        return torch.cat((ahead_BLE, flip_rows(back_BLE, turn_BL)), dim=-1)

    def hidden_layers(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, L, 2 E) after each of some blocks, of both stacks."""
        if layers == (self.config.depth,):
            return [self.hidden(tokens_BL, mask_BL)]
        turn_BL = flip_positions(tokens_BL, mask_BL)
        turned_BL = self.other_strand(tokens_BL.gather(1, turn_BL))
        forward = self.ahead.hidden_layers(self.shifted(tokens_BL), mask_BL, layers)
        backward = self.back.hidden_layers(self.shifted(turned_BL), mask_BL, layers)
        return concatenate_strands(forward, backward, turn_BL)

    def changed_layers(
        self,
        tokens_BL: Tensor,
        changed: ChangedRows,
        layers: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return features of rows and of changed copies of them.

        What both share is computed once: the beginning by the forward stack, the end by the
        backward stack.
        """
        rows, directions = (tokens_BL, changed.tokens_CM), []
        reverse = tuple(self.other_strand(tokens.flip(1)) for tokens in rows)
        for stack, strand, shared_C in (
            (self.ahead, rows, changed.before_C),
            (self.back, reverse, changed.after_C),
        ):
            # The first token of a shifted row is [CLS].
            shifted = ChangedRows(
                tokens_CM=self.shifted(strand[1]),
                row_C=changed.row_C,
                before_C=[shared + 1 for shared in shared_C],
                after_C=changed.after_C,
            )
            directions.append(stack.changed_layers(self.shifted(strand[0]), shifted, layers))
        forward, backward = directions
        features, of_changed = (
            concatenate_strands(forward[part], backward[part], flip_positions(rows[part], None))
            for part in (0, 1)
        )
        return features, of_changed

    def _is_launched(self, tokens_BL: Tensor) -> bool:
        """Return True if launching kernels may take longer than running them.

        Both stacks then run as one batch, with half as many launches.
        """
        return self.config.tied and tokens_BL.device.type != "cpu"

    def _in_turn(
        self, ahead_BL: Tensor, back_BL: Tensor, mask_BL: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self.ahead.hidden(ahead_BL, mask_BL), self.back.hidden(back_BL, mask_BL)

    def _at_once(
        self, ahead_BL: Tensor, back_BL: Tensor, mask_BL: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run tied stacks as one batch with twice the rows."""
        mask_2BL = None if mask_BL is None else torch.cat((mask_BL, mask_BL))
        ahead_BLE, back_BLE = self.ahead.hidden(torch.cat((ahead_BL, back_BL)), mask_2BL).chunk(2)
        return ahead_BLE, back_BLE

    def features_by_slices(
        self, tokens_BL: Tensor, chunk: int
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield features of rows slice by slice; see `Model.features_by_slices`."""
        return two_stack_slices(self, tokens_BL, chunk)

    @property
    def is_quadratic(self) -> bool:
        """True if the time of a row grows with the square of its length."""
        return self.config.is_quadratic

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        self.ahead.set_checkpointing(enabled=enabled)
        self.back.set_checkpointing(enabled=enabled)

    def shifted(self, tokens_BL: Tensor) -> Tensor:
        """Return the input of a stack: [CLS] first, without the last token."""
        first_B1 = torch.full_like(tokens_BL[:, :1], CLS_ID)
        return torch.cat((first_B1, tokens_BL[:, :-1]), dim=1)

    def other_strand(self, turned_BL: Tensor) -> Tensor:
        """Return the complements of flipped tokens if the stacks are tied; otherwise the tokens."""
        return self.complement_V[turned_BL] if self.config.tied else turned_BL

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position.

        Tied: the logits of the first half for a token plus those of the second half for its
        complement, so that the model is equivariant under reverse complement.
        """
        ahead, back = features.chunk(2, dim=-1)
        logits = self._direction_logits(ahead, back)
        if self.config.tied:
            logits = logits + self._direction_logits(back, ahead)[..., self.complement_V]
        return logits

    def _direction_logits(self, first: Tensor, second: Tensor) -> Tensor:
        mixed = self.join(torch.cat((first, second), dim=-1))
        logits: Tensor = self.head(self.norm(functional.silu(mixed)))
        return logits
