"""A bundle holds the checkpoint's weights, is sealed, and is proven by its vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.checkpoints.weights import (
    WEIGHTS_FILE,
    LoadedModel,
    read_model,
    read_tensors,
    write_model,
    write_tensors,
)
from genomeformer_cli.core.errors import CheckpointError, CorruptError
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.model.encoder import Encoder
from genomeformer_cli.core.release.bundle import verify_bundle, write_bundle
from genomeformer_cli.core.store.seal import check_seal, seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.files import flip_a_byte, names_in

CONFIG = ModelConfig(context=32, width=16, depth=1, num_heads=2, mlp_width=32)


@pytest.fixture
def original(tmp_path: Path) -> LoadedModel:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    write_model(Encoder(CONFIG, seed=0), CharTokenizer(), folder)
    (folder / "optimizer.safetensors").write_bytes(b"state of training")
    seal(folder)
    return read_model(folder)


@pytest.fixture
def bundle(tmp_path: Path, original: LoadedModel) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_bundle(
        folder, checkpoint=original.folder, card="# card\n", results="{}\n", train_config=""
    )
    return folder


def test_a_bundle_is_whole_and_without_the_state_of_training(bundle: Path) -> None:
    assert check_seal(bundle) == len(names_in(bundle)) - 1
    assert "optimizer.safetensors" not in names_in(bundle)
    assert (bundle / "README.md").read_text(encoding="utf-8") == "# card\n"


def test_a_bundle_gives_the_vectors_of_its_checkpoint(bundle: Path, original: LoadedModel) -> None:
    assert verify_bundle(bundle, original) == 0.0


def test_a_flipped_byte_is_found(bundle: Path, original: LoadedModel) -> None:
    flip_a_byte(bundle / WEIGHTS_FILE)
    with pytest.raises(CorruptError, match="checksum"):
        verify_bundle(bundle, original)


@pytest.mark.parametrize("by", [1e-2, float("nan")])
def test_other_weights_are_found_though_the_seal_holds(
    bundle: Path, original: LoadedModel, by: float
) -> None:
    tensors = read_tensors(bundle / WEIGHTS_FILE)
    name = "embedding.weight"
    moved = tensors[name] + by * torch.arange(tensors[name].shape[1])
    write_tensors({**tensors, name: moved}, bundle / WEIGHTS_FILE)
    seal(bundle)
    with pytest.raises(CheckpointError, match="differ"):
        verify_bundle(bundle, original)
