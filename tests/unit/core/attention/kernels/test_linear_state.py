"""Sums over tokens are the same in pieces."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.kernels.linear_state import add_over_tokens


@pytest.mark.parametrize("piece", [1, 4, 7, 12, 30, None])
@pytest.mark.parametrize("length", [1, 12, 29])
def test_a_sum_over_tokens_is_the_same_in_pieces(length: int, piece: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    a_RTF, b_RTD = (
        torch.randn(3, length, width, dtype=torch.float64, generator=generator) for width in (5, 2)
    )
    before_RFD = torch.randn(3, 5, 2, dtype=torch.float64, generator=generator)
    sum_RFD = before_RFD.clone()
    add_over_tokens(sum_RFD, a_RTF, b_RTD, piece=piece)
    torch.testing.assert_close(sum_RFD, before_RFD + a_RTF.mT @ b_RTD)
