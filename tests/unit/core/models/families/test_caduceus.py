"""Caduceus in the authors' layout: the numbers of their code, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.models.caduceus import Caduceus, CaduceusConfig
from genomeformer_cli.core.sequence import encode_bases

DATA = Path(__file__).parents[4] / "data/architectures/caduceus"
VARIANTS = ("ps", "ph", "ps-unfused", "plant")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "ps", tmp_path / "ps"))


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_tensor(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path) | ({} if tensor is None else {name: tensor})
    if tensor is None:
        del tensors[name]
    save_file(tensors, path)


@torch.no_grad()
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_and_hidden_states_are_those_of_the_authors(name: str) -> None:
    loaded, expected = read_model(DATA / name), load_file(DATA / name / "expected.safetensors")
    model = loaded.model
    assert isinstance(model, Caduceus)
    layers = tuple(range(model.config.depth + 1))
    lengths = [int(key.partition(".")[0]) for key in expected if key.endswith("ids")]
    rows = [expected[f"{length}.ids"].long() for length in lengths]
    padded_BL = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=4)
    mask_BL = torch.arange(padded_BL.shape[1]) < torch.tensor(lengths)[:, None]
    batch = model.hidden_layers(padded_BL, mask_BL, layers)
    for row, (length, tokens_L) in enumerate(zip(lengths, rows, strict=True)):
        alone = model.hidden_layers(tokens_L[None], None, layers)
        for features in ([one[0] for one in alone], [one[row, :length] for one in batch]):
            for layer in layers:
                torch.testing.assert_close(
                    features[layer], expected[f"{length}.hidden.{layer}"], rtol=1e-5, atol=1e-5
                )
            logits_LV = model.logits(features[-1])
            torch.testing.assert_close(
                logits_LV, expected[f"{length}.logits"], rtol=1e-5, atol=1e-5
            )


def test_tokens_are_letters_without_a_frame() -> None:
    loaded = read_model(DATA / "ps")
    assert loaded.tokenizer.encode(encode_bases("ACGTNacgtr")).tolist() == [
        *(7, 8, 9, 10, 11),
        *(7, 8, 9, 10, 11),
    ]
    assert isinstance(loaded.model.config, CaduceusConfig)
    assert loaded.model.config.frame.size == 0
    assert loaded.model.is_equivariant
    assert not read_model(DATA / "ph").model.is_equivariant


def test_the_context_is_that_of_the_tokenizer(folder: Path) -> None:
    assert read_model(folder).model.config.context == 1_024
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert read_model(folder).model.config.context == 512


REFUSED: dict[str, dict[str, Any]] = {
    "bidirectional": {"bidirectional": False},
    "bidirectional_strategy": {"bidirectional_strategy": "ew_multiply"},
    "bidirectional_weight_tie": {"bidirectional_weight_tie": False},
    "rms_norm": {"rms_norm": False},
    "layer": {"ssm_cfg": {"layer": "Mamba2"}},
    "headdim": {"ssm_cfg": {"headdim": 64}},
    "bias": {"ssm_cfg": {"bias": True}},
    "layer_cfg": {"layer_cfg": {"mamba_cfg": {"version": "v2"}}},
    "complement_map": {"complement_map": {"0": 0, "10": 1, "1": 10}},
    "complement_map, too short": {"vocab_size": 1 << 20},
    "modeling_new.Caduceus": {"auto_map": {"AutoModel": "modeling_new.Caduceus"}},
    "architectures": {"architectures": ["CaduceusForSequenceClassification"]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_without_a_port_are_refused_by_name(name: str, folder: Path) -> None:
    change_config(folder, **REFUSED[name])
    with pytest.raises(ConfigError, match=f"`{name.partition(',')[0]}`"):
        read_model(folder)


def test_a_configuration_of_any_size_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DATA / "ph", tmp_path / "ph"))
    for key in ("vocab_size", "d_model", "n_layer"):
        for size in (1 << 40, 1 << 20):
            change_config(folder, **{key: size})
            with pytest.raises((CheckpointError, ConfigError)):
                read_model(folder)
        change_config(folder, **{key: json.loads((DATA / "ph/config.json").read_text())[key]})
    read_model(folder)


def test_tied_tensors_must_be_equal(folder: Path) -> None:
    name = "caduceus.backbone.layers.0.mixer.submodule.mamba_fwd.out_proj.weight"
    tensor = load_file(folder / "model.safetensors")[name]
    change_tensor(folder, name.replace("fwd", "rev"), tensor.clone())
    read_model(folder)
    change_tensor(folder, name.replace("fwd", "rev"), tensor + 1)
    with pytest.raises(CheckpointError, match=r"mamba_rev\.out_proj\.weight` differ"):
        read_model(folder)


def test_the_complement_of_the_weights_must_be_that_of_the_configuration(folder: Path) -> None:
    change_tensor(folder, "lm_head.complement_map", torch.arange(16))
    with pytest.raises(CheckpointError, match="complement_map"):
        read_model(folder)


@pytest.mark.parametrize(
    "name", ["caduceus.backbone.norm_f.weight", "caduceus.backbone.layers.2.norm.weight"]
)
def test_missing_and_unknown_tensors_are_refused_by_name(name: str, folder: Path) -> None:
    change_tensor(folder, "score.weight", torch.zeros(2, 10))
    with pytest.raises(CheckpointError, match=r"`score\.weight`"):
        read_model(folder)
    change_tensor(folder, "score.weight", None)
    change_tensor(folder, name, None)
    with pytest.raises(CheckpointError, match=name.rpartition("backbone.")[2]):
        read_model(folder)
