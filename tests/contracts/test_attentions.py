"""What every mechanism of the registry must keep, whatever its mathematics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.ops.performer import performer_attention_reference
from genomeformer_cli.core.attention.ops.softmax import softmax_attention_reference
from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig

HEADS, HEAD_WIDTH = 3, 8

Reference = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor | None], Tensor]


def _performer(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    projection = module.get_buffer("projection_FD")
    return performer_attention_reference(q, k, v, mask, projection)


def _softmax(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    del module
    return softmax_attention_reference(q, k, v, mask)


REFERENCES: dict[str, Reference] = {"softmax": _softmax, "performer": _performer}


@pytest.fixture(params=list(ATTENTIONS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(name: str, *, seed: int = 0, num_features: int = 32) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    config = AttentionConfig(name=name, num_features=num_features)
    return ATTENTIONS[name].build(config, HEAD_WIDTH, generator).double()


def draw(batch: int, length: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, HEADS, length, HEAD_WIDTH)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return q, k, v


def ragged_mask(batch: int, length: int) -> Tensor:
    """Row b keeps all but its last b positions, and at least one."""
    kept = (length - torch.arange(batch)).clamp_min(1)
    return torch.arange(length) < kept[:, None]


def test_every_mechanism_has_a_reference() -> None:
    assert REFERENCES.keys() == ATTENTIONS.keys()


def test_it_keeps_shape_and_dtype(name: str) -> None:
    q, k, v = (tensor.float() for tensor in draw(2, 13))
    out = build(name).float()(q, k, v, None)
    assert out.shape == v.shape
    assert out.dtype == torch.float32


@pytest.mark.parametrize("length", [1, 2, 7, 33, 64])
@pytest.mark.parametrize("padded", [False, True])
def test_values_and_gradients_equal_the_reference(name: str, length: int, padded: bool) -> None:
    module = build(name)
    mask = ragged_mask(3, length) if padded else None
    q, k, v = inputs = tuple(tensor.requires_grad_() for tensor in draw(3, length))
    weights = torch.randn(3, HEADS, length, HEAD_WIDTH, dtype=torch.float64)
    weights = weights if mask is None else weights * mask[:, None, :, None]
    found = module(q, k, v, mask)
    wanted = REFERENCES[name](module, q, k, v, mask)
    torch.testing.assert_close(found * weights, wanted * weights, rtol=1e-10, atol=1e-10)
    found_gradients = torch.autograd.grad((found * weights).sum(), inputs)
    wanted_gradients = torch.autograd.grad((wanted * weights).sum(), inputs)
    for ours, reference in zip(found_gradients, wanted_gradients, strict=True):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-10)


def test_gradients_equal_finite_differences(name: str) -> None:
    """With the stabilisers fixed by construction: their gradient is zero, as they cancel."""
    module = build(name)
    inputs = [tensor.requires_grad_() for tensor in draw(1, 5)]
    mask = torch.tensor([[True, True, True, True, False]])

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = module(q, k, v, mask)
        return out[:, :, :4]

    assert torch.autograd.gradcheck(attend, inputs, eps=1e-6, atol=1e-6)


def test_padding_changes_nothing(name: str) -> None:
    module = build(name)
    q, k, v = draw(4, 21)
    mask = ragged_mask(4, 21)
    together = module(q, k, v, mask)
    for row, kept in enumerate(mask.sum(dim=1).tolist()):
        alone = module(*(tensor[row : row + 1, :, :kept] for tensor in (q, k, v)), None)
        torch.testing.assert_close(together[row : row + 1, :, :kept], alone)


def test_what_stands_in_the_padding_changes_nothing(name: str) -> None:
    module = build(name)
    q, k, v = draw(2, 16)
    mask = ragged_mask(2, 16)
    before = module(q, k, v, mask)
    k, v = (tensor.masked_fill(~mask[:, None, :, None], 1e4) for tensor in (k, v))
    after = module(q, k, v, mask)
    torch.testing.assert_close(before * mask[:, None, :, None], after * mask[:, None, :, None])


def test_a_row_does_not_depend_on_its_batch_mates(name: str) -> None:
    module = build(name)
    q, k, v = draw(3, 17)
    together = module(q, k, v, None)
    k[1:], v[1:] = k[1:] * 30, v[1:] - 5
    torch.testing.assert_close(module(q, k, v, None)[:1], together[:1])


def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    q, k, v = draw(2, 19)
    once, again = (build(name, seed=5)(q, k, v, None) for _ in range(2))
    assert torch.equal(once, again)


def test_nothing_unwritten_is_read(name: str, poisoned_empty: None) -> None:
    q, k, v = draw(2, 19)
    assert torch.isfinite(build(name)(q, k, v, ragged_mask(2, 19))).all()


def test_large_scores_stay_finite_in_float32(name: str) -> None:
    q, k, v = (tensor.float() for tensor in draw(1, 32))
    module = build(name).float()
    out = module(q * 20, k * 20, v, None)
    assert torch.isfinite(out).all()


def test_approximations_come_closer_to_softmax_as_features_grow(name: str) -> None:
    if ATTENTIONS[name].exact:
        module = build(name)
        q, k, v = draw(2, 40)
        torch.testing.assert_close(
            module(q, k, v, None), softmax_attention_reference(q, k, v, None)
        )
        return
    q, k, v = draw(2, 40)
    q, k = q / 2, k / 2
    wanted = softmax_attention_reference(q, k, v, None)

    def error(num_features: int) -> float:
        errors = [
            (build(name, seed=seed, num_features=num_features)(q, k, v, None) - wanted).norm()
            for seed in range(8)
        ]
        return float(torch.stack(errors).mean() / wanted.norm())

    few, more, many = error(8), error(64), error(1024)
    assert few > more > many
    assert many < 0.1


def test_the_registry_tells_what_it_is(name: str) -> None:
    entry = ATTENTIONS[name]
    assert entry.bidirectional or entry.causal
    assert "arXiv" in entry.paper
    assert "L" in entry.time
    assert "L" in entry.memory
