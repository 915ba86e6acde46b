"""Nystromformer attention against two other implementations, with their weights.

Both start every inverse from one maximum over all rows and heads; with one row and one head that is
ours. transformers has an option for each its own, but reads it under another name than it sets.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.ops.nystromformer import (
    NystromformerOptions,
    nystromformer_attention,
)

pytestmark = pytest.mark.oracle

WIDTH, LENGTH, LANDMARKS, TAPS = 16, 96, 12, 7


def x() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, LENGTH, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()


def compare(
    ours: Tensor, theirs: Tensor, leaves: list[Tensor], *, tolerance: float = 1e-10
) -> None:
    """Values and the gradients of all leaves, which both are made of."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    found, wanted = (torch.autograd.grad((out * weights).sum(), leaves) for out in (ours, theirs))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_nystrom_attention() -> None:
    peer = pytest.importorskip("nystrom_attention").NystromAttention(
        WIDTH, dim_head=WIDTH, heads=1, num_landmarks=LANDMARKS, residual_conv_kernel=TAPS
    )
    peer.double()
    tokens = x()
    q, k, v = peer.to_qkv(tokens)[:, None].chunk(3, dim=-1)
    dials = NystromformerOptions(
        num_landmarks=LANDMARKS, iterations=6, kernel_HK=peer.res_conv.weight[:, 0, :, 0]
    )
    ours = peer.to_out(nystromformer_attention(q, k, v, None, dials)[:, 0])
    # Their identity matrix is a float32 one, of exact numbers.
    compare(ours, peer(tokens), [tokens, peer.to_qkv.weight, peer.res_conv.weight])


def test_nystrom_attention_with_padding_of_whole_segments() -> None:
    """Compare without empty segments: the reference keeps them as landmarks, ours cuts anew."""
    peer = pytest.importorskip("nystrom_attention").NystromAttention(
        WIDTH, dim_head=WIDTH, heads=1, num_landmarks=LANDMARKS, residual_conv_kernel=TAPS
    )
    peer.double()
    tokens = x()
    # Every segment of 8 loses its last position, so both cut at the same places.
    mask = torch.arange(LENGTH)[None] % 8 != 7
    q, k, v = peer.to_qkv(tokens)[:, None].chunk(3, dim=-1)
    dials = NystromformerOptions(
        num_landmarks=LANDMARKS, iterations=6, kernel_HK=peer.res_conv.weight[:, 0, :, 0]
    )
    real = mask[..., None]
    ours = peer.to_out(nystromformer_attention(q, k, v, mask, dials)[:, 0]) * real
    # They divide by the count plus 1e-8.
    compare(ours, peer(tokens, mask=mask) * real, [tokens, peer.to_qkv.weight], tolerance=1e-7)


def test_transformers() -> None:
    peer = transformers_layer(heads=1)
    tokens = x()
    q, k, v = (part(tokens)[:, None] for part in (peer.query, peer.key, peer.value))
    dials = NystromformerOptions(
        num_landmarks=LANDMARKS, iterations=6, kernel_HK=peer.conv.weight[:, 0, :, 0]
    )
    ours = nystromformer_attention(q, k, v, None, dials)[:, 0]
    leaves = [tokens, peer.query.weight, peer.key.weight, peer.value.weight, peer.conv.weight]
    compare(ours, peer(tokens)[0], leaves)


def test_transformers_with_an_inverse_of_each_head() -> None:
    peer = transformers_layer(heads=2)
    peer.init_option = "each its own"
    tokens = x()
    q, k, v = (
        part(tokens).unflatten(-1, (2, -1)).transpose(1, 2)
        for part in (peer.query, peer.key, peer.value)
    )
    dials = NystromformerOptions(
        num_landmarks=LANDMARKS, iterations=6, kernel_HK=peer.conv.weight[:, 0, :, 0]
    )
    ours = nystromformer_attention(q, k, v, None, dials).transpose(1, 2).flatten(2)
    compare(ours, peer(tokens)[0], [tokens, peer.query.weight, peer.key.weight, peer.conv.weight])


def transformers_layer(*, heads: int) -> Any:
    pytest.importorskip("transformers")
    from transformers import NystromformerConfig
    from transformers.models.nystromformer.modeling_nystromformer import (
        NystromformerSelfAttention,
    )

    config = NystromformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=heads,
        num_landmarks=LANDMARKS,
        segment_means_seq_len=LENGTH,
        conv_kernel_size=TAPS,
        attention_probs_dropout_prob=0.0,
        inv_coeff_init_option=False,
    )
    make: Any = NystromformerSelfAttention
    return make(config).double().eval()
