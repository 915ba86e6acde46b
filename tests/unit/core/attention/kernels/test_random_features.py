"""Random features and rotary positions against what defines them."""

from __future__ import annotations

import math

import numpy as np
import torch

from genomeformer_cli.core.attention.batch_layout import Layout, Rotary
from genomeformer_cli.core.attention.kernels.random_features import (
    log_positive_features,
    orthogonal_projection,
)
from genomeformer_cli.core.attention.kernels.rotary import rotate
from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.attention.registry import AttentionConfig, AttentionContext


def test_rows_of_a_block_are_orthogonal() -> None:
    projection = orthogonal_projection(8, 8, generator=torch.Generator().manual_seed(0))
    gram = projection @ projection.T
    off_diagonal = gram - torch.diag(torch.diag(gram))
    assert off_diagonal.abs().max() < 1e-4 * gram.diag().max()


def test_row_norms_are_those_of_gaussian_vectors() -> None:
    projection = orthogonal_projection(4000, 16, generator=torch.Generator().manual_seed(0))
    squared = projection.square().sum(dim=1)
    assert abs(float(squared.mean()) - 16) < 4 * math.sqrt(2 * 16 / 4000)


def test_squared_row_norms_vary_as_chi_squared_does() -> None:
    """Their variance is 2 D: rows of one length have the same mean, and estimate with bias."""
    number, width = 20_000, 8
    projection = orthogonal_projection(number, width, generator=torch.Generator().manual_seed(0))
    squared = projection.double().square().sum(dim=1)
    # The variance of a sample's variance: 2 plus the excess kurtosis, 12 / D, over the number.
    error = 2 * width * math.sqrt((2 + 12 / width) / number)
    assert abs(float(squared.var()) - 2 * width) < 4 * error
    # Norms and directions are independent: blocks of orthogonal rows differ in length.
    blocks = squared.view(-1, width)
    assert float(blocks.std(dim=1).min()) > 0.1


def test_the_mean_of_features_is_that_of_gaussian_vectors() -> None:
    """E[exp(w.x)] = exp(|x|^2 / 2), which rows of one length miss by a seventh here."""
    projection = orthogonal_projection(100_000, 4, generator=torch.Generator().manual_seed(1))
    for direction in torch.eye(4):
        mean = float((projection @ (1.5 * direction)).double().exp().mean())
        assert abs(mean / math.exp(1.5**2 / 2) - 1) < 0.05


def test_the_features_estimate_the_softmax_kernel_without_bias() -> None:
    generator = torch.Generator().manual_seed(1)
    q, k = (0.5 * torch.randn(1, 1, 1, 8, generator=generator).double() for _ in range(2))
    projection = orthogonal_projection(100_000, 8, generator=generator).double()
    phi_q, phi_k = (torch.exp(log_positive_features(x, projection)) for x in (q, k))
    estimate = float((phi_q * phi_k).mean())
    assert abs(estimate / math.exp(float((q * k).sum()) / math.sqrt(8)) - 1) < 0.02


def test_rotation_is_multiplication_by_a_unit_complex_number() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 1, 9, 6, generator=generator)
    cos, sin = Rotary(head_width=6, base=10_000.0).angles(torch.arange(9))
    values = x.numpy()
    turned = (values[..., :3] + 1j * values[..., 3:]) * np.exp(
        1j * np.arange(9)[:, None] * 10_000.0 ** (-np.arange(0, 6, 2) / 6)
    )
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(rotate(x, cos, sin).numpy(), expected, atol=1e-5)


def test_scores_depend_on_relative_positions_only() -> None:
    generator = torch.Generator().manual_seed(3)
    q, k = (torch.randn(1, 1, 1, 8, generator=generator).expand(1, 1, 12, 8) for _ in range(2))
    cos, sin = Rotary(head_width=8, base=10_000.0).angles(torch.arange(12))
    scores = (rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2))[0, 0]
    for distance in range(-5, 6):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)


def test_the_layer_is_the_mechanism_between_two_projections() -> None:
    """With identity projections and no rotation it is plain attention of the normed input."""
    setting = AttentionContext(num_heads=2, head_width=4, context=5, causal=False)
    layer = AttentionLayer(
        name="softmax", config=AttentionConfig(), setting=setting, generator=torch.Generator()
    )
    with torch.no_grad():
        layer.qkv.weight.copy_(torch.eye(8).repeat(3, 1))
        layer.out.weight.copy_(torch.eye(8))
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(4))
    found = layer(x, Layout(None, torch.ones(5, 2), torch.zeros(5, 2)))
    heads = x.view(2, 5, 2, 4).transpose(1, 2)
    normed = heads / heads.square().mean(dim=-1, keepdim=True).add(1e-6).sqrt()
    weights = torch.softmax(normed @ normed.transpose(-1, -2) / 2, dim=-1)
    expected = (weights @ heads).transpose(1, 2).reshape(2, 5, 8)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
