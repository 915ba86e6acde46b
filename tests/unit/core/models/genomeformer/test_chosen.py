"""Features of some positions are what they are among all, and so are the gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from tests.gradient_cases import COMPLEMENT, MIXTURES, SHAPES, config

BATCH, LENGTH = 3, 37
PADDED = torch.arange(LENGTH) < torch.tensor([LENGTH, 20, 9])[:, None]
PACKED = torch.tensor([[0] * 30 + [1] * 7, [2] * 5 + [3] * 20 + [-1] * 12, [4] * 37])
FORMS: dict[str, dict[str, Any]] = {
    "patches": {"patch": 4},
    "both strands": {"strands": "both", "complement": COMPLEMENT},
    "both strands by patches": {"strands": "both", "complement": COMPLEMENT, "patch": 4},
}


def tokens() -> Tensor:
    return torch.randint(5, 9, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))


def wanted(share: float, real: Tensor | None) -> Tensor:
    drawn = torch.rand(BATCH, LENGTH, generator=torch.Generator().manual_seed(3)) < share
    drawn[1] &= share >= 1
    return drawn if real is None else drawn & real


def model_of(attention: str, shape: str, **changes: Any) -> Model:
    plain = config(attention, shape)
    return build_model(ModelConfig(**{**vars(plain), **changes}), seed=4).double()


def weights_and_gradients(model: Model, features: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    loss = (features * torch.randn(features.shape, generator=generator).double()).sum()
    return list(torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True))


def assert_chosen_alike(model: Model, mask: Tensor | None, documents: Tensor | None) -> None:
    real = mask if documents is None else documents >= 0
    for share in (0.2, 1.0):
        chosen = SelectedPositions.from_mask(wanted(share, real))
        some = model.hidden_at(tokens(), mask, documents, chosen)
        among_all = chosen.gather(model.hidden(tokens(), mask, documents))
        torch.testing.assert_close(some, among_all, rtol=1e-12, atol=1e-12)
        pairs = (weights_and_gradients(model, one) for one in (some, among_all))
        for one, other in zip(*pairs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def assert_chosen_alike_however_rows_are_filled(model: Model) -> None:
    assert_chosen_alike(model, None, None)
    assert_chosen_alike(model, PADDED, None)
    assert_chosen_alike(model, None, PACKED)


@pytest.mark.parametrize("attention", MIXTURES)
def test_features_of_some_positions_are_those_among_all(attention: str) -> None:
    assert_chosen_alike_however_rows_are_filled(model_of(attention, "bidirectional"))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "bidirectional"])
def test_it_holds_in_models_of_every_shape(shape: str) -> None:
    assert_chosen_alike_however_rows_are_filled(model_of("linear", shape))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attention", ["softmax", "performer", "local"])
def test_it_holds_with_patches_and_both_strands(attention: str, form: str) -> None:
    assert_chosen_alike_however_rows_are_filled(model_of(attention, "bidirectional", **FORMS[form]))


@pytest.mark.parametrize("attention", MIXTURES)
def test_where_nothing_is_wanted_nothing_is_computed_and_nothing_fails(attention: str) -> None:
    model = model_of(attention, "bidirectional")
    none = SelectedPositions.from_mask(torch.zeros(BATCH, LENGTH, dtype=torch.bool))
    features = model.hidden_at(tokens(), None, None, none)
    assert features.shape == (0, model.feature_width)
    assert not any(bool(one.any()) for one in weights_and_gradients(model, features))


@pytest.mark.parametrize("attention", ["softmax", "linear", "performer", "linformer", "reformer"])
def test_the_last_mlp_computes_only_the_queried_positions(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(attention, "bidirectional")
    assert isinstance(model, Encoder)
    chosen = SelectedPositions.from_mask(wanted(0.2, None))
    seen: list[int] = []
    for block in model.stack:
        plain = block.add_mlp

        def spied(x: Tensor, plain: Any = plain) -> Tensor:
            seen.append(x.shape[:-1].numel())
            result: Tensor = plain(x)
            return result

        monkeypatch.setattr(block, "add_mlp", spied)
    model.hidden_at(tokens(), None, None, chosen)
    assert seen == [BATCH * LENGTH] * (len(model.stack) - 1) + [len(chosen.index_T)]
