"""Selected positions of a batch, for results that are needed at some positions only.

A masked model is evaluated at the hidden positions; its last block need not compute the others.
Shape letters: B batch, L length, T selected positions of all rows, M maximum per row, E width, X
any trailing dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class SelectedPositions:
    """Selected positions of a batch (B, L)."""

    index_T: Tensor  # Flat indices into (B, L), row after row.
    batch: int  # Number of rows, B.
    length: int  # Length of the rows, L.
    max_per_row: int  # Largest number of selected positions in a row, at least 1, M.

    @classmethod
    def from_mask(cls, wanted_BL: Tensor) -> SelectedPositions:
        """Select the positions where the mask is true.

        Counting synchronises a GPU, so that it is done once, before the forward pass.
        """
        # One where there is none: products of nothing are a case of their own everywhere.
        most = max(int(wanted_BL.sum(dim=1).max()), 1)
        batch, length = wanted_BL.shape
        return cls(wanted_BL.flatten().nonzero().squeeze(1), batch, length, most)

    def gather(self, x_BLX: Tensor) -> Tensor:
        """Gather the selected positions, shape (T, X)."""
        return x_BLX.flatten(0, 1).index_select(0, self.index_T)

    def pad_rows(self, x_BLE: Tensor) -> Tensor:
        """Gather the selected positions row by row, (B, M, E); surplus is undefined."""
        first_B1 = self.length * torch.arange(self.batch, device=self.index_T.device)[:, None]
        rows = x_BLE.flatten(0, 1).index_select(0, (first_B1 + self.indices).flatten())
        return rows.view(*self.indices.shape, -1)

    def flatten(self, x_BMX: Tensor) -> Tensor:
        """Undo `pad_rows`: return shape (T, X) from (B, M, X)."""
        row_T, number_T = self._numbers
        return x_BMX.flatten(0, 1).index_select(0, row_T * x_BMX.shape[1] + number_T)

    @cached_property
    def indices(self) -> Tensor:
        """Index within its row of each selected position, (B, M)."""
        row_T, number_T = self._numbers
        places_BM = self.index_T.new_zeros(self.batch, self.max_per_row)
        places_BM[row_T, number_T] = self.index_T % self.length
        return places_BM

    @cached_property
    def _numbers(self) -> tuple[Tensor, Tensor]:
        """Row of each selected position, and its rank among those of the row."""
        row_T = self.index_T // self.length
        first_B = torch.searchsorted(row_T, torch.arange(self.batch, device=row_T.device))
        return row_T, torch.arange(len(row_T), device=row_T.device) - first_B[row_T]
