"""Segment means against torch's own way of splitting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.landmarks import filled_segments, segment_means


def draw(batch: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, 2, length, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 40])
def test_a_segment_is_a_part_of_the_split_and_empty_ones_are_zero(length: int) -> None:
    x = draw(2, length)
    found = segment_means(x, None, 8)
    parts = x.tensor_split(8, dim=2)
    for segment, part in enumerate(parts):
        wanted = part.mean(dim=2) if part.shape[2] else torch.zeros(2, 2, 3, dtype=torch.float64)
        torch.testing.assert_close(found[:, :, segment], wanted)


def test_padding_anywhere_is_left_out() -> None:
    x = draw(2, 10)
    mask = torch.tensor([[False, True] * 5, [True] * 7 + [False] * 3])
    found = segment_means(x.masked_fill(~mask[:, None, :, None], torch.nan), mask, 3)
    for row in range(2):
        alone = segment_means(x[row : row + 1, :, mask[row]], None, 3)
        assert torch.equal(found[row : row + 1], alone)


def test_filled_segments_are_as_many_as_positions_and_never_none() -> None:
    mask = torch.tensor([[True, False, True], [False] * 3, [True] * 3])
    wanted = [[True, True, False], [True, False, False], [True, True, True]]
    assert filled_segments(mask, 3).tolist() == wanted


def test_half_precision_is_summed_in_single() -> None:
    x = torch.full((1, 1, 4096, 1), 1.001, dtype=torch.bfloat16)
    means = segment_means(x, None, 1)
    assert means.dtype == torch.float32
    assert abs(float(means) - float(x[0, 0, 0, 0])) < 1e-6
