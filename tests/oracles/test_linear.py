"""Linear attention against the sums of `performer-pytorch`, given the same features."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.attention.ops.linear import CausalLinearAttention, LinearAttention

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("performer_pytorch.performer_pytorch", exc_type=ImportError)


def features(x: Tensor, name: str) -> Tensor:
    return x.square() if name == "squared" else functional.elu(x) + 1


@pytest.mark.parametrize("feature_map", ["elu", "squared"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 37, 300])
def test_values_and_gradients_equal_theirs(
    package: Any, feature_map: str, causal: bool, length: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, length, 8)
    q, k, v, weights = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)
    )
    leaves = [x.requires_grad_() for x in (q, k, v)]
    phi_q, phi_k = features(q, feature_map), features(k, feature_map)
    if causal:
        ours = CausalLinearAttention(feature_map=feature_map, head_width=8)(q, k, v, None)
        theirs = package.causal_linear_attention_noncuda(phi_q, phi_k, v, chunk_size=7, eps=0.0)
    else:
        ours = LinearAttention(feature_map=feature_map)(q, k, v, None)
        theirs = package.linear_attention(phi_q, phi_k, v)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    found, wanted = (torch.autograd.grad((out * weights).sum(), leaves) for out in (ours, theirs))
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).norm()) <= 1e-12 * max(float(other.norm()), 0.1)
