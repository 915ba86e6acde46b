"""From base codes to tensors: strands, tokens, windows, padding, and which position is whose.

A sequence longer than the window is several windows, as `embed` cuts them. A head sees positions
in one long list, each with the row it belongs to, so padding, windows and lengths are no matter.
Shape letters: B rows, W windows, L length, P positions that count, N bases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.sequence import Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Ids, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Collated:
    """Some rows as a model and a head take them.

    Attributes:
        tokens_WL: Token ids of the windows.
        mask_WL: False at padding; None if there is none.
        place_P: Where each position stands in the flattened windows.
        row_P: Its row.
        along_P: How far along its row it stands, from 0 to 1.
        base_N: For answers about bases, the position of every base; None: position i is base i.
        num_rows: B.
        num_bases: Of all rows.
    """

    tokens_WL: Tensor
    mask_WL: Tensor | None
    place_P: Tensor
    row_P: Tensor
    along_P: Tensor
    base_N: Tensor | None
    num_rows: int
    num_bases: int

    @property
    def is_full(self) -> bool:
        """Whether every position of every window counts: then they stand in their order."""
        return self.place_P.numel() == self.tokens_WL.numel()

    @property
    def is_even(self) -> bool:
        """Whether every row is one window, and as long as the others."""
        return self.is_full and len(self.tokens_WL) == self.num_rows

    def to(self, device: torch.device) -> Collated:
        """The same on a device; from pinned memory, without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Collated:
        """The same in memory that a GPU can read by itself."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Collated:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Packs rows.

    Attributes:
        tokenizer: Of the model.
        window: Longest stretch, in tokens.
        per_base: Whether every base has an answer: then N counts too.
    """

    tokenizer: Tokenizer
    window: int
    per_base: bool

    def pack(self, rows: Sequence[Codes], *, reverse: Sequence[bool] | None = None) -> Collated:
        """Put rows together.

        Args:
            rows: Base codes, each with a real base.
            reverse: Rows that are read from the other strand.
        """
        codes = [
            reverse_complement_codes(row) if turned else row
            for row, turned in zip(rows, reverse or [False] * len(rows), strict=True)
        ]
        ids = [self.tokenizer.encode(row) for row in codes]
        lengths = np.array([row.size for row in ids])
        windows = cut_windows(lengths.tolist(), self.window)
        tokens_WL = np.full((len(windows), int(windows.length.max())), PAD_ID, dtype=np.int64)
        for number in range(len(windows)):
            start, length = windows.start[number], windows.length[number]
            tokens_WL[number, :length] = ids[windows.row[number]][start : start + length]
        real = self.tokenizer.real_ids
        counts_WL = tokens_WL != PAD_ID
        if not self.per_base:
            counts_WL = (tokens_WL >= real.start) & (tokens_WL < real.stop)
        window_P, column_P = np.nonzero(counts_WL)
        row_P = windows.row[window_P]
        along_P = (windows.start[window_P] + column_P + 0.5) / lengths[row_P]
        tokens = torch.from_numpy(tokens_WL)
        return Collated(
            tokens_WL=tokens,
            mask_WL=padding_mask(tokens, PAD_ID),
            place_P=torch.from_numpy(window_P * tokens_WL.shape[1] + column_P),
            row_P=torch.from_numpy(row_P),
            along_P=torch.from_numpy(along_P.astype(np.float32)),
            base_N=self._bases(codes, ids) if self.per_base else None,
            num_rows=len(rows),
            num_bases=sum(row.size for row in codes),
        )

    def _bases(self, codes: Sequence[Codes], ids: Sequence[Ids]) -> Tensor | None:
        """A base is of the latest token that begins at it or before it."""
        if self.tokenizer.one_token_per_base:
            return None
        places, before = [], 0
        for row, tokens in zip(codes, ids, strict=True):
            firsts = self.tokenizer.firsts(row, tokens)
            own = np.searchsorted(firsts, np.arange(row.size), side="right") - 1
            places.append(own.clip(0) + before)
            before += tokens.size
        return torch.from_numpy(np.concatenate(places))
