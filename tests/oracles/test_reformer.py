"""Reformer attention against `reformer-pytorch` and transformers, their draw of rotations ours.

Bidirectional rows only: causal rows of these packages share chunks with later positions.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.lsh import random_rotations
from genomeformer_cli.core.attention.ops.reformer import reformer_attention
from tests.attention_cases import assert_same, draw

pytestmark = pytest.mark.oracle

HEADS, HEAD_WIDTH, CHUNK = 2, 8, 4


def drawn(num_rounds: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(num_rounds)
    return random_rotations(num_rounds, HEAD_WIDTH, length // CHUNK, generator=generator).double()


def give_rotations(monkeypatch: pytest.MonkeyPatch, rotations_RDF: Tensor) -> None:
    """Let the next draws be these rotations, laid out as the two packages want them."""
    rotations_1DRF = rotations_RDF.permute(1, 0, 2)[None]

    def randn(shape: tuple[int, ...], **_: object) -> Tensor:
        return rotations_1DRF.expand(shape)

    monkeypatch.setattr(torch, "randn", randn)


def loss_and_gradients(out: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(9)
    weights = torch.empty_like(out).normal_(generator=generator)
    return out, *torch.autograd.grad((out * weights).sum(), leaves)


@pytest.mark.parametrize("num_rounds", [1, 3])
def test_values_and_gradients_equal_reformer_pytorch(
    num_rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("reformer_pytorch")
    peer = package.LSHAttention(bucket_size=CHUNK, n_hashes=num_rounds, causal=False)
    length = 64
    qk, _, v = draw(length)
    rotations_RDF = drawn(num_rounds, length)
    ours = reformer_attention(qk, v, None, rotations_RDF, chunk=CHUNK, causal=False)
    give_rotations(monkeypatch, rotations_RDF)
    # Its keys have length 1 where ours have sqrt(D).
    theirs, _, _ = peer(HEAD_WIDTH**0.5 * qk.flatten(0, 1), v.flatten(0, 1))
    found = loss_and_gradients(ours, [qk, v])
    wanted = loss_and_gradients(theirs.unflatten(0, (2, HEADS)), [qk, v])
    # It divides by the length; ours, like transformers, by that of the square sum plus 1e-6.
    assert_same(found, wanted, relative=1e-5)


@pytest.mark.parametrize("num_rounds", [1, 3])
def test_values_and_gradients_equal_transformers(
    num_rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("transformers.models.reformer.modeling_reformer")
    length = 64
    config = package.ReformerConfig(
        hidden_size=HEADS * HEAD_WIDTH,
        num_attention_heads=HEADS,
        attention_head_size=HEAD_WIDTH,
        lsh_attn_chunk_length=CHUNK,
        num_hashes=num_rounds,
        num_buckets=length // CHUNK,
        is_decoder=False,
        lsh_attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    peer = package.LSHSelfAttention(config).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, length, HEADS * HEAD_WIDTH, generator=generator, dtype=torch.float64)
    leaves = [x.requires_grad_(), *peer.parameters()]
    qk, v = (
        part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (peer.query_key, peer.value)
    )
    rotations_RDF = drawn(num_rounds, length)
    ours = reformer_attention(qk, v, None, rotations_RDF, chunk=CHUNK, causal=False)
    give_rotations(monkeypatch, rotations_RDF)
    found = loss_and_gradients(ours.transpose(1, 2).flatten(2), leaves)
    wanted = loss_and_gradients(peer(x).hidden_states, leaves)
    assert_same(found, wanted, relative=1e-10)
