"""A bundle has every file and no other, is sealed, and is proven by what it says elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genomeformer_cli.core.errors import CheckpointError, CorruptError
from genomeformer_cli.core.model_io.bundle_layout import (
    REQUIRED,
    check_layout,
    is_bundle_file,
    list_files,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, weights_digest
from genomeformer_cli.core.model_io.tensors import (
    INDEX_FILE,
    WEIGHTS_FILE,
    read_header,
    read_tensors,
    write_tensors,
)
from genomeformer_cli.core.release.selftest import reference_outputs
from genomeformer_cli.core.release.storage import Storage
from genomeformer_cli.core.release.verify import verify_bundle
from genomeformer_cli.core.store.seal import check_seal, seal
from tests.bundles import NAME, make_bundle
from tests.files import everything_in, flip_a_byte


@pytest.fixture
def original(tmp_path: Path) -> LoadedModel:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def bundle(original: LoadedModel) -> Path:
    return original.folder


def test_a_bundle_is_whole(bundle: Path) -> None:
    assert check_seal(bundle) == len(list_files(bundle)) - 1
    assert {*list_files(bundle)} == {*REQUIRED, WEIGHTS_FILE, "images/loss.png"}
    check_layout(bundle)


def test_the_header_of_the_weights_names_dtypes_and_shapes(
    bundle: Path, original: LoadedModel
) -> None:
    _, said = read_header(bundle / WEIGHTS_FILE)
    assert said["format"] == "pt"
    assert (said["name"], said["licence"], said["stored_as"]) == (NAME, "apache-2.0", "float32")
    assert said["weights_digest"] == weights_digest(original.model)


def test_two_bundles_have_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "again")
    assert everything_in(tmp_path / "again") == everything_in(bundle)


def test_a_fresh_process_gives_the_same_output(bundle: Path, original: LoadedModel) -> None:
    verified = verify_bundle(bundle, reference_outputs(original))
    assert max(verified.vectors, verified.logits) <= 1e-5
    assert verified.num_files == len(list_files(bundle)) - 1


def test_shards_give_the_output_of_one_file(tmp_path: Path) -> None:
    cut = make_bundle(tmp_path / "cut", max_shard_bytes=4_000)
    names = list_files(cut.folder)
    shards = [name for name in names if name.startswith("model-")]
    assert len(shards) > 2
    assert INDEX_FILE in names
    assert WEIGHTS_FILE not in names
    check_layout(cut.folder)
    assert weights_digest(read_model(cut.folder).model) == weights_digest(cut.model)


def test_a_shard_that_is_gone_is_missed(tmp_path: Path) -> None:
    cut = make_bundle(tmp_path / "cut", max_shard_bytes=4_000)
    sorted(cut.folder.glob("model-*"))[0].unlink()
    with pytest.raises(CorruptError, match="missing"):
        read_model(cut.folder)


def test_a_flipped_byte_is_found(bundle: Path) -> None:
    flip_a_byte(bundle / WEIGHTS_FILE)
    with pytest.raises(CorruptError, match="checksum"):
        verify_bundle(bundle, {})


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("by", [1e-2, float("nan")])
def test_other_weights_are_found_though_the_seal_holds(
    bundle: Path, original: LoadedModel, by: float
) -> None:
    tensors = read_tensors(bundle / WEIGHTS_FILE)
    name = "embedding.weight"
    moved = tensors[name] + by * torch.arange(tensors[name].shape[1])
    write_tensors({**tensors, name: moved}, bundle / WEIGHTS_FILE)
    seal(bundle)
    with pytest.raises(CheckpointError, match=r"differs|numbers"):
        verify_bundle(bundle, reference_outputs(original))


@pytest.mark.parametrize("name", ["modeling.py", "optimizer.safetensors", "images/x.svg", "a/b"])
def test_a_file_that_does_not_belong_there_is_found(bundle: Path, name: str) -> None:
    assert not is_bundle_file(name)
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_bytes(b"x")
    seal(bundle)
    with pytest.raises(CorruptError, match="does not belong to a bundle"):
        verify_bundle(bundle, {})


@pytest.mark.parametrize("name", sorted({*REQUIRED} - {"SHA256SUMS"}))
def test_a_file_that_is_not_there_is_missed(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    seal(bundle)
    with pytest.raises(CorruptError, match=name):
        check_layout(bundle)


@pytest.mark.parametrize(
    "storage", [Storage(dtype="fp16"), Storage(dtype="bf16"), Storage(quantize="int8")]
)
def test_what_is_stored_in_fewer_bits_loads_as_it_was_judged(
    tmp_path: Path, storage: Storage
) -> None:
    stored = make_bundle(tmp_path / "small", storage=storage)
    read = read_model(stored.folder)
    assert weights_digest(read.model) == weights_digest(stored.model)
    assert all(one.dtype == torch.float32 for one in read.model.parameters())
