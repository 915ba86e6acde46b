"""Performer attention, both ways and causal, against the L x L matrix of kernel estimates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels import chunked_scan as blocks
from genomeformer_cli.core.attention.kernels.feature_maps import SoftmaxFeatures
from genomeformer_cli.core.attention.kernels.linear_state import CHUNK
from genomeformer_cli.core.attention.kernels.random_features import LARGEST_LOG_FEATURE
from genomeformer_cli.core.attention.ops.performer import (
    CausalPerformerAttention,
    PerformerAttention,
    performer_attention_reference,
)
from genomeformer_cli.core.attention.ops.softmax import softmax_attention_reference
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

Performer = PerformerAttention | CausalPerformerAttention
LENGTHS = [1, 2, 37, CHUNK, CHUNK + 1, 3 * CHUNK - 1]


def build(
    *, causal: bool, num_features: int = 21, head_width: int = WIDTH, seed: int = 0
) -> Performer:
    kind = CausalPerformerAttention if causal else PerformerAttention
    generator = torch.Generator().manual_seed(seed)
    return kind(num_features=num_features, head_width=head_width, generator=generator).double()


@pytest.fixture(params=[True, False], ids=["causal", "bidirectional"])
def causal(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks._BLOCK_NUMBERS, "cpu", 2 * HEADS * CHUNK * CHUNK)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("padded", [False, True])
def test_it_equals_the_reference(
    length: int, padded: bool, causal: bool, small_blocks: None
) -> None:
    mask = scattered_mask(2, length) if padded else None
    module = build(causal=causal)

    def reference(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor]:
        projection = module.projection_FD
        return (performer_attention_reference(q, k, v, mask, projection, causal=causal),)

    leaves = draw(2, length)
    found = values_and_gradients(lambda q, k, v: (module(q, k, v, mask),), leaves, real=mask)
    assert_equal(found, values_and_gradients(reference, leaves, real=mask), within=1e-12)


@pytest.mark.parametrize("lengths", [(1,) * 5 + (295,), (128, 128, 44), (17, 200, 83)])
def test_slices_have_the_values_and_gradients_of_the_whole(
    lengths: tuple[int, ...], small_blocks: None
) -> None:
    module = build(causal=True)
    mask, leaves = scattered_mask(2, 300), draw(2, 300)
    whole = values_and_gradients(lambda *x: in_slices(module, x, mask, (300,)), leaves, real=mask)
    parts = values_and_gradients(lambda *x: in_slices(module, x, mask, lengths), leaves, real=mask)
    assert_equal(parts, whole, within=1e-12)


def test_the_sum_of_a_stretch_depends_on_no_other_token() -> None:
    module = build(causal=False)
    assert isinstance(module, PerformerAttention)
    _, k, v = draw(1, 40)
    alone = [module.summary(k[:, :, i : i + 1], v[:, :, i : i + 1], None) for i in range(40)]
    total = [sum(tensors[1:], tensors[0]) for tensors in zip(*alone, strict=True)]
    assert_equal(total, module.summary(k, v, None), within=1e-14)


def test_what_is_not_a_number_in_the_padding_reaches_nothing(causal: bool) -> None:
    module = build(causal=causal)
    leaves, mask = draw(2, 150), scattered_mask(2, 150)
    clean = values_and_gradients(lambda q, k, v: (module(q, k, v, mask),), leaves, real=mask)
    spoilt = values_and_gradients(
        lambda q, k, v: (module(q, k, v, mask),), poisoned(leaves, mask), real=mask
    )
    assert_equal(spoilt, clean, within=0.0)


def test_it_comes_closer_to_softmax_as_features_grow() -> None:
    q, k, v = draw(2, 40)
    q, k = q / 2, k / 2
    wanted = softmax_attention_reference(q, k, v, None)

    def error(num_features: int) -> float:
        found = [
            build(causal=False, num_features=num_features, seed=seed)(q, k, v, None)
            for seed in range(8)
        ]
        return float(sum((one - wanted).norm() for one in found) / 8 / wanted.norm())

    few, more, many = error(8), error(64), error(1024)
    assert few > more > many
    assert many < 0.1


@pytest.mark.parametrize("head_width", [64, 128, 256])
def test_normalised_keys_neither_vanish_nor_overflow_in_float32(head_width: int) -> None:
    """Compare float32 with float64 on inputs of unit mean square, as the layer gives them."""
    module = build(causal=False, num_features=64, head_width=head_width)
    generator = torch.Generator().manual_seed(3)
    shape = (1, 2, 64, head_width)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    q, k = (x / x.square().mean(-1, keepdim=True).sqrt() for x in (q, k))
    wanted = module(q, k, v, None)
    found = module.float()(q.float(), k.float(), v.float(), None)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-4


@pytest.mark.parametrize("scale", [20.0, 1e3])
def test_the_largest_and_smallest_keys_stay_finite_in_float32(scale: float, causal: bool) -> None:
    module = build(causal=causal, head_width=256, num_features=32).float()
    generator = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(1, 1, 200, 256, generator=generator) for _ in range(3))
    k = k * scale
    # As long as a row of the projection and along it: the largest feature there can be.
    k[:, :, ::2] = module.projection_FD[0] * 256**0.25
    leaves = [x.requires_grad_() for x in (q, k, v)]
    out = module(q, k, v, None)
    gradients = torch.autograd.grad(out.sum(), leaves)
    assert all(torch.isfinite(tensor).all() for tensor in (out, *gradients))


def test_features_beyond_the_largest_have_no_gradient() -> None:
    projection = torch.zeros(2, 4, dtype=torch.float64)
    projection[0, 0], projection[1, 1] = 16.0, 1.0
    features = SoftmaxFeatures(projection)
    k = torch.tensor([[16.0 * 4**0.25, 0.5, 0.0, 0.0]], dtype=torch.float64)
    phi = features.keys(k)
    assert float(phi[0, 0].log()) == pytest.approx(LARGEST_LOG_FEATURE)
    only_the_first = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert not features.keys_back(k, phi, only_the_first).any()


def test_another_projection_leaves_what_has_gone_forward_alone(causal: bool) -> None:
    module = build(causal=causal)
    before = module.projection_FD.clone()
    q, k, v = draw(1, 20)
    q.requires_grad_()
    (wanted,) = torch.autograd.grad(module(q, k, v, None).sum(), q)
    out = module(q, k, v, None)
    module.redraw(torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad(out.sum(), q)
    assert torch.equal(found, wanted)
    assert not torch.equal(module.projection_FD, before)
    assert torch.equal(module.state_dict()["projection_FD"], module.projection_FD)
    module.redraw(torch.Generator().manual_seed(0))
    assert torch.allclose(module.projection_FD, before)
