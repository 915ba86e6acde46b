"""Pickled weights are read once, without running code, in a process of limited memory."""

from __future__ import annotations

import json
import pickle
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io import pickled_weights
from genomeformer_cli.core.model_io.pickled_weights import (
    PICKLED_FILE,
    PICKLED_INDEX,
    convert_pickled_weights,
    has_pickled_weights,
)
from genomeformer_cli.core.model_io.published_copy import published_files
from genomeformer_cli.core.model_io.tensors import read_weights

TENSORS = {
    "embedding.weight": torch.arange(12, dtype=torch.float32).view(3, 4),
    "norm.bias": torch.tensor([0.5, -0.5], dtype=torch.float16),
    "position_ids": torch.arange(4)[None],
}


class Command:
    """Object whose pickle creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


@pytest.fixture
def without_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Convert in this process, whose memory is not limited: a fresh one imports torch again."""

    def run(
        module: str, arguments: Sequence[Path], **place: object
    ) -> subprocess.CompletedProcess[str]:
        assert module == pickled_weights.__name__
        assert place.keys() == {"folder", "environment"}
        path, output = map(str, arguments)
        code = pickled_weights.main(path, output)
        return subprocess.CompletedProcess([path, output], code, *capsys.readouterr())

    monkeypatch.setattr(pickled_weights, "run_module", run)
    monkeypatch.setattr(pickled_weights, "_limit_memory", lambda num_bytes: None)


def check_equal(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    converted = read_weights(folder)
    assert converted.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert converted[name].dtype == tensor.dtype
        assert torch.equal(converted[name], tensor)


@pytest.mark.usefixtures("without_process")
@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_are_converted_bit_for_bit(folders: tuple[Path, Path], new_format: bool) -> None:
    source, target = folders
    assert not has_pickled_weights(source)
    # Tied tensors share memory.
    tensors = {**TENSORS, "head.weight": TENSORS["embedding.weight"]}
    torch.save(tensors, source / PICKLED_FILE, _use_new_zipfile_serialization=new_format)
    assert has_pickled_weights(source)
    convert_pickled_weights(source, target)
    check_equal(target, tensors)


@pytest.mark.usefixtures("without_process")
def test_shards_keep_their_index(folders: tuple[Path, Path]) -> None:
    source, target = folders
    places = {}
    for number, (name, tensor) in enumerate(TENSORS.items(), start=1):
        places[name] = f"pytorch_model-{number:05d}-of-00003.bin"
        torch.save({name: tensor}, source / places[name])
    (source / PICKLED_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    convert_pickled_weights(source, target)
    check_equal(target, TENSORS)


@pytest.mark.usefixtures("without_process")
def test_code_in_the_file_is_not_executed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = folders
    trace = tmp_path / "executed"
    with (source / PICKLED_FILE).open("wb") as file:
        pickle.dump({"a": Command(trace)}, file)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin` cannot be converted"):
        convert_pickled_weights(source, target)
    torch.save({"a": Command(trace)}, source / PICKLED_FILE)
    with pytest.raises(CheckpointError, match="cannot be converted"):
        convert_pickled_weights(source, target)
    assert not trace.exists()
    assert not list(target.iterdir())


def test_a_small_file_cannot_ask_for_much_memory(folders: tuple[Path, Path]) -> None:
    source, target = folders
    # One number in the file, and a billion in the tensor: 8 GiB once it is copied.
    huge = torch.zeros(1).expand(1 << 31)
    torch.save({"a": huge}, source / PICKLED_FILE)
    assert (source / PICKLED_FILE).stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=r"memory|allocate"):
        convert_pickled_weights(source, target)
    torch.save(TENSORS, source / PICKLED_FILE)
    convert_pickled_weights(source, target)
    check_equal(target, TENSORS)


@pytest.mark.usefixtures("without_process")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"epoch": 3, "a": torch.ones(1)}, "`epoch`, which is not a tensor"),
        ({"state_dict": {"a": torch.ones(1)}}, "`state_dict`, which is not a tensor"),
        ([torch.ones(1)], "no tensors by name"),
        ({"0": torch.ones(1), 0: torch.zeros(1)}, "name `0` of a tensor is not a text"),
    ],
)
def test_only_tensors_by_name_are_accepted(
    folders: tuple[Path, Path], content: object, reason: str
) -> None:
    source, target = folders
    torch.save(content, source / PICKLED_FILE)
    with pytest.raises(CheckpointError, match=reason):
        convert_pickled_weights(source, target)


def write_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(path))


@pytest.mark.usefixtures("without_process")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("<html>Not found</html>"),
        lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path),
        write_script,
    ],
    ids=["page", "sparse", "script"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*looks like a TorchScript archive:UserWarning")
def test_no_reason_advises_to_read_without_safety(
    folders: tuple[Path, Path], write: Callable[[Path], object]
) -> None:
    source, target = folders
    write(source / PICKLED_FILE)
    with pytest.raises(CheckpointError, match=r"converted: (it is|the tensor) ") as failure:
        convert_pickled_weights(source, target)
    assert "torch.load" not in failure.value.message
    assert "weights_only" not in failure.value.message
    assert not list(target.iterdir())


@pytest.mark.parametrize("name", ["../pytorch_model-00001-of-00001.bin", "other.bin", ""])
def test_an_index_names_only_shards_of_its_folder(folders: tuple[Path, Path], name: str) -> None:
    source, target = folders
    (source / PICKLED_INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="invalid names of shards"):
        convert_pickled_weights(source, target)


SHARDS = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model.safetensors.index.json", *SHARDS], ["model.safetensors.index.json", *SHARDS]),
        (["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"]),
        (
            ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"],
            ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"],
        ),
    ],
)
def test_safetensors_are_preferred_and_code_is_left_out(
    weights: list[str], expected: list[str]
) -> None:
    names = ["README.md", "config.json", "vocab.txt", "modeling_x.py", "x/vocab.txt", *weights]
    assert published_files(names) == ["README.md", "config.json", "vocab.txt", *expected]


def test_repositories_without_readable_weights_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no `config\.json`"):
        published_files(["model.safetensors"])
    with pytest.raises(CheckpointError, match=r"only `weights\.ckpt`"):
        published_files(["config.json", "weights.ckpt", "model-00001-of-00002.safetensors"])
