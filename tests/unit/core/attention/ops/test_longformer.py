"""Longformer attention against the L x L matrix, and beside padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels import key_tiles as windows
from genomeformer_cli.core.attention.ops.longformer import (
    LongformerAttention,
    longformer_attention,
    longformer_attention_reference,
)
from genomeformer_cli.core.errors import ConfigError
from tests.attention_cases import (
    assert_a_row_is_the_same_alone,
    assert_an_empty_row_is_finite,
    assert_padding_is_out_of_reach,
    assert_same,
    draw,
    holes,
    real_output_and_gradients,
    right_padding,
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and tiles so small that short rows have many."""
    monkeypatch.setattr(windows, "BLOCK", 4)
    monkeypatch.setitem(windows.TILE_SCORES, "cpu", 100)


@pytest.mark.parametrize("masking", ["none", "right", "holes"])
@pytest.mark.parametrize(
    ("length", "window", "num_global"),
    [(1, 1, 1), (1, 9, 3), (2, 1, 1), (7, 3, 2), (23, 2, 1), (23, 5, 6), (31, 1, 40), (40, 7, 3)],
)
def test_values_and_gradients_are_those_of_the_matrix(
    length: int, window: int, num_global: int, masking: str
) -> None:
    mask = {"none": None, "right": right_padding(2, length), "holes": holes(2, length)}[masking]
    qkv = draw(length)

    def ours(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return longformer_attention(q, k, v, mask, window=window, num_global=num_global)

    def matrix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return longformer_attention_reference(q, k, v, mask, window=window, num_global=num_global)

    assert_same(
        real_output_and_gradients(ours, qkv, mask), real_output_and_gradients(matrix, qkv, mask)
    )


def test_padding() -> None:
    mechanism = LongformerAttention(window=3, num_global=2)
    assert_padding_is_out_of_reach(mechanism, 21)
    assert_an_empty_row_is_finite(mechanism, 21)
    assert_a_row_is_the_same_alone(mechanism, 21)


def test_fewer_real_positions_than_global_ones() -> None:
    mechanism = LongformerAttention(window=2, num_global=5)
    mask = torch.zeros(2, 21, dtype=torch.bool)
    mask[0, [3, 19]] = True
    mask[1, 20] = True
    qkv = draw(21)
    q, k, v = (x[:1, :, [3, 19]] for x in qkv)
    together = mechanism(*qkv, mask)
    assert_same((together[:1, :, [3, 19]],), (mechanism(q, k, v, None),))
    assert_same((together[1, :, 20],), (qkv[2][1, :, 20],))


def test_scores_stay_float32_under_autocast() -> None:
    mechanism = LongformerAttention(window=3, num_global=2)
    q, k, v = (x.detach().float() for x in draw(23))
    wanted = mechanism(q, k, v, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mechanism(q, k, v, None), wanted)


def test_invalid_requests_are_refused() -> None:
    for window, num_global in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError):
            LongformerAttention(window=window, num_global=num_global)
