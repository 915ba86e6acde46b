"""Longformer attention against `LongformerSelfAttention` of transformers, its weights tied.

That layer takes its softmax in float32 whatever it is given, which bounds how near the two come.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genomeformer_cli.core.attention.ops.longformer import longformer_attention

pytestmark = pytest.mark.oracle

WIDTH, HEADS, WINDOW = 16, 2, 4


@pytest.mark.parametrize("length", [16, 48])
@pytest.mark.parametrize("num_global", [1, 3])
def test_values_and_gradients_equal_theirs(length: int, num_global: int) -> None:
    package = pytest.importorskip("transformers.models.longformer.modeling_longformer")
    config = package.LongformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        attention_window=[2 * WINDOW],
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    peer = package.LongformerSelfAttention(config, 0).double()
    for part in ("query", "key", "value"):
        tied: nn.Linear = getattr(peer, part)
        setattr(peer, f"{part}_global", tied)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, length, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.arange(length) < torch.tensor([[length], [length - 7]])
    kind = torch.zeros(2, length, dtype=torch.float64).masked_fill(~mask, -10_000.0)
    kind[:, :num_global] = 10_000.0
    (theirs,) = peer(x, kind, kind < 0, kind > 0, is_global_attn=True)
    q, k, v = (
        part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for part in (peer.query, peer.key, peer.value)
    )
    ours = longformer_attention(q, k, v, mask, window=WINDOW, num_global=num_global)
    real = mask[:, :, None]
    ours, theirs = ours.transpose(1, 2).flatten(2) * real, theirs * real
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weights = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    leaves = [x, *{id(leaf): leaf for leaf in peer.parameters()}.values()]
    found, wanted = (torch.autograd.grad((out * weights).sum(), leaves) for out in (ours, theirs))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
