"""Trainable torch module around a model: sequences in, features with gradients out.

Shape letters: B batch, L length, K columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from genomeformer_cli.core.embedding.features import (
    check_layers,
    combine_layers,
    features_width,
)
from genomeformer_cli.core.embedding.options import AUTO, EmbedOptions
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.sequence import encode_bases


class EmbeddingModule(nn.Module):
    """Features of sequences, without windows and of one strand.

    Args:
        loaded: The model; its weights are shared, not copied.
        pool: `mean`, `max`, `first`, `last` over real bases, or `none`: every token.
        layers: Layers, as in `EmbedOptions`.

    Attributes:
        width: Output columns.

    Raises:
        ConfigError: The model does not support the options.
    """

    def __init__(self, loaded: LoadedModel, *, pool: str = "mean", layers: str = AUTO) -> None:
        super().__init__()
        options = EmbedOptions(pool=pool, layers=layers).resolve_layers(loaded.layers)  # type: ignore[arg-type]
        self.model = loaded.model
        self.options = options
        self.layers = options.layer_numbers(loaded.model.config.depth)
        mean = options.layers == "mean"
        check_layers(loaded.model, self.layers, mean=mean)
        self.width = features_width(loaded.model, self.layers, mean=mean)
        self._tokenizer = loaded.tokenizer

    def encode(self, sequences: Sequence[str]) -> Tensor:
        """Return token ids (B, L), padded at the end, on the model's device.

        Raises:
            AlphabetError: A sequence holds a letter that is not a nucleotide.
        """
        rows = [
            self._tokenizer.encode(encode_bases(sequence, where=f"sequence {number}"))
            for number, sequence in enumerate(sequences)
        ]
        longest = max((row.size for row in rows), default=0)
        tokens = np.full((len(rows), longest), self._tokenizer.pad_id, dtype=np.int64)
        for number, row in enumerate(rows):
            tokens[number, : row.size] = row
        return torch.from_numpy(tokens).to(self.model.device)

    def forward(self, sequences: Sequence[str] | Tensor) -> Tensor:
        """Return features (B, K), or (B, L, K) without pooling; zero without a real base.

        Args:
            sequences: DNA, or token ids (B, L) from `encode`.
        """
        tokens_BL = sequences if isinstance(sequences, Tensor) else self.encode(sequences)
        features = self.model.hidden_layers(
            tokens_BL, padding_mask(tokens_BL, self._tokenizer.pad_id), self.layers
        )
        features_BLK = combine_layers(features, mean=self.options.layers == "mean")
        is_real = torch.from_numpy(self._tokenizer.is_real).to(tokens_BL.device)
        real_BL = is_real[tokens_BL.long()]
        return self._pool(features_BLK, real_BL)

    def _pool(self, features_BLK: Tensor, real_BL: Tensor) -> Tensor:
        pool = self.options.pool
        if pool == "none":
            return features_BLK * (real_BL[..., None])
        if pool == "mean":
            count_B1 = real_BL.sum(dim=1, keepdim=True).clamp_min(1)
            return (features_BLK * real_BL[..., None]).sum(dim=1) / count_B1
        has_real_B1 = real_BL.any(dim=1, keepdim=True)
        if pool == "max":
            max_BK = features_BLK.masked_fill(~real_BL[..., None], -torch.inf).amax(dim=1)
            return max_BK.where(has_real_B1, torch.zeros_like(max_BK))
        position_B = real_BL.int().argmax(dim=1)
        if pool == "last":
            position_B = real_BL.shape[1] - 1 - real_BL.flip(1).int().argmax(dim=1)
        rows_B = torch.arange(len(features_BLK), device=features_BLK.device)
        return features_BLK[rows_B, position_B] * has_real_B1
