"""Reverse complement of rows, and a model that reads both strands.

Shape letters: B batch, L length, T selected positions of all rows, E width, V vocabulary.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import each_document
from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.protocol import Model


def flip_positions(tokens_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
    """Return the index of each position in the reversed row; padding stays at the end."""
    place_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
    if mask_BL is None:
        return place_L.flip(0).expand_as(tokens_BL)
    turn_BL = mask_BL.sum(dim=1, keepdim=True) - 1 - place_L
    return torch.where(turn_BL < 0, place_L, turn_BL)


def flip_rows(x_BLE: Tensor, turn_BL: Tensor) -> Tensor:
    """Return the features in the order of the reversed row."""
    return x_BLE.gather(1, turn_BL[..., None].expand_as(x_BLE))


def concatenate_strands(
    forward: list[Tensor], reverse: list[Tensor], turn_BL: Tensor
) -> list[Tensor]:
    """Concatenate features of rows with those of the reversed rows, layer by layer."""
    return [
        torch.cat((forward_BLE, flip_rows(reverse_BLE, turn_BL)), dim=-1)
        for forward_BLE, reverse_BLE in zip(forward, reverse, strict=True)
    ]


def complement_ids(config: ModelConfig) -> Tensor:
    """Return the id of the complement of every token.

    Raises:
        ConfigError: The tokens have no complements.
    """
    if len(config.complement) != config.vocabulary_size:
        raise ConfigError(
            "the model reads both strands, but these tokens have no reverse complement",
            hint="use a tokenizer of single bases or k-mers, or a model that reads one strand",
        )
    return torch.tensor(config.complement)


class BothStrands(Model):
    """Encoder that reads both strands and is equivariant under reverse complement.

    Features are those of the given strand and those of the opposite strand, in the order of the
    given strand; the reverse complement swaps the halves. The cost is twice that of the encoder.

    Mallet and Vert 2021, "Reverse-Complement Equivariant Networks for DNA Sequences", section 3;
    Zhou et al. 2022, "Towards a Better Understanding of Reverse-Complement Equivariance", for the
    symmetric pair of one network.

    Args:
        config: Sizes of the encoder.
        seed: Seed of the initial weights and of the random numbers of the attention mechanism.

    Raises:
        ConfigError: The tokens have no complement.
    """

    config: ModelConfig

    complement_V: Tensor

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(dataclasses.replace(config, strands="one"), seed=seed)
        self.register_buffer("complement_V", complement_ids(config), persistent=False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.device

    @property
    def feature_width(self) -> int:
        """Features per position: those of both strands."""
        return 2 * self.encoder.feature_width

    @property
    def is_equivariant(self) -> bool:
        """True: the reverse complement flips the features of a row and swaps their halves."""
        return True

    def layer_width(self, layer: int) -> int:
        """Return the features per position of a layer: those of both strands."""
        return 2 * self.encoder.layer_width(layer)

    @property
    def is_quadratic(self) -> bool:
        """True if the time of a row grows with the square of its length."""
        return self.config.is_quadratic

    def set_checkpointing(self, *, enabled: bool) -> None:
        """Set whether blocks keep only their inputs and recompute the rest in the backward pass."""
        self.encoder.set_checkpointing(enabled=enabled)

    def hidden(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return features (B, L, 2 E) of every position: of this strand and of the opposite."""
        if documents_BL is not None:
            return each_document(self.hidden, tokens_BL, documents_BL)
        turn_BL = flip_positions(tokens_BL, mask_BL)
        both_BLE = self.encoder.hidden(*self._stack_strands(tokens_BL, mask_BL, turn_BL))
        batch = tokens_BL.shape[0]  # `chunk` would fix the size of an exported graph
        here_BLE, there_BLE = both_BLE[:batch], both_BLE[batch:]
        return torch.cat((here_BLE, flip_rows(there_BLE, turn_BL)), dim=-1)

    def hidden_at(
        self,
        tokens_BL: Tensor,
        mask_BL: Tensor | None,
        documents_BL: Tensor | None,
        selected: SelectedPositions,
    ) -> Tensor:
        """Return features (T, 2 E) of selected positions; the encoder skips most others."""
        if documents_BL is not None:
            return selected.gather(self.hidden(tokens_BL, mask_BL, documents_BL))
        batch, length = tokens_BL.shape
        turn_BL = flip_positions(tokens_BL, mask_BL)
        rows_B1 = torch.arange(batch, 2 * batch, device=turn_BL.device)[:, None]
        there_T = selected.gather(rows_B1 * length + turn_BL)
        strands = SelectedPositions(
            torch.cat((selected.index_T, there_T)), 2 * batch, length, selected.max_per_row
        )
        both_2BL, mask_2BL = self._stack_strands(tokens_BL, mask_BL, turn_BL)
        both_2TE = self.encoder.hidden_at(both_2BL, mask_2BL, None, strands)
        return torch.cat(both_2TE.chunk(2), dim=-1)

    def hidden_layers(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        """Return features (B, L, 2 E) after each of some blocks, of both strands."""
        if layers == (self.config.depth,):
            return [self.hidden(tokens_BL, mask_BL)]
        turn_BL = flip_positions(tokens_BL, mask_BL)
        opposite_BL = self.complement_V[tokens_BL.gather(1, turn_BL)]
        forward = self.encoder.hidden_layers(tokens_BL, mask_BL, layers)
        reverse = self.encoder.hidden_layers(opposite_BL, mask_BL, layers)
        return concatenate_strands(forward, reverse, turn_BL)

    def _stack_strands(
        self, tokens_BL: Tensor, mask_BL: Tensor | None, turn_BL: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the rows of this strand, then of the other, and their masks."""
        opposite_BL = self.complement_V[tokens_BL.gather(1, turn_BL)]
        mask_2BL = None if mask_BL is None else torch.cat((mask_BL, mask_BL))
        return torch.cat((tokens_BL, opposite_BL)), mask_2BL

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., V): this strand's of a token plus the other's of its complement."""
        forward, reverse = features.chunk(2, dim=-1)
        reverse_logits = self.encoder.logits(reverse)[..., self.complement_V]
        return self.encoder.logits(forward) + reverse_logits
