"""Linear attention, both ways and causal, against the L x L matrix of products of features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels import chunked_scan as blocks
from genomeformer_cli.core.attention.kernels.linear_state import CHUNK
from genomeformer_cli.core.attention.ops.linear import (
    CausalLinearAttention,
    LinearAttention,
    linear_attention_reference,
)
from genomeformer_cli.core.errors import ConfigError
from tests.unit.core.attention.ops.recurrences import (
    HEADS,
    WIDTH,
    assert_equal,
    draw,
    in_slices,
    poisoned,
    scattered_mask,
    values_and_gradients,
)

MAPS = ["elu", "squared"]
LENGTHS = [1, 2, 37, CHUNK, CHUNK + 1, 3 * CHUNK - 1]


def build(feature_map: str, *, causal: bool) -> nn.Module:
    if causal:
        return CausalLinearAttention(feature_map=feature_map, head_width=WIDTH)
    return LinearAttention(feature_map=feature_map)


@pytest.fixture(params=[True, False], ids=["causal", "bidirectional"])
def causal(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one or two chunks, so that short rows have several."""
    monkeypatch.setitem(blocks._BLOCK_NUMBERS, "cpu", 2 * HEADS * CHUNK * CHUNK)


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("padded", [False, True])
def test_it_equals_the_reference(
    feature_map: str, length: int, padded: bool, causal: bool, small_blocks: None
) -> None:
    mask = scattered_mask(2, length) if padded else None
    module = build(feature_map, causal=causal)

    def reference(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor]:
        return (linear_attention_reference(q, k, v, mask, feature_map=feature_map, causal=causal),)

    leaves = draw(2, length)
    found = values_and_gradients(lambda q, k, v: (module(q, k, v, mask),), leaves, real=mask)
    assert_equal(found, values_and_gradients(reference, leaves, real=mask), within=1e-12)


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("lengths", [(1,) * 5 + (295,), (128, 128, 44), (17, 200, 83)])
def test_slices_have_the_values_and_gradients_of_the_whole(
    feature_map: str, lengths: tuple[int, ...], small_blocks: None
) -> None:
    module = build(feature_map, causal=True)
    mask = scattered_mask(2, 300)
    leaves = draw(2, 300)
    whole = values_and_gradients(lambda *x: in_slices(module, x, mask, (300,)), leaves, real=mask)
    parts = values_and_gradients(lambda *x: in_slices(module, x, mask, lengths), leaves, real=mask)
    assert_equal(parts, whole, within=1e-12)


@pytest.mark.parametrize("feature_map", MAPS)
def test_sums_of_stretches_have_the_gradients_of_the_whole(feature_map: str) -> None:
    module = LinearAttention(feature_map=feature_map)

    def in_two(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor]:
        first = module.summary(k[:, :, :30], v[:, :, :30], None)
        second = module.summary(k[:, :, 30:], v[:, :, 30:], None)
        return (module.read(q, tuple(a + b for a, b in zip(first, second, strict=True))),)

    leaves = draw(2, 71)
    found = values_and_gradients(in_two, leaves, real=None)
    wanted = values_and_gradients(lambda q, k, v: (module(q, k, v, None),), leaves, real=None)
    assert_equal(found, wanted, within=1e-12)


@pytest.mark.parametrize("feature_map", MAPS)
def test_what_is_not_a_number_in_the_padding_reaches_nothing(
    feature_map: str, causal: bool
) -> None:
    module = build(feature_map, causal=causal)
    leaves, mask = draw(2, 150), scattered_mask(2, 150)
    clean = values_and_gradients(lambda q, k, v: (module(q, k, v, mask),), leaves, real=mask)
    spoilt = values_and_gradients(
        lambda q, k, v: (module(q, k, v, mask),), poisoned(leaves, mask), real=mask
    )
    assert_equal(spoilt, clean, within=0.0)


def test_a_query_that_fits_no_key_reads_nothing(causal: bool) -> None:
    """The denominator is zero: the output is too, and the gradients are finite."""
    q, k, v = (tensor.requires_grad_() for tensor in draw(1, 6))
    with torch.no_grad():
        q[:, :, 3] = 0
    out = build("squared", causal=causal)(q, k, v, None)
    assert torch.equal(out[:, :, 3], torch.zeros_like(out[:, :, 3]))
    assert all(torch.isfinite(grad).all() for grad in torch.autograd.grad(out.sum(), (q, k, v)))


def test_under_autocast_sums_are_float32(causal: bool) -> None:
    module = build("elu", causal=causal)
    q, k, v = (tensor.float() for tensor in draw(1, 200))
    wanted = module(q, k, v, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(q, k, v, None), wanted)
        half = module(*(tensor.bfloat16() for tensor in (q, k, v)), None)
    assert half.dtype == torch.bfloat16
    assert float((half.float() - wanted).norm() / wanted.norm()) < 0.02


def test_features_are_not_kept_for_the_way_back(causal: bool) -> None:
    """Keep only sums and one denominator per token beyond the inputs."""
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    inputs = [tensor.requires_grad_() for tensor in draw(1, 16 * CHUNK)]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        build("elu", causal=causal)(*inputs, None)
    own = sum(kept) - sum(tensor.numel() for tensor in inputs)
    assert own < inputs[0].numel() / 2


def test_an_unknown_feature_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown feature map `cube`") as failure:
        LinearAttention(feature_map="cube")
    assert failure.value.hint == "known: `elu`, `squared`"
