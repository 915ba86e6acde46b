"""Exported graphs give the outputs of the model for every mechanism, length and padding."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig, attention_entry
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release.onnx_forms import in_plain_form, without_form

Direction = Literal["bidirectional", "causal"]
REFUSED = {"reformer": "ReformerAttention", "gated-delta": "GatedDeltaAttention"}
LENGTHS = (40, 1, 17, 6, 33)


def config_of(name: str, direction: Direction) -> ModelConfig:
    attention = AttentionConfig(
        name=name,
        num_features=16,
        window=5,
        num_global=2,
        num_projected=12,
        num_landmarks=8,
        value_conv_width=5,
    )
    return ModelConfig(
        context=40,
        width=16,
        depth=2,
        num_heads=2,
        mlp_width=24,
        attention=attention,
        direction=direction,
    )


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        (name, direction)
        for name in sorted(ATTENTIONS.keys() - REFUSED.keys())
        for direction in ("bidirectional", "causal")
        if direction in attention_entry(name).directions
    ],
)
@torch.no_grad()
def test_the_plain_form_gives_the_same_output(name: str, direction: Direction) -> None:
    model = build_model(config_of(name, direction), seed=3).eval()
    assert without_form(model) is None
    plain = in_plain_form(model)
    generator = torch.Generator().manual_seed(0)
    tokens_BL = torch.randint(5, 10, (len(LENGTHS), max(LENGTHS)), generator=generator)
    real_BL = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    for mask_BL in (real_BL, torch.ones_like(real_BL)):
        ours_BLE, theirs_BLE = (one.hidden(tokens_BL, mask_BL) for one in (model, plain))
        assert bool(theirs_BLE.isfinite().all())
        assert torch.allclose(ours_BLE[mask_BL], theirs_BLE[mask_BL], atol=2e-5)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_plain_form_is_named(name: str) -> None:
    assert without_form(build_model(config_of(name, "bidirectional"))) == REFUSED[name]
