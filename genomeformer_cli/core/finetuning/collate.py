"""Collation of base codes into tensors: strands, tokens, windows and padding.

A sequence longer than the window becomes several windows, as in `embed`. The head reads positions
as one flat list with the row of each, so that padding, windows and lengths do not affect it.
Shape letters: B rows, W windows, L length, P positions that count, N bases, K pooled
features, D distinct sequences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.finetuning.motif_scanner import PADDING, BaseRows
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import Ids, Tokenizer


@dataclass(frozen=True, kw_only=True)
class CollatedBatch:
    """Rows as tensors for a model and a head."""

    tokens_WL: Tensor  # Token ids of the windows.
    mask_WL: Tensor | None  # False at padding; None without padding.
    flat_index_P: Tensor  # Index of each position in the flattened windows.
    row_P: Tensor  # Row of each position.
    relative_position_P: Tensor  # Position within the row, from 0 to 1.
    # For labels of bases, the position of every base; None: position i is base i.
    base_index_N: Tensor | None
    num_rows: int  # B.
    num_bases: int  # Bases of all rows.
    codes_BL: Tensor | None = None  # Base codes, for a motif scanner; 4 is N, 5 is padding.
    # Features of the rows from before training, pooled; None: the model computes them.
    pooled_BK: Tensor | None = None
    # Shares of A C G T (B, 4, L) that replace one-hot bases, for gradients by base.
    shares_BRL: Tensor | None = None

    @property
    def base_rows(self) -> BaseRows:
        """Bases of the rows, for a motif scanner."""
        assert self.codes_BL is not None
        rows = BaseRows.of_codes(self.codes_BL)
        return rows if self.shares_BRL is None else replace(rows, bases_BRL=self.shares_BRL)

    @property
    def is_full(self) -> bool:
        """True if every position of every window counts; positions are then in order."""
        return self.flat_index_P.numel() == self.tokens_WL.numel()

    @property
    def is_rectangular(self) -> bool:
        """True if every row is one window and all rows have the same length."""
        return self.is_full and len(self.tokens_WL) == self.num_rows

    def to(self, device: torch.device) -> CollatedBatch:
        """Return a copy on a device; from pinned memory the transfer is asynchronous."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> CollatedBatch:
        """Return a copy in pinned memory."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> CollatedBatch:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        mapped: dict[str, Any] = {name: function(tensor) for name, tensor in tensors.items()}
        return replace(self, **mapped)


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """Pooled features of sequences, by the digest of their bases."""

    features_DK: Tensor
    index: dict[bytes, int]

    def attach(self, batch: CollatedBatch, rows: Sequence[Codes]) -> CollatedBatch:
        """Return a batch with the features of its rows, each in the direction in which it is read.

        Args:
            batch: Collated rows.
            rows: Bases of the rows.
        """
        places = torch.tensor([self.index[digest(row)] for row in rows])
        return replace(batch, pooled_BK=self.features_DK[places])


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Collator of rows into batches."""

    tokenizer: Tokenizer  # Tokenizer of the model.
    window: int  # Maximum window, in tokens.
    per_base: bool  # True if every base has a label, so that N counts too.
    with_codes: bool = False  # Collate base codes as well, for a motif scanner.

    def collate(
        self, rows: Sequence[Codes], *, reverse: Sequence[bool] | None = None
    ) -> CollatedBatch:
        """Collate rows into one batch.

        Args:
            rows: Base codes, each with a real base.
            reverse: Rows that are reverse-complemented.
        """
        codes = [
            reverse_complement_codes(row) if is_reversed else row
            for row, is_reversed in zip(rows, reverse or [False] * len(rows), strict=True)
        ]
        ids = [self.tokenizer.encode(row) for row in codes]
        lengths = np.array([row.size for row in ids])
        windows = cut_windows(lengths.tolist(), self.window)
        pad_id = self.tokenizer.pad_id
        tokens_WL = np.full((len(windows), int(windows.length.max())), pad_id, dtype=np.int64)
        for number in range(len(windows)):
            start, length = windows.start[number], windows.length[number]
            tokens_WL[number, :length] = ids[windows.row[number]][start : start + length]
        is_counted_WL = tokens_WL != pad_id
        if not self.per_base:
            is_counted_WL = self.tokenizer.is_real[tokens_WL]
        window_P, column_P = np.nonzero(is_counted_WL)
        row_P = windows.row[window_P]
        along_P = (windows.start[window_P] + column_P + 0.5) / lengths[row_P]
        tokens = torch.from_numpy(tokens_WL)
        return CollatedBatch(
            tokens_WL=tokens,
            mask_WL=padding_mask(tokens, pad_id),
            flat_index_P=torch.from_numpy(window_P * tokens_WL.shape[1] + column_P),
            row_P=torch.from_numpy(row_P),
            relative_position_P=torch.from_numpy(along_P.astype(np.float32)),
            base_index_N=self._base_positions(codes, ids) if self.per_base else None,
            num_rows=len(rows),
            num_bases=sum(row.size for row in codes),
            codes_BL=_padded_codes(codes) if self.with_codes else None,
        )

    def counted_places(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Return the positions of a row that count, in order."""
        if self.per_base:
            return np.arange(codes.size)
        return np.flatnonzero(self.tokenizer.is_real[self.tokenizer.encode(codes)])

    def _base_positions(self, codes: Sequence[Codes], ids: Sequence[Ids]) -> Tensor | None:
        """Return the position of every base: the last token that begins at or before it."""
        if self.tokenizer.one_token_per_base:
            return None
        positions, num_previous = [], 0
        for row, tokens in zip(codes, ids, strict=True):
            first_bases = self.tokenizer.firsts(row, tokens)
            token_of_base = np.searchsorted(first_bases, np.arange(row.size), side="right") - 1
            positions.append(token_of_base.clip(0) + num_previous)
            num_previous += tokens.size
        return torch.from_numpy(np.concatenate(positions))


def _padded_codes(rows: Sequence[Codes]) -> Tensor:
    codes_BL = np.full((len(rows), max(row.size for row in rows)), PADDING, dtype=np.uint8)
    for index, row in enumerate(rows):
        codes_BL[index, : row.size] = row
    return torch.from_numpy(codes_BL)


def digest(codes: Codes) -> bytes:
    """Return a digest of bases."""
    return hashlib.blake2b(np.ascontiguousarray(codes).data, digest_size=16).digest()
