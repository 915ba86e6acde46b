"""Padding, documents and rotary positions of a batch, computed once per batch.

A row may hold several documents (concatenated contigs), which do not attend to each other and each
of which starts at position 0. A mechanism receives one document per row.
Shape letters: B batch, L length, N documents of all rows or of a bucket, M longest of them (or some
positions of a row), R rotated pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LengthBucket:
    """Documents of similar length, one per row."""

    index_NM: Tensor  # Flat index into (B, L) of every position of every document.
    mask_NM: Tensor | None  # True where a document has a position; None if all lengths are equal.

    def gather(self, x_BHLD: Tensor) -> Tensor:
        """Return one document per row, (N, H, M, D); undefined beyond the end of a document."""
        batch, heads, length, width = x_BHLD.shape
        flat = x_BHLD.transpose(1, 2).reshape(batch * length, heads, width)
        rows = flat.index_select(0, self.index_NM.flatten())
        return rows.view(*self.index_NM.shape, heads, width).transpose(1, 2)


@dataclass(frozen=True)
class Packing:
    """Rows with several documents, and the location of each document."""

    buckets: tuple[LengthBucket, ...]  # Documents grouped by length, which limits padding.
    # Index of every position of the batch into the concatenated buckets; arbitrary at padding.
    inverse_BL: Tensor

    def scatter(self, parts_NHMD: Sequence[Tensor]) -> Tensor:
        """Return the rows of the batch, (B, H, L, D), from those of the buckets."""
        flat = [part.transpose(1, 2).flatten(0, 1) for part in parts_NHMD]
        rows = torch.cat(flat).index_select(0, self.inverse_BL.flatten())
        return rows.view(*self.inverse_BL.shape, *rows.shape[1:]).transpose(1, 2)


@dataclass(frozen=True)
class Layout:
    """Padding, documents and rotary positions of a batch or of a slice of it."""

    mask_BL: Tensor | None  # True at real positions; None if all are real.
    cos: Tensor  # Cosines of the rotary angles, (L, R) or (B, 1, L, R).
    sin: Tensor  # Sines of the rotary angles.
    # Document number of every position, negative at padding; None if no row holds more than one
    # document.
    documents_BL: Tensor | None = None
    packing: Packing | None = None  # Location of the documents; None if no row holds several.

    def slice(self, start: int, stop: int) -> Layout:
        """Return the layout of the positions `start` to `stop` of rows with one document each."""
        assert self.packing is None
        return Layout(
            mask_BL=None if self.mask_BL is None else self.mask_BL[:, start:stop],
            cos=self.cos[..., start:stop, :],
            sin=self.sin[..., start:stop, :],
        )

    def angles_at(self, places_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (B, 1, M, R) at positions of rows with one document each."""
        assert self.packing is None
        return self.cos[places_BM][:, None], self.sin[places_BM][:, None]


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """Rotary position embedding (Su et al. 2021, "RoFormer", equation 15)."""

    head_width: int  # Features per head, even.
    base: float  # Base of the wavelengths, which range from 2 pi to 2 pi base positions.

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine (..., R), exact at any position of a chromosome."""
        powers_R = torch.arange(0, self.head_width, 2, dtype=torch.float64, device=positions.device)
        angles = positions[..., None].double() * self.base ** (-powers_R / self.head_width)
        return angles.cos().float(), angles.sin().float()

    def layout(
        self, length: int, mask_BL: Tensor | None, *, device: torch.device, start: int = 0
    ) -> Layout:
        """Return the layout of rows with one document each, from position `start` on."""
        cos_LR, sin_LR = self.angles(torch.arange(start, start + length, device=device))
        return Layout(mask_BL=mask_BL, cos=cos_LR, sin=sin_LR)

    def packed_layout(self, documents_BL: Tensor) -> Layout:
        """Return the layout of packed rows; negative document numbers are padding."""
        packing, positions_BL = pack(documents_BL)
        cos_BLR, sin_BLR = self.angles(positions_BL)
        mask_BL = documents_BL >= 0
        return Layout(
            mask_BL=None if bool(mask_BL.all()) else mask_BL,
            cos=cos_BLR[:, None],
            sin=sin_BLR[:, None],
            documents_BL=documents_BL,
            packing=packing,
        )


def pack(documents_BL: Tensor) -> tuple[Packing, Tensor]:
    """Return the location of each document, and each position's index in its document (B, L)."""
    batch, length = documents_BL.shape
    starts_BL = torch.ones_like(documents_BL, dtype=torch.bool)
    starts_BL[:, 1:] = documents_BL[:, 1:] != documents_BL[:, :-1]
    document = starts_BL.flatten().cumsum(0) - 1
    first = starts_BL.flatten().nonzero().squeeze(1)
    place = torch.arange(batch * length, device=documents_BL.device) - first[document]
    sizes_N = torch.bincount(document)
    real_N = documents_BL.flatten()[first] >= 0
    # Those of more than half the length of the longest together, of more than a quarter, ...
    class_N = torch.where(real_N, (sizes_N.max() / sizes_N).log2().floor().long(), -1)
    groups: list[LengthBucket] = []
    begin_N, num_rows = torch.zeros_like(sizes_N), 0
    for number in sorted({*class_N.tolist()} - {-1}):
        members = (class_N == number).nonzero().squeeze(1)
        group = _alike(first[members], sizes_N[members])
        groups.append(group)
        longest = group.index_NM.shape[1]
        rows = torch.arange(len(members), device=documents_BL.device)
        begin_N[members] = num_rows + rows * longest
        num_rows += group.index_NM.numel()
    back = (begin_N[document] + place).where(real_N[document], 0)
    packing = Packing(buckets=tuple(groups), inverse_BL=back.view(batch, length))
    return packing, place.view(batch, length)


def _alike(first_N: Tensor, sizes_N: Tensor) -> LengthBucket:
    longest = int(sizes_N.max())
    column_M = torch.arange(longest, device=first_N.device)
    mask_NM = column_M < sizes_N[:, None]
    take_NM = first_N[:, None] + torch.minimum(column_M, sizes_N[:, None] - 1)
    return LengthBucket(index_NM=take_NM, mask_NM=None if bool(mask_NM.all()) else mask_NM)


def each_document(
    hidden: Callable[[Tensor, Tensor | None], Tensor], tokens_BL: Tensor, documents_BL: Tensor
) -> Tensor:
    """Return features (B, L, .) of packed rows from a function of rows with one document each."""
    packing, _ = pack(documents_BL)
    flat = tokens_BL.flatten()
    groups = [hidden(flat[group.index_NM], group.mask_NM)[:, None] for group in packing.buckets]
    return packing.scatter(groups)[:, 0]
