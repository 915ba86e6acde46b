"""Weights and training state come back as they went, or say why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.errors import CheckpointError, ConfigError, CorruptError
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.rotation import (
    checkpoint_folder,
    drop_old_checkpoints,
    list_checkpoints,
    newest_valid_checkpoint,
)
from genomeformer_cli.core.model_io.training_state import (
    device_of_state,
    gather_state,
    read_checkpoint,
    write_checkpoint,
)
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.optimizer import Optimizers, build_optimizers

SMALL = ModelConfig(context=16, width=8, depth=1, num_heads=2, mlp_width=8)


class Listener(SilentReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def trained(seed: int = 0) -> tuple[Encoder, Optimizers]:
    model = Encoder(SMALL, seed=seed)
    optimizers = build_optimizers(model, TrainingConfig())
    for step in range(3):
        tokens = torch.randint(5, 9, (2, 16), generator=torch.Generator().manual_seed(step))
        torch.autograd.backward(model(tokens, None).square().mean())
        optimizers[0].step()
    return model, optimizers


def save(run: Path, step: int, seed: int = 0) -> Path:
    folder = checkpoint_folder(run, step)
    folder.mkdir(parents=True)
    model, optimizers = trained(seed)
    state = gather_state(model, optimizers)
    write_checkpoint(folder, model=model, tokenizer=CharTokenizer(), state=state, step=step)
    seal(folder)
    return folder


def flip_byte(path: Path, place: int = -5) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_weights_and_optimizer_come_back_to_the_bit(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    model, (optimizer,) = trained()
    restored = Encoder(SMALL, seed=9)
    (restored_optimizer,) = build_optimizers(restored, TrainingConfig())
    assert read_checkpoint(folder, model=restored, optimizers=[restored_optimizer]) == 3
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, restored.state_dict()[name])
    for one, other in zip(model.parameters(), restored.parameters(), strict=True):
        assert optimizer.state[one].keys() == restored_optimizer.state[other].keys()
        for key, value in optimizer.state[one].items():
            assert torch.equal(value, restored_optimizer.state[other][key])


@pytest.mark.parametrize(("fused", "there"), [(True, "meta"), (False, "cpu")])
def test_a_fused_optimizer_finds_its_steps_beside_the_weights(fused: bool, there: str) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], fused=fused)
    elsewhere = torch.empty(2, device="meta")
    assert device_of_state(torch.tensor(3.0), elsewhere, optimizer).type == there
    assert device_of_state(torch.zeros(2), elsewhere, optimizer).type == "meta"


def test_a_loaded_model_gives_the_same_logits(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    tokens = torch.randint(5, 9, (2, 16))
    assert torch.equal(read_model(folder).model(tokens, None), trained()[0](tokens, None))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, 3)
    flip_byte(folder / name)
    with pytest.raises(CorruptError, match=name):
        read_model(folder)


def test_a_truncated_file_whose_seal_was_renewed_is_still_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    seal(folder)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        read_model(folder)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["mlp_width"] = 16
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder)
    with pytest.raises(CheckpointError, match="do not fit"):
        read_model(folder)


def test_a_setting_of_a_later_version_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["hypernetwork"] = True
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder)
    with pytest.raises(ConfigError, match="hypernetwork"):
        read_model(folder)


def test_a_folder_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    seal(tmp_path)
    with pytest.raises(CheckpointError, match="no architecture"):
        read_model(tmp_path)


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        save(tmp_path, step)
    drop_old_checkpoints(tmp_path, keep=2)
    kept = [checkpoint_folder(tmp_path, step) for step in (10, 100)]
    assert list_checkpoints(tmp_path) == kept


def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(tmp_path: Path) -> None:
    older, newer = save(tmp_path, 5), save(tmp_path, 10)
    flip_byte(newer / "optimizer.safetensors")
    listener = Listener()
    assert newest_valid_checkpoint(tmp_path, listener) == older
    assert "optimizer.safetensors" in listener.warnings[0]


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path: Path) -> None:
    flip_byte(save(tmp_path, 5) / "model.safetensors")
    with pytest.raises(CheckpointError, match="every checkpoint"):
        newest_valid_checkpoint(tmp_path, Listener())
    assert newest_valid_checkpoint(tmp_path / "fresh", Listener()) is None
