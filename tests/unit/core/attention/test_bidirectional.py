"""A causal mechanism run both ways: what reversal and padding do to it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.bidirectional import BidirectionalAttention
from genomeformer_cli.core.attention.ops.gated_delta import GatedDeltaAttention
from genomeformer_cli.core.attention.ops.gated_linear import GatedLinearAttention
from genomeformer_cli.core.attention.ops.linear import (
    CausalLinearAttention,
    linear_attention_reference,
)
from genomeformer_cli.core.attention.protocols import Streaming

HEADS, WIDTH, LENGTH = 2, 8, 70


def linear() -> nn.Module:
    return CausalLinearAttention(head_width=WIDTH)


def gated() -> nn.Module:
    return GatedLinearAttention(num_heads=HEADS, head_width=WIDTH).double()


def delta() -> nn.Module:
    return GatedDeltaAttention(num_heads=HEADS, head_width=WIDTH).double()


def draw(num_gates: int, length: int = LENGTH) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, HEADS, length, width, generator=generator, dtype=torch.float64)
        for width in (WIDTH, WIDTH, WIDTH, num_gates)
    ]


@pytest.mark.parametrize("make", [linear, gated, delta])
def test_tied_ways_turn_reversed_input_into_reversed_output(make: type[nn.Module]) -> None:
    both = BidirectionalAttention(make())
    q, k, v, gates = draw(both.num_gates)
    mask = torch.arange(LENGTH).expand(2, -1) < torch.tensor([[LENGTH], [51]])
    whole = both(q, k, v, mask, gates)
    turned = both(*(x.flip(2) for x in (q, k, v)), mask.flip(1), gates.flip(2))
    real = mask[:, None, :, None]
    torch.testing.assert_close(turned.flip(2) * real, whole * real)


def test_it_is_the_mean_of_what_is_before_and_what_is_after() -> None:
    both = BidirectionalAttention(linear())
    q, k, v, _ = draw(0)
    ahead, back = (
        linear_attention_reference(*tensors, None, feature_map="elu", causal=True)
        for tensors in ((q, k, v), (q.flip(2), k.flip(2), v.flip(2)))
    )
    torch.testing.assert_close(both(q, k, v, None), (ahead + back.flip(2)) / 2)


def test_untied_ways_have_gates_and_weights_of_their_own() -> None:
    both = BidirectionalAttention(gated(), gated())
    assert both.num_gates == 2
    assert both.ahead is not both.back
    assert len(list(both.parameters())) == 2 * len(list(gated().parameters()))
    q, k, v, gates = draw(2)
    ahead = both.ahead(q, k, v, None, gates[..., :1])
    back = both.back(*(x.flip(2) for x in (q, k, v)), None, gates[..., 1:].flip(2)).flip(2)
    torch.testing.assert_close(both(q, k, v, None, gates), (ahead + back) / 2)


def test_tied_weights_are_there_once() -> None:
    both = BidirectionalAttention(gated())
    assert both.num_gates == 1
    assert both.back is both.ahead
    assert both.state_dict().keys() == {f"ahead.{name}" for name in gated().state_dict()}


@pytest.mark.parametrize("make", [linear, gated, delta])
def test_padding_changes_nothing_wherever_it_is(make: type[nn.Module]) -> None:
    both = BidirectionalAttention(make())
    q, k, v, gates = draw(both.num_gates)
    mask = torch.rand(2, LENGTH, generator=torch.Generator().manual_seed(1)) > 0.3
    together = both(q, k, v, mask, gates)
    for row in range(2):
        kept = [x[row : row + 1, :, mask[row]] for x in (q, k, v, gates)]
        alone = both(kept[0], kept[1], kept[2], None, kept[3])
        torch.testing.assert_close(together[row : row + 1, :, mask[row]], alone)


def test_both_ways_can_be_walked_in_slices() -> None:
    both = BidirectionalAttention(gated(), gated())
    assert isinstance(both.ahead, Streaming)
    assert isinstance(both.back, Streaming)
    assert not isinstance(both, Streaming)
