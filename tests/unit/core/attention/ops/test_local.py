"""Local attention against the L x L matrix, in slices, beside padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels import key_tiles as windows
from genomeformer_cli.core.attention.ops.local import (
    CausalLocalAttention,
    LocalAttention,
    local_attention,
    local_attention_reference,
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


def masks(length: int) -> dict[str, Tensor | None]:
    return {"none": None, "right": right_padding(2, length), "holes": holes(2, length)}


def ours(window: int, *, causal: bool) -> Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]:
    return lambda q, k, v, mask: local_attention(q, k, v, mask, window=window, causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masking", ["none", "right", "holes"])
@pytest.mark.parametrize(
    ("length", "window"), [(1, 1), (1, 9), (2, 1), (7, 3), (23, 2), (23, 5), (31, 1), (40, 7)]
)
def test_values_and_gradients_are_those_of_the_matrix(
    length: int, window: int, masking: str, causal: bool
) -> None:
    mask, qkv = masks(length)[masking], draw(length)

    def matrix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return local_attention_reference(q, k, v, mask, window=window, causal=causal)

    assert_same(
        real_output_and_gradients(ours(window, causal=causal), qkv, mask),
        real_output_and_gradients(matrix, qkv, mask),
    )


def test_blocks_of_the_usual_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    qkv, mask = draw(700), right_padding(2, 700)

    def matrix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return local_attention_reference(q, k, v, mask, window=100, causal=False)

    assert_same(
        real_output_and_gradients(ours(100, causal=False), qkv, mask),
        real_output_and_gradients(matrix, qkv, mask),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_several_groups_share_a_tile(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, mask = draw(23), holes(2, 23)
    one_by_one = real_output_and_gradients(ours(5, causal=causal), qkv, mask)
    monkeypatch.setitem(windows.TILE_SCORES, "cpu", 1000)
    assert_same(real_output_and_gradients(ours(5, causal=causal), qkv, mask), one_by_one)


def test_a_window_as_long_as_the_row_is_softmax() -> None:
    q, k, v = draw(30)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert_same((ours(29, causal=False)(q, k, v, None),), (wanted,))


@pytest.mark.parametrize("causal", [False, True])
def test_padding(causal: bool) -> None:
    mechanism = ours(3, causal=causal)
    assert_padding_is_out_of_reach(mechanism, 21)
    assert_an_empty_row_is_finite(mechanism, 21)
    assert_a_row_is_the_same_alone(mechanism, 21)


@pytest.mark.parametrize("cuts", [[21], [1] * 21, [4, 0, 9, 8], [2, 19]])
@pytest.mark.parametrize("masking", ["none", "right", "holes"])
def test_slices_are_the_whole(cuts: list[int], masking: str) -> None:
    module = CausalLocalAttention(window=5, head_width=8)
    mask, qkv = masks(21)[masking], draw(21)

    def sliced(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        state = module.start(2, 2, q)
        outs, first = [], 0
        for size in cuts:
            part = slice(first, first + size)
            part_mask = None if mask is None else mask[:, part]
            out, state = module.step(
                q[:, :, part], k[:, :, part], v[:, :, part], part_mask, None, state
            )
            outs.append(out)
            first += size
        return torch.cat(outs, dim=2)

    assert_same(
        real_output_and_gradients(sliced, qkv, mask),
        real_output_and_gradients(module, qkv, mask),
    )


def test_padding_never_enters_the_state() -> None:
    module = CausalLocalAttention(window=5, head_width=8)
    mask = holes(2, 21)
    q, k, v = (x.detach().masked_fill(~mask[:, None, :, None], torch.nan) for x in draw(21))
    _, state = module.step(q, k, v, mask, None, module.start(2, 2, q))
    assert all(bool(torch.isfinite(part).all()) for part in state)
    assert torch.equal(state[2], mask[:, -5:].double())


def test_the_state_is_float32_at_least() -> None:
    module = CausalLocalAttention(window=5, head_width=8)
    assert {x.dtype for x in module.start(2, 2, torch.zeros(1, dtype=torch.bfloat16))} == {
        torch.float32
    }
    assert {x.dtype for x in module.start(2, 2, torch.zeros(1).double())} == {torch.float64}


def test_scores_stay_float32_under_autocast() -> None:
    q, k, v = (x.detach().float() for x in draw(23))
    wanted = local_attention(q, k, v, None, window=3, causal=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(local_attention(q, k, v, None, window=3, causal=False), wanted)
    half = local_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), None, window=3, causal=False)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted, atol=0.05, rtol=0.05)


def test_reach_is_what_is_seen() -> None:
    for module in (LocalAttention(window=3), CausalLocalAttention(window=3, head_width=8)):
        q, k, v = draw(21, batch=1, heads=1)
        (grad,) = torch.autograd.grad(module(q, k, v, None)[0, 0, 10].sum(), v)
        seen = grad[0, 0].abs().sum(dim=1).nonzero().flatten().tolist()
        last = 13 if isinstance(module, LocalAttention) else 10
        assert seen == list(range(10 - module.reach, last + 1))


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ConfigError):
        LocalAttention(window=0)
