"""Some positions of a batch, where not all are wanted.

A masked model answers for the positions that were hidden; what its last block makes of the others
nobody asks.
Shape letters: B batch, L length, T chosen positions of all rows, M most of a row, E width, X
whatever follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class SelectedPositions:
    """Some positions of a batch: those that a result is wanted of.

    Attributes:
        index_T: Their indices into the flat (B L), row after row.
        batch: B.
        length: L.
        max_per_row: M, at least 1.
    """

    index_T: Tensor
    batch: int
    length: int
    max_per_row: int

    @classmethod
    def from_mask(cls, wanted_BL: Tensor) -> SelectedPositions:
        """Those at which it is true.

        On a GPU to count them is to wait for all that it has to do: they are counted here, before
        the model is run, and not again.
        """
        # One where there is none: products of nothing are a case of their own everywhere.
        most = max(int(wanted_BL.sum(dim=1).max()), 1)
        batch, length = wanted_BL.shape
        return cls(wanted_BL.flatten().nonzero().squeeze(1), batch, length, most)

    def gather(self, x_BLX: Tensor) -> Tensor:
        """Theirs alone, (T, X)."""
        return x_BLX.flatten(0, 1).index_select(0, self.index_T)

    def pad_rows(self, x_BLE: Tensor) -> Tensor:
        """The same row by row, (B, M, E), M being the most of a row; the rest means nothing."""
        first_B1 = self.length * torch.arange(self.batch, device=self.index_T.device)[:, None]
        taken = x_BLE.flatten(0, 1).index_select(0, (first_B1 + self.indices).flatten())
        return taken.view(*self.indices.shape, -1)

    def flatten(self, x_BMX: Tensor) -> Tensor:
        """Back from there, (T, X)."""
        row_T, number_T = self._numbers
        return x_BMX.flatten(0, 1).index_select(0, row_T * x_BMX.shape[1] + number_T)

    @cached_property
    def indices(self) -> Tensor:
        """Where in its row each stands, (B, M)."""
        row_T, number_T = self._numbers
        places_BM = self.index_T.new_zeros(self.batch, self.max_per_row)
        places_BM[row_T, number_T] = self.index_T % self.length
        return places_BM

    @cached_property
    def _numbers(self) -> tuple[Tensor, Tensor]:
        """The row of each, and how many of it come before."""
        row_T = self.index_T // self.length
        first_B = torch.searchsorted(row_T, torch.arange(self.batch, device=row_T.device))
        return row_T, torch.arange(len(row_T), device=row_T.device) - first_B[row_T]
