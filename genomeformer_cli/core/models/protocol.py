"""Interface of all models: token ids in, features and logits out.

Commands, memory plans and objectives use models through this interface. A new architecture is a
subclass and an entry of `registry`.
Shape letters: B batch, L length, T selected positions of all rows, E features, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.models.genomeformer.config import ModelConfig


class Model(nn.Module):
    """Sequence model over token ids.

    A subclass implements `device`, `feature_width`, `hidden`, `hidden_layers` and `logits`; the
    other members have defaults. The configuration is saved as `config.json`.
    """

    config: ModelConfig

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
        """True if the reverse complement flips the features of a row and swaps their halves."""
        return False

    @property
    def can_stream(self) -> bool:
        """True if features of a row can be computed slice by slice, in bounded memory."""
        return False

    def layer_width(self, layer: int) -> int:
        """Return the features per position of a layer; 0 is the embedding."""
        return self.feature_width if layer == self.config.depth else self.config.width

    def set_checkpointing(self, *, wanted: bool) -> None:
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

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V) of the token at every position."""
        raise NotImplementedError

    def forward(self, tokens_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return logits (B, L, V) of the token at every position."""
        return self.logits(self.hidden(tokens_BL, mask_BL))
