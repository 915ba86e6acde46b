"""Reformer attention against the matrix of how often a query sees a key, and beside padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels import key_tiles as windows
from genomeformer_cli.core.attention.kernels import lsh_attention as chunks
from genomeformer_cli.core.attention.kernels.lsh import random_rotations
from genomeformer_cli.core.attention.ops.reformer import (
    ReformerAttention,
    reformer_attention,
    reformer_attention_reference,
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
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles so small that short rows have many."""
    monkeypatch.setitem(windows.TILE_SCORES, "cpu", 100)
    monkeypatch.setitem(chunks.SORTED_NUMBERS, "cpu", 900)


def rotations(num_rounds: int, num_buckets: int = 16) -> Tensor:
    return random_rotations(
        num_rounds, 8, num_buckets, generator=torch.Generator().manual_seed(num_rounds)
    )


def build(
    *, num_rounds: int = 2, chunk: int = 4, causal: bool = False, context: int = 40
) -> ReformerAttention:
    return ReformerAttention(
        num_rounds=num_rounds,
        chunk=chunk,
        head_width=8,
        causal=causal,
        generator=torch.Generator().manual_seed(0),
        context=context,
    )


def without_keys(
    module: ReformerAttention, q: Tensor, v: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return the inputs of the module; the keys are NaN, because they are not used."""
    return module(q, torch.full_like(q, torch.nan), v, mask)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masking", ["none", "right", "holes"])
@pytest.mark.parametrize("num_rounds", [1, 3])
@pytest.mark.parametrize(("length", "chunk"), [(1, 4), (4, 4), (5, 4), (9, 2), (40, 4), (37, 4)])
def test_values_and_gradients_are_those_of_the_matrix(
    length: int, chunk: int, num_rounds: int, masking: str, causal: bool
) -> None:
    mask = {"none": None, "right": right_padding(2, length), "holes": holes(2, length)}[masking]
    rotations_RDF, qkv = rotations(num_rounds), draw(length)

    def ours(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return reformer_attention(q, v, mask, rotations_RDF, chunk=chunk, causal=causal)

    def matrix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return reformer_attention_reference(q, v, mask, rotations_RDF, chunk=chunk, causal=causal)

    # A query's score with itself is -10,000, of which float64 holds the twelfth decimal.
    assert_same(
        real_output_and_gradients(ours, qkv, mask),
        real_output_and_gradients(matrix, qkv, mask),
        relative=1e-11,
    )


def test_tiles_of_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    module, qkv, mask = build(), draw(37), holes(2, 37)
    one_by_one = real_output_and_gradients(module, qkv, mask)
    monkeypatch.setitem(windows.TILE_SCORES, "cpu", 1 << 18)
    monkeypatch.setitem(chunks.SORTED_NUMBERS, "cpu", 1 << 19)
    assert_same(real_output_and_gradients(module, qkv, mask), one_by_one)


@pytest.mark.parametrize("causal", [False, True])
def test_padding(causal: bool) -> None:
    module = build(causal=causal)
    assert_padding_is_out_of_reach(module, 21)
    assert_an_empty_row_is_finite(module, 21)
    assert_a_row_is_the_same_alone(module, 21)


def test_a_row_of_other_length_in_the_batch_has_its_own_buckets() -> None:
    module = build(num_rounds=1)
    assert_a_row_is_the_same_alone(module, 100)


def test_one_chunk_is_softmax_without_oneself() -> None:
    q, _, v = draw(12)
    k = torch.nn.functional.rms_norm(q, (8,), eps=1e-6)
    scores = (q @ k.mT / 8**0.5).masked_fill(torch.eye(12) > 0, float("-inf"))
    ours = without_keys(build(num_rounds=3, chunk=12), q, v)
    assert_same((ours,), (scores.softmax(dim=-1) @ v,))


def test_a_single_position_sees_itself() -> None:
    q, _, v = draw(1)
    assert_same((without_keys(build(), q, v),), (v,))


def test_nothing_later_is_seen() -> None:
    """Neither later queries and values nor the length of the row change an output."""
    q, _, v = (x.detach() for x in draw(40))
    module = build(causal=True)
    out = without_keys(module, q, v)
    for length in (1, 7, 20, 33):
        start = without_keys(module, q[:, :, :length], v[:, :, :length])
        torch.testing.assert_close(out[:, :, :length], start)
        later_q, later_v = q.clone(), v.clone()
        later_q[:, :, length:] = -3 * later_q[:, :, length:].flip(2)
        later_v[:, :, length:] = 7.0
        torch.testing.assert_close(without_keys(module, later_q, later_v)[:, :, :length], start)


def test_a_causal_query_sees_the_last_of_its_bucket() -> None:
    """All positions in one bucket: a window of C back, without oneself but at the start."""
    q, _, v = (x.detach() for x in draw(21))
    q = q[:, :, :1].expand_as(q) * torch.linspace(0.5, 2.0, 21, dtype=q.dtype)[:, None]
    back = torch.arange(21)[:, None] - torch.arange(21)
    seen = (back > 0) & (back <= 4)
    seen[0, 0] = True
    k = torch.nn.functional.rms_norm(q, (8,), eps=1e-6)
    scores = (q @ k.mT / 8**0.5).masked_fill(~seen, float("-inf"))
    assert_same((without_keys(build(causal=True), q, v),), (scores.softmax(dim=-1) @ v,))


def test_the_buckets_of_a_causal_row_are_those_of_the_context() -> None:
    assert [build(causal=True, context=c).num_directions for c in (1, 8, 9, 4096)] == [1, 1, 2, 128]
    assert build(causal=False, context=8).num_directions == 128


def test_rotations_are_drawn_once_and_saved() -> None:
    module, again = build(), build()
    q, _, v = draw(40)
    assert torch.equal(without_keys(module, q, v), without_keys(again, q, v))
    assert list(module.state_dict()) == ["rotations_RDF"]
    assert ReformerAttention.shares_query_key


@pytest.mark.parametrize("causal", [False, True])
def test_more_rounds_come_closer_to_softmax(causal: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    q = 3 * torch.nn.functional.rms_norm(torch.randn(1, 1, 256, 8, generator=generator), (8,))
    v = torch.randn(1, 1, 256, 8, generator=generator)
    seen = torch.eye(256) == 0
    if causal:
        seen = seen.tril()
        seen[0, 0] = True
    k = torch.nn.functional.rms_norm(q, (8,), eps=1e-6)
    scores = (q @ k.mT / 8**0.5).masked_fill(~seen, float("-inf"))
    wanted = scores.softmax(dim=-1) @ v

    def error(num_rounds: int) -> float:
        module = ReformerAttention(
            num_rounds=num_rounds,
            chunk=16,
            head_width=8,
            causal=causal,
            generator=generator,
            context=256,
        )
        errors = [(without_keys(module, q, v) - wanted).norm() for _ in range(4)]
        return float(torch.stack(errors).mean() / wanted.norm())

    one, four, thirty_two = error(1), error(4), error(32)
    assert one > four > thirty_two


def test_scores_stay_float32_under_autocast() -> None:
    q, v = (x.detach().float() for x in draw(40)[:2])
    wanted = without_keys(build(), q, v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(without_keys(build(), q, v), wanted)


@pytest.mark.parametrize("dials", [{"num_rounds": 0}, {"chunk": 1}])
def test_invalid_requests_are_refused(dials: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        build(**dials)  # type: ignore[arg-type]
