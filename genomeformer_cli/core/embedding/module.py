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
from genomeformer_cli.core.embedding.pooling import (
    Places,
    base_of_token,
    num_parts,
    pool_rows,
    words_of,
)
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.sequence import encode_bases


class EmbeddingModule(nn.Module):
    """Features of sequences, without windows and of one strand.

    Args:
        loaded: The model; its weights are shared, not copied.
        pool: Pooling, as in `EmbedOptions`; `none`: every token.
        layers: Layers, as in `EmbedOptions`.

    Attributes:
        width: Output columns.

    Raises:
        ConfigError: The model does not support the options.
    """

    def __init__(self, loaded: LoadedModel, *, pool: Pool = AUTO, layers: str = AUTO) -> None:
        super().__init__()
        options = EmbedOptions(pool=pool, layers=layers).resolve(loaded)
        self.model = loaded.model
        self.options = options
        self.layers = options.layer_numbers(loaded.model.config.depth)
        mean = options.layers == "mean"
        check_layers(loaded.model, self.layers, mean=mean)
        features = features_width(loaded.model, self.layers, mean=mean)
        self.width = num_parts(options.pool) * features
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
        if not tokens_BL.numel():
            shape = tokens_BL.shape if self.options.per_base else tokens_BL.shape[:1]
            return torch.zeros(*shape, self.width, device=tokens_BL.device)
        mask_BL = padding_mask(tokens_BL, self._tokenizer.pad_id)
        features = self.model.hidden_layers(tokens_BL, mask_BL, self.layers)
        features_BLK = combine_layers(features, mean=self.options.layers == "mean")
        is_real = torch.from_numpy(self._tokenizer.is_real).to(tokens_BL.device)
        real_BL = is_real[tokens_BL.long()]
        if self.options.per_base:
            return features_BLK * real_BL[..., None]
        size_B = (tokens_BL != self._tokenizer.pad_id).sum(dim=1).cpu().numpy()
        words = None
        if self.options.pool == "words":
            bases = base_of_token(self._tokenizer)[tokens_BL.cpu().numpy()]
            words = torch.from_numpy(np.stack([words_of(row) for row in bases]))
        places = Places(np.zeros_like(size_B), size_B, words)
        return pool_rows(features_BLK, real_BL, self.options.pool, places)
