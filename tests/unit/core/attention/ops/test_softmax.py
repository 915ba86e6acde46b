"""Softmax attention in bfloat16 on a CPU, beside what is written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from genomeformer_cli.core.attention.ops import softmax
from genomeformer_cli.core.attention.ops.softmax import (
    softmax_attention,
    softmax_attention_reference,
)


@pytest.mark.parametrize("length", [1, 13, 128, 131])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_bfloat16_is_as_near_the_truth_as_torch_whatever_the_length(
    length: int, monkeypatch: pytest.MonkeyPatch, *, causal: bool, padded: bool
) -> None:
    generator = torch.Generator().manual_seed(length)
    shape = (2, 3, length, 16)
    drawn = [torch.randn(shape, generator=generator).bfloat16() for _ in range(4)]
    mask_BL = torch.ones(2, length, dtype=torch.bool)
    mask_BL[1, length // 2 + 1 :] = False
    mask = mask_BL if padded else None
    d_out = drawn[3] * mask_BL[:, None, :, None]

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [one.to(dtype).requires_grad_() for one in drawn[:3]]
        q, k, v = inputs
        if dtype == torch.bfloat16:
            out = softmax_attention(q, k, v, mask, causal=causal)
        else:
            out = softmax_attention_reference(q, k, v, mask, causal=causal)
        assert out.dtype == dtype
        found = torch.autograd.grad(out, inputs, d_out.to(dtype))
        return [(out * mask_BL[:, None, :, None]).double(), *(one.double() for one in found)]

    truth, ours = gradients(torch.float64), gradients(torch.bfloat16)
    monkeypatch.setattr(softmax, "_SHORT", 0)
    plain = gradients(torch.bfloat16)
    for exact, here, torchs in zip(truth, ours, plain, strict=True):
        assert functional.mse_loss(here, exact) <= 1.1 * functional.mse_loss(torchs, exact) + 1e-12
