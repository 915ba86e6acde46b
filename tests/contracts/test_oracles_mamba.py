"""Causal Mamba against `transformers`: logits and all hidden states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM

from genomeformer_cli.core.models.families.mamba import FAMILY
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.mamba import Mamba
from genomeformer_cli.core.models.registry import build_model

VARIANTS: dict[str, dict[str, Any]] = {
    "published form": {},
    "biases": {"use_bias": True, "use_conv_bias": False},
    "own head": {"tie_word_embeddings": False, "time_step_rank": 3},
    "other sizes": {"expand": 3, "conv_kernel": 2, "state_size": 7, "layer_norm_epsilon": 1e-3},
}
LENGTHS = (1, 2, 3, 17, 64, 130)


@pytest.fixture(params=VARIANTS, scope="module")
def theirs(request: pytest.FixtureRequest) -> MambaForCausalLM:
    torch.manual_seed(3)
    sizes = {"vocab_size": 24, "hidden_size": 20, "num_hidden_layers": 3, "state_size": 16}
    model = MambaForCausalLM(MambaConfig(**{**sizes, **VARIANTS[request.param]}))
    model.train(mode=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("bias", "norm.weight", "norm_f.weight", ".D", "A_log")):
                weight.add_(torch.randn_like(weight) * 0.2)
    return model


@pytest.fixture(scope="module")
def ours(theirs: MambaForCausalLM) -> Mamba:
    document = theirs.config.to_diff_dict() | {"architectures": ["MambaForCausalLM"]}
    config = FAMILY.read_config(document, Frame())
    model = build_model(config).eval()
    assert isinstance(model, Mamba)
    model.load_state_dict(FAMILY.convert(theirs.state_dict(), config))
    return model


def tokens(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(0, 24, (2, length), generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("length", LENGTHS)
def test_logits_and_hidden_states_are_equal(
    theirs: MambaForCausalLM, ours: Mamba, length: int
) -> None:
    tokens_BL = tokens(length)
    expected = theirs(tokens_BL, output_hidden_states=True)
    embedded_BLE = theirs.backbone.embeddings(tokens_BL)
    # Their list has the stream after every block, then the last one through the norm.
    states = (embedded_BLE, *expected.hidden_states[:-2], expected.hidden_states[-1])
    layers = ours.hidden_layers(tokens_BL, None, tuple(range(len(states))))
    for features, state in zip(layers, states, strict=True):
        torch.testing.assert_close(features, state, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.logits(layers[-1]), expected.logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_padded_rows_have_the_logits_of_their_rows(theirs: MambaForCausalLM, ours: Mamba) -> None:
    tokens_BL = tokens(40)
    mask_BL = torch.arange(40) < torch.tensor([[40], [23]])
    logits_BLV = ours(tokens_BL, mask_BL)
    for row, length in ((0, 40), (1, 23)):
        expected = theirs(tokens_BL[row : row + 1, :length]).logits[0]
        torch.testing.assert_close(logits_BLV[row, :length], expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_equal(theirs: MambaForCausalLM, ours: Mamba) -> None:
    tokens_BL = tokens(40)
    names, weights = zip(*theirs.named_parameters(), strict=True)
    total = theirs(tokens_BL).logits.square().mean()
    expected = dict(zip(names, torch.autograd.grad(total, weights), strict=True))
    names, weights = zip(*ours.named_parameters(), strict=True)
    found = torch.autograd.grad(ours(tokens_BL, None).square().mean(), weights)
    converted = FAMILY.convert(expected, ours.config)
    assert converted.keys() == set(names)
    for name, gradient in zip(names, found, strict=True):
        torch.testing.assert_close(gradient, converted[name], rtol=1e-4, atol=1e-5, msg=name)
