"""Where the positions of a batch stand: padding, documents, rotary positions; made once a batch.

Rows may hold several documents (contigs packed end to end), which never see each other and each of
which starts at position 0. A mechanism knows nothing of them: it is given one row a document.
Shape letters: B batch, L length, N documents of all rows or of a group, M longest of them (or some
positions of a row), R rotated pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LengthBucket:
    """Documents of like length, one a row.

    Attributes:
        index_NM: Index into the flat (B L) of every position of every document.
        mask_NM: True where a document has a position; None if all have the same length.
    """

    index_NM: Tensor
    mask_NM: Tensor | None

    def gather(self, x_BHLD: Tensor) -> Tensor:
        """One row a document, (N, H, M, D); what stands beyond its end means nothing."""
        batch, heads, length, width = x_BHLD.shape
        flat = x_BHLD.transpose(1, 2).reshape(batch * length, heads, width)
        taken = flat.index_select(0, self.index_NM.flatten())
        return taken.view(*self.index_NM.shape, heads, width).transpose(1, 2)


@dataclass(frozen=True)
class Packing:
    """Several documents a row, and where each lies.

    Attributes:
        buckets: The documents, those of like length together, so that little of it is padding.
        inverse_BL: Index of every position of the batch into the concatenated buckets;
            arbitrary at padding.
    """

    buckets: tuple[LengthBucket, ...]
    inverse_BL: Tensor

    def scatter(self, parts_NHMD: Sequence[Tensor]) -> Tensor:
        """Back to the rows of the batch, (B, H, L, D), from those of each group."""
        flat = [part.transpose(1, 2).flatten(0, 1) for part in parts_NHMD]
        taken = torch.cat(flat).index_select(0, self.inverse_BL.flatten())
        return taken.view(*self.inverse_BL.shape, *taken.shape[1:]).transpose(1, 2)


@dataclass(frozen=True)
class Layout:
    """Padding, documents and rotary positions of a batch or of a stretch of it.

    Attributes:
        mask_BL: True at real positions; None if all are.
        cos: Cosines of the rotary angles, (L, R) or (B, 1, L, R).
        sin: Their sines.
        documents_BL: Number of the document of every position, negative at padding; None if no
            row holds more than one.
        packing: Where the documents lie; None likewise.
    """

    mask_BL: Tensor | None
    cos: Tensor
    sin: Tensor
    documents_BL: Tensor | None = None
    packing: Packing | None = None

    def slice(self, start: int, stop: int) -> Layout:
        """The layout of a stretch of rows that hold one document each."""
        assert self.packing is None
        return Layout(
            mask_BL=None if self.mask_BL is None else self.mask_BL[:, start:stop],
            cos=self.cos[..., start:stop, :],
            sin=self.sin[..., start:stop, :],
        )

    def angles_at(self, places_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, 1, M, R) at some places of rows that hold one document each."""
        assert self.packing is None
        return self.cos[places_BM][:, None], self.sin[places_BM][:, None]


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """Rotary positions: Su et al. 2021, "RoFormer", equation 15.

    Attributes:
        head_width: Features of a head, even.
        base: Of the wavelengths, which run from 2 pi to 2 pi base positions.
    """

    head_width: int
    base: float

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (..., R) at positions, exact however far along a chromosome they are."""
        powers_R = torch.arange(0, self.head_width, 2, dtype=torch.float64, device=positions.device)
        angles = positions[..., None].double() * self.base ** (-powers_R / self.head_width)
        return angles.cos().float(), angles.sin().float()

    def layout(
        self, length: int, mask_BL: Tensor | None, *, device: torch.device, start: int = 0
    ) -> Layout:
        """Of rows that hold one document each, from its position `start` on."""
        cos_LR, sin_LR = self.angles(torch.arange(start, start + length, device=device))
        return Layout(mask_BL=mask_BL, cos=cos_LR, sin=sin_LR)

    def packed_layout(self, documents_BL: Tensor) -> Layout:
        """Of rows of documents, each one stretch; negative numbers are padding."""
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
    """Where each document lies, and each position's place in its document (B, L)."""
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
    begin_N, taken = torch.zeros_like(sizes_N), 0
    for number in sorted({*class_N.tolist()} - {-1}):
        members = (class_N == number).nonzero().squeeze(1)
        group = _alike(first[members], sizes_N[members])
        groups.append(group)
        longest = group.index_NM.shape[1]
        rows = torch.arange(len(members), device=documents_BL.device)
        begin_N[members] = taken + rows * longest
        taken += group.index_NM.numel()
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
    """Features (B, L, .) of rows of documents, from a function of rows that hold one each."""
    packing, _ = pack(documents_BL)
    flat = tokens_BL.flatten()
    groups = [hidden(flat[group.index_NM], group.mask_NM)[:, None] for group in packing.buckets]
    return packing.scatter(groups)[:, 0]
