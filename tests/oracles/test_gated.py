"""Gated linear attention and the gated delta rule against the plain versions in `transformers`.

Both of theirs work in float32 and end before the norm of the output, which is applied to theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.ops.gated_delta import gated_delta_attention
from genomeformer_cli.core.attention.ops.gated_linear import gated_linear_attention

pytestmark = pytest.mark.oracle

BATCH, HEADS, LENGTH, WIDTH = 2, 3, 150, 16


@pytest.fixture
def drawn() -> list[Tensor]:
    """q, k, v, logarithms of decays, strengths, first state, weights of the output."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(BATCH, HEADS, LENGTH, WIDTH, generator=generator) for _ in range(3)]
    tensors.append(-torch.rand(BATCH, HEADS, LENGTH, generator=generator))
    tensors.append(torch.rand(BATCH, HEADS, LENGTH, generator=generator))
    tensors.append(torch.randn(BATCH, HEADS, WIDTH, WIDTH, generator=generator))
    leaves = [tensor.requires_grad_() for tensor in tensors]
    return [*leaves, torch.randn(BATCH, HEADS, LENGTH, WIDTH, generator=generator)]


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()


def assert_same(
    found: tuple[Tensor, Tensor],
    wanted: tuple[Tensor, Tensor],
    leaves: Sequence[Tensor],
    weights: Tensor,
) -> None:
    """Values, last states, gradients, as float32 has them."""
    gradients = [
        torch.autograd.grad((out * weights).sum() + state.sin().sum(), leaves)
        for out, state in (found, wanted)
    ]
    pairs = zip((*found, *gradients[0]), (*wanted, *gradients[1]), strict=True)
    for ours, theirs in pairs:
        assert float(((ours - theirs).norm() / theirs.norm()).detach()) < 2e-5


def test_gated_linear_equals_the_scan_of_mamba_2(drawn: list[Tensor]) -> None:
    package = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")
    if not hasattr(package, "mamba2_chunk_scan"):
        pytest.skip("this version has no such function")
    q, k, v, log_decay, _, state, weights = drawn
    ours = gated_linear_attention((q, k, v, log_decay), None, state, torch.ones(HEADS, WIDTH))
    # Their decay is the exponential of A times the step, and the step also scales the values: with
    # steps of one, A is the logarithm of the decay, and may differ from token to token.
    values, rates, keys, queries = (x.transpose(1, 2) for x in (v, log_decay, k, q))
    out, last = package.mamba2_chunk_scan(
        values,
        torch.ones_like(rates),
        rates,
        keys,
        queries,
        chunk_size=32,
        initial_states=state.transpose(2, 3),
        return_final_states=True,
    )
    theirs = normed(out.transpose(1, 2) / WIDTH**0.5), last.transpose(2, 3)
    assert_same(ours, theirs, [q, k, v, log_decay, state], weights)


@pytest.mark.parametrize(
    "name", ["torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule"]
)
def test_gated_delta_equals_qwen_3_next(name: str, drawn: list[Tensor]) -> None:
    package = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    q, k, v, log_decay, strength, state, weights = drawn
    ours = gated_delta_attention(
        (q, k, v, log_decay, strength), None, state, torch.ones(HEADS, WIDTH)
    )
    out, last = getattr(package, name)(
        *(x.transpose(1, 2) for x in (q, k, v, log_decay, strength)),
        initial_state=state,
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )
    # Their queries are divided by the root of the width.
    theirs = normed(out.transpose(1, 2) * WIDTH**0.5), last
    assert_same(ours, theirs, [q, k, v, log_decay, strength, state], weights)
