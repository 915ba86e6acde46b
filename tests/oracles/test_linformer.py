"""Linformer attention against the `linformer` package, with its weights."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.ops.linformer import linformer_attention

pytestmark = pytest.mark.oracle

WIDTH, HEADS, LIMIT, PROJECTED = 16, 2, 50, 6


@pytest.mark.parametrize("length", [1, 13, LIMIT])
@pytest.mark.parametrize("share", [False, True])
def test_values_and_gradients_equal_theirs(length: int, share: bool) -> None:
    package = pytest.importorskip("linformer")
    peer = package.LinformerSelfAttention(WIDTH, LIMIT, k=PROJECTED, heads=HEADS, share_kv=share)
    peer.double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, length, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    to_v, proj_v = (peer.to_k, peer.proj_k) if share else (peer.to_v, peer.proj_v)
    q, k, v = (
        part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (peer.to_q, peer.to_k, to_v)
    )
    mixed = linformer_attention(q, k, v, None, (peer.proj_k.T, proj_v.T))
    ours, theirs = peer.to_out(mixed.transpose(1, 2).flatten(2)), peer(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    leaves = [x, *peer.parameters()]
    found, wanted = (torch.autograd.grad((out * weights).sum(), leaves) for out in (ours, theirs))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)
