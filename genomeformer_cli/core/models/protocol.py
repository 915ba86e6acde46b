"""Interface of all models: token ids in, features and logits out.

Commands, memory plans and objectives use models through this interface. A new architecture is a
subclass and an entry of `registry`.
Shape letters: B batch, L length, T selected positions of all rows, E features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.models.changed_rows import ChangedRows
from genomeformer_cli.core.models.continuation import Continuation, RecomputedContinuation

Direction = Literal["bidirectional", "causal", "two-stack"]


class ArchitectureConfig(Protocol):
    """Configuration of a model: a frozen dataclass, saved as `config.json`."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""

    @property
    def context(self) -> int:
        """Longest window in tokens, without the tokens that the model adds around it."""

    @property
    def width(self) -> int:
        """Features per position of the residual stream."""

    @property
    def depth(self) -> int:
        """Number of blocks."""

    @property
    def direction(self) -> Direction:
        """Positions that each position sees: all, earlier ones, or all but itself."""

    @property
    def causal(self) -> bool:
        """True if each stack sees only the past."""

    @property
    def mechanism(self) -> str:
        """Name of the mechanism that mixes positions, e.g. `softmax`."""

    @property
    def residual(self) -> Literal["plain", "reversible"]:
        """Residual streams: one, or two of invertible blocks."""

    @property
    def strands(self) -> Literal["one", "both"]:
        """Strands that the model reads."""

    @property
    def patch(self) -> int:
        """Tokens per position of the stack."""


class Model(nn.Module):
    """Sequence model over token ids.

    A subclass implements `device`, `feature_width`, `hidden`, `hidden_layers` and `logits`; the
    other members have defaults. The configuration is saved as `config.json`.
    """

    config: ArchitectureConfig

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        raise NotImplementedError

    @property
    def feature_width(self) -> int:
        """Features per position, E."""
        raise NotImplementedError

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def is_equivariant(self) -> bool:
        """True if the reverse complement flips the features of a row and swaps the strands."""
        return False

    @property
    def can_stream(self) -> bool:
        """True if features of a row can be computed slice by slice, in bounded memory."""
        return False

    @property
    def has_one_stream(self) -> bool:
        """True if every block adds to one residual stream, so that all layers have features."""
        return self.config.residual == "plain"

    @property
    def is_quadratic(self) -> bool:
        """True if the time of a row grows with the square of its length."""
        return True

    @property
    def max_positions(self) -> int | None:
        """Longest row with its frame that the positions of the model allow; None: any length."""
        return None

    def layer_width(self, layer: int) -> int:
        """Return the features per position of a layer; 0 is the embedding."""
        return self.feature_width if layer == self.config.depth else self.config.width

    def swap_strands(self, features: Tensor) -> Tensor:
        """Return the features (..., E) that the reverse complement has, see `is_equivariant`."""
        forward, reverse = features.chunk(2, dim=-1)
        return torch.cat((reverse, forward), dim=-1)

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        raise NotImplementedError

    def hidden(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return features (B, L, E) of every position.

        Args:
            tokens_BL: Token ids.
            mask_BL: True at real tokens, False at padding at the end of rows; None without padding.
                The result is undefined at padding.
            documents_BL: Document number of each position, negative at padding, for rows that hold
                several documents, which do not attend to each other; replaces the mask.
        """
        raise NotImplementedError

    def hidden_at(
        self,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        documents_BL: Tensor | None,
        selected: SelectedPositions,
    ) -> Tensor:
        """Return features (T, E) of selected real positions.

        Args:
            tokens_BL: Token ids.
            mask_BL: True at real tokens, as for `hidden`.
            documents_BL: Document number of each position, as for `hidden`.
            selected: Positions to compute; an architecture may skip the others where it can.
        """
        return selected.gather(self.hidden(tokens_BL, mask_BL, documents_BL))

    def hidden_layers(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, L, `layer_width`) after each of some blocks.

        Args:
            tokens_BL: Token ids.
            mask_BL: True at real tokens; None without padding.
            layers: Block numbers from 1; 0 for the embedding.
        """
        raise NotImplementedError

    def changed_layers(
        self,
        tokens_BL: Tensor,
        changed: ChangedRows,
        layers: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return features (B, L, `layer_width`) of rows and of changed copies of them.

        An architecture may compute the parts that they share once.

        Args:
            tokens_BL: Token ids of the rows, without padding.
            changed: Changed rows.
            layers: Layers of the rows and of the changed rows, as for `hidden_layers`; the latter
                are among the former.
        """
        features = self.hidden_layers(tokens_BL, None, layers[0])
        return features, self.hidden_layers(changed.tokens_CM, None, layers[1])

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features of rows to which the frame is added already; see `core.models.framed`.

        Args:
            tokens_BM: Token ids with the frame, if the model has one.
            mask_BM: True at real tokens and at the frame; None without padding.
            layers: Block numbers, as for `hidden_layers`.
        """
        return self.hidden_layers(tokens_BM, mask_BM, layers)

    def features_by_slices(
        self, tokens_BL: Tensor, chunk: int
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield features of rows without padding, slice by slice from left to right.

        Args:
            tokens_BL: Token ids, of any integer type.
            chunk: Positions per slice, C.

        Yields:
            First position, end, and features (B, C, E) as returned by `hidden`.

        Raises:
            StoreError: The disk has no room for the residual stream.
            NotImplementedError: The model cannot stream, see `can_stream`.
        """
        raise NotImplementedError

    def continuation(self, batch: int) -> Continuation:
        """Return the continuation of empty rows by a causal model.

        Rows may grow to any length if the model can stream, and to a window with its frame
        otherwise.

        Args:
            batch: Number of rows, B.
        """
        del batch
        return RecomputedContinuation(self)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position."""
        raise NotImplementedError

    def forward(self, tokens_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return logits (B, L, V) of the token at every position."""
        return self.logits(self.hidden(tokens_BL, mask_BL))
