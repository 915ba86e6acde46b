"""Published folders with odd settings: a model or one clear sentence, in little time and memory."""

from __future__ import annotations

import dataclasses
import json
import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, GenomeformerError
from genomeformer_cli.core.model_io.model_folder import read_model, read_model_config
from genomeformer_cli.core.model_io.skeleton import check_shapes
from genomeformer_cli.core.model_io.tensors import INDEX_FILE, WEIGHTS_FILE, read_weights
from genomeformer_cli.core.models.decoder import DecoderConfig
from tests.published_folders import FOLDERS, write_published
from tests.strategies import repeatable

NAMES = ("hyenadna", "caduceus-ps", "nucleotide-transformer", "mixtral", "gpn", "modernbert")
ODD: tuple[Any, ...] = (
    *(-1, 0, 3, 1 << 31, 1 << 63, 10**30, 1e308, -1e-9, 0.5, float("nan"), float("inf")),
    *(None, True, "", "12", "x" * 10_000, "\x1b[31m", [], [1], {}, {"a": {"a": [None]}}),
)
LONGEST_MESSAGE = 500


@lru_cache
def folder_of(name: str) -> Path:
    return write_published(name, Path(mkdtemp()))


def with_settings(name: str, **settings: Any) -> Path:
    """Return a copy of a folder with other values in `config.json`; its weights are links."""
    source, folder = folder_of(name), Path(mkdtemp())
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    document = json.loads((source / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**document, **settings}))
    return folder


@pytest.mark.parametrize("name", NAMES)
@repeatable
@given(data=st.data(), value=st.sampled_from(ODD))
def test_an_odd_value_is_read_or_refused_in_one_sentence(
    name: str, data: st.DataObject, value: Any
) -> None:
    keys = sorted(json.loads((folder_of(name) / "config.json").read_text()))
    key = data.draw(st.sampled_from(keys))
    folder = with_settings(name, **{key: value})
    failure = None
    try:
        read_model(folder)
    except GenomeformerError as refusal:
        failure = refusal
    shutil.rmtree(folder)
    if failure is not None:
        assert failure.hint
        assert "\n" not in failure.message
        assert len(failure.message.replace(str(folder), "")) < LONGEST_MESSAGE


@pytest.mark.parametrize("value", [["bert"], {"a": 1}, 3])
def test_a_model_type_that_is_not_a_text_belongs_to_no_family(value: Any) -> None:
    with pytest.raises(CheckpointError, match="no architecture"):
        read_model(with_settings("gpn", model_type=value))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [1 << 31, 10_001])
def test_a_few_bytes_cannot_ask_for_many_parts(name: str, value: int) -> None:
    document = json.loads((folder_of(name) / "config.json").read_text())
    counts = {key for key in document if key.startswith(("num_", "n_"))} - {"num_labels"}
    refused = set()
    for key in counts:
        try:
            read_model(with_settings(name, **{key: value}))
        except GenomeformerError:
            refused.add(key)
    # The others are never read.
    assert refused & {"num_hidden_layers", "n_layer"}


def test_a_model_of_more_parts_than_tensors_is_not_built() -> None:
    config = read_model_config(folder_of("mixtral"))
    assert isinstance(config, DecoderConfig)
    many = dataclasses.replace(config, num_experts=600)
    with pytest.raises(CheckpointError, match="more parts than the weights have tensors"):
        check_shapes(many, {"a": (1,), "b": (1,)}, Path("folder"))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_tokenizer_of_code_that_is_not_ported_is_refused(name: str) -> None:
    folder = with_settings(name)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.unlink(missing_ok=True)
    settings["auto_map"] = {"AutoTokenizer": ["new_tokens.NewTokenizer", None]}
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=r"new_tokens\.NewTokenizer.*not ported"):
        read_model(folder)


def shards(folder: Path, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Write two shards and their index."""
    names = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]
    for name, tensors in zip(names, (first, second), strict=True):
        save_file(tensors, folder / name, metadata={"format": "pt"})
    places = dict.fromkeys(first, names[0]) | dict.fromkeys(second, names[1])
    (folder / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_a_tensor_of_two_shards_is_refused_by_name(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("gpn"), tmp_path / "gpn"))
    tensors = load_file(folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).unlink()
    name = min(tensors)
    shards(folder, tensors, {name: tensors[name] + 1})
    with pytest.raises(CheckpointError, match=f"`{name}` of another shard"):
        read_model(folder)


def test_of_a_file_and_shards_the_file_is_read_as_the_libraries_do(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("gpn"), tmp_path / "gpn"))
    tensors = load_file(folder / WEIGHTS_FILE)
    shards(folder, {name: tensor + 1 for name, tensor in tensors.items()}, {"b": torch.ones(1)})
    assert read_weights(folder).keys() == tensors.keys()
    assert all(torch.equal(item, tensors[name]) for name, item in read_weights(folder).items())
    read_model(folder)
