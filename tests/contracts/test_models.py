"""Contract of all models: shapes, selected positions, layers and slices agree with `hidden`."""

from __future__ import annotations

import pytest
import torch

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.model_io.model_folder import describe_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import ARCHITECTURES, build_model

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
CONFIGS = {
    "bidirectional": ModelConfig(width=32, depth=2, attention=AttentionConfig(name="linear")),
    "causal": ModelConfig(
        width=32, depth=2, direction="causal", attention=AttentionConfig(name="linear")
    ),
    "two-stack": ModelConfig(
        width=32,
        depth=2,
        direction="two-stack",
        complement=COMPLEMENT,
        attention=AttentionConfig(name="linear"),
    ),
    "both strands": ModelConfig(width=32, depth=2, strands="both", complement=COMPLEMENT),
    "patches": ModelConfig(width=32, depth=2, patch=4),
    "without query-key norm": ModelConfig(
        width=32, depth=2, query_key_norm=False, attention=AttentionConfig(name="linear")
    ),
    "causal without query-key norm": ModelConfig(
        width=32,
        depth=2,
        query_key_norm=False,
        direction="causal",
        attention=AttentionConfig(name="linear"),
    ),
}


@pytest.fixture(params=CONFIGS, scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    return build_model(CONFIGS[request.param], seed=3).double().eval()


@pytest.fixture
def token_rows() -> torch.Tensor:
    return torch.randint(5, 9, (2, 24), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_logits_are_those_of_the_features(model: Model, token_rows: torch.Tensor) -> None:
    features_BLE = model.hidden(token_rows, None)
    assert features_BLE.shape == (2, 24, model.feature_width)
    logits_BLV = model(token_rows, None)
    assert logits_BLV.shape == (2, 24, model.config.vocabulary_size)
    torch.testing.assert_close(model.logits(features_BLE), logits_BLV)


@torch.no_grad()
def test_selected_positions_have_the_features_of_whole_rows(
    model: Model, token_rows: torch.Tensor
) -> None:
    selected = SelectedPositions.from_mask(token_rows == 6)
    features_TE = model.hidden_at(token_rows, None, None, selected)
    torch.testing.assert_close(features_TE, selected.gather(model.hidden(token_rows, None)))


@torch.no_grad()
def test_layers_have_their_width_and_the_last_is_hidden(
    model: Model, token_rows: torch.Tensor
) -> None:
    layers = (0, 1, 2)
    features = model.hidden_layers(token_rows, None, layers)
    assert [x_BLE.shape[-1] for x_BLE in features] == [model.layer_width(one) for one in layers]
    torch.testing.assert_close(features[-1], model.hidden(token_rows, None))


def test_slices_have_the_features_of_whole_rows(model: Model, token_rows: torch.Tensor) -> None:
    if model.can_stream:
        slices = [part_BCE for _, _, part_BCE in model.features_by_slices(token_rows, 8)]
        with torch.no_grad():
            torch.testing.assert_close(torch.cat(slices, dim=1), model.hidden(token_rows, None))
    else:
        assert model.config.patch > 1 or model.config.strands == "both"


def test_size_and_device(model: Model) -> None:
    assert model.device.type == "cpu"
    assert model.num_parameters == sum(weight.numel() for weight in model.parameters()) > 0


def test_config_names_the_architecture(model: Model) -> None:
    assert describe_model(model.config)["model_type"] in ARCHITECTURES
