"""A torch module around a model, for fine-tuning: sequences in, features with gradients out.

Shape letters: B batch, L length, K columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from genomeformer_cli.core.embedding.choices import AUTO, EmbedChoices
from genomeformer_cli.core.embedding.features import (
    check_layers,
    features_width,
    joined_layers,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.protocol import PAD_ID


class EmbeddingModule(nn.Module):
    """Features of sequences, each read whole: it cuts no windows and reads one strand.

    Args:
        loaded: The model; its weights are shared, not copied.
        pool: `mean`, `max`, `first`, `last` over real bases, or `none`: every token.
        layers: As in `EmbedChoices`.

    Attributes:
        width: Columns of what comes out.

    Raises:
        ConfigError: The model cannot do what was chosen.
    """

    def __init__(self, loaded: LoadedModel, *, pool: str = "mean", layers: str = AUTO) -> None:
        super().__init__()
        choices = EmbedChoices(pool=pool, layers=layers).settled(loaded.layers)  # type: ignore[arg-type]
        self.model = loaded.model
        self.choices = choices
        self.layers = choices.numbers(loaded.model.config.depth)
        mean = choices.layers == "mean"
        check_layers(loaded.model, self.layers, mean=mean)
        self.width = features_width(loaded.model, self.layers, mean=mean)
        self._tokenizer = loaded.tokenizer

    def encode(self, sequences: Sequence[str]) -> Tensor:
        """Token ids (B, L), padded at the end; on the model's device.

        Raises:
            AlphabetError: A sequence holds something that is no nucleotide.
        """
        rows = [
            self._tokenizer.encode(encode_bases(one, where=f"sequence {number}"))
            for number, one in enumerate(sequences)
        ]
        longest = max((row.size for row in rows), default=0)
        tokens = np.full((len(rows), longest), PAD_ID, dtype=np.int64)
        for number, row in enumerate(rows):
            tokens[number, : row.size] = row
        return torch.from_numpy(tokens).to(self.model.device)

    def forward(self, sequences: Sequence[str] | Tensor) -> Tensor:
        """Features (B, K), or (B, L, K) without pooling; zero where there is no real base.

        Args:
            sequences: DNA, or token ids (B, L) from `encode`.
        """
        tokens_BL = sequences if isinstance(sequences, Tensor) else self.encode(sequences)
        features = self.model.hidden_layers(tokens_BL, padding_mask(tokens_BL, PAD_ID), self.layers)
        features_BLK = joined_layers(features, mean=self.choices.layers == "mean")
        real = self._tokenizer.real_ids
        real_BL = (tokens_BL >= real.start) & (tokens_BL < real.stop)
        return self._pooled(features_BLK, real_BL)

    def _pooled(self, features_BLK: Tensor, real_BL: Tensor) -> Tensor:
        pool = self.choices.pool
        if pool == "none":
            return features_BLK * (real_BL[..., None])
        if pool == "mean":
            count_B1 = real_BL.sum(dim=1, keepdim=True).clamp_min(1)
            return (features_BLK * real_BL[..., None]).sum(dim=1) / count_B1
        some_B1 = real_BL.any(dim=1, keepdim=True)
        if pool == "max":
            largest_BK = features_BLK.masked_fill(~real_BL[..., None], -torch.inf).amax(dim=1)
            return largest_BK.where(some_B1, torch.zeros_like(largest_BK))
        place_B = real_BL.int().argmax(dim=1)
        if pool == "last":
            place_B = real_BL.shape[1] - 1 - real_BL.flip(1).int().argmax(dim=1)
        rows_B = torch.arange(len(features_BLK), device=features_BLK.device)
        return features_BLK[rows_B, place_B] * some_B1
