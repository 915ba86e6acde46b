"""Small convolutional network that scans rows for motifs.

The scanner of `motif_scanner`, a hidden layer and outputs, with dropout. It is a baseline, and a
part of the head of a stacked model: see `stacking`.
Shape letters: N, B rows, L length, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from genomeformer_cli.core.embedding.windows import batch_windows
from genomeformer_cli.core.finetuning.motif_scanner import (
    PADDING,
    BaseRows,
    MotifBranch,
    MotifOptions,
)
from genomeformer_cli.core.sequence import Codes

_DROPOUT = 0.3
_BASES_AT_ONCE = 1 << 13


class MotifNetwork(nn.Module):
    """Motif scanner, a hidden layer and outputs, with dropout.

    Args:
        num_outputs: C.
        options: Filters, strands and length.
        seed: Seed of the initial weights.
    """

    def __init__(self, num_outputs: int, options: MotifOptions, *, seed: int) -> None:
        super().__init__()
        self.branch = MotifBranch(options, dropout=_DROPOUT, seed=seed)
        self.drop = nn.Dropout(_DROPOUT)
        self.out = nn.Linear(self.branch.width, num_outputs)

    def forward(self, rows: BaseRows) -> Tensor:
        """Return the outputs (B, C) of rows of bases."""
        outputs_BC: Tensor = self.out(self.drop(self.branch(rows)))
        return outputs_BC

    @torch.no_grad()
    def outputs(self, codes: Sequence[Codes]) -> Tensor:
        """Return the outputs (N, C) of base codes, on the CPU, without dropout.

        Args:
            codes: Base codes, each with at least one.
        """
        was_training, device = self.training, self.out.weight.device
        self.eval()
        lengths_N = np.array([row.size for row in codes])
        outputs_NC = torch.empty(len(codes), self.out.out_features)
        for rows_B in batch_windows(lengths_N, _BASES_AT_ONCE):
            batch = BaseRows.of_codes(pad_codes([codes[row] for row in rows_B]).to(device))
            outputs_NC[torch.from_numpy(rows_B)] = self(batch).cpu()
        self.train(was_training)
        return outputs_NC


def pad_codes(codes: Sequence[Codes]) -> Tensor:
    """Return base codes (B, L), padded at their end to the longest."""
    codes_BL = np.full((len(codes), max(row.size for row in codes)), PADDING, dtype=np.int64)
    for row, row_codes in enumerate(codes):
        codes_BL[row, : row_codes.size] = row_codes
    return torch.from_numpy(codes_BL)
