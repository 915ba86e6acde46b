"""Local attention against the `local-attention` package."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.ops.local import local_attention
from tests.attention_cases import assert_same, draw, right_padding

pytestmark = pytest.mark.oracle

WINDOW = 8


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("length", [8, 40, 61])
def test_values_and_gradients_equal_theirs(length: int, padded: bool, causal: bool) -> None:
    package = pytest.importorskip("local_attention")
    peer = package.LocalAttention(
        window_size=WINDOW,
        causal=causal,
        look_backward=1,
        look_forward=0 if causal else 1,
        exact_windowsize=True,
        autopad=True,
        use_rotary_pos_emb=False,
    )
    q, k, v = qkv = draw(length)
    mask = right_padding(2, length) if padded else torch.ones(2, length, dtype=torch.bool)
    ours = local_attention(q, k, v, mask, window=WINDOW, causal=causal)
    theirs = peer(q, k, v, mask=mask)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    weights = weights * mask[:, None, :, None]
    found, wanted = (
        (out * mask[:, None, :, None], *torch.autograd.grad((out * weights).sum(), qkv))
        for out in (ours, theirs)
    )
    assert_same(found, wanted)
