"""Models of other authors on the Hub: one commit, checked bytes, no code, and nothing unknown."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genomeformer_cli.core.errors import (
    CheckpointError,
    ConfigError,
    CorruptError,
    NetworkError,
)
from genomeformer_cli.core.model_io.hub_client import Address, read_address
from genomeformer_cli.core.model_io.hub_download import fetch_model
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.store.layout import Kind, Store
from tests.files import everything_in
from tests.mini_hub import Fault, Hub, Repository
from tests.published_folders import write_published

ADDRESS = Address(repository="org/model")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_published("hyenadna", tmp_path / "model")


def publish(hub: Hub, folder: Path) -> str:
    hub.repositories["org/model"] = Repository(private=False)
    return hub.repositories["org/model"].commit(
        {**everything_in(folder), "modeling.py": b"1 / 0", "README.md": b"#"}
    )


def load(store: Store) -> LoadedModel:
    return read_model(fetch_model(ADDRESS, store).folder)


def test_files_of_one_commit_are_kept_sealed(hub: Hub, folder: Path, store: Store) -> None:
    commit = publish(hub, folder)
    fetched = fetch_model(ADDRESS, store)
    kept = {*everything_in(folder), "README.md", "SHA256SUMS"}
    assert {*everything_in(fetched.folder)} == kept
    address = read_address(fetched.address)
    assert (address.repository, address.revision) == ("org/model", commit)
    before = len(hub.asked)
    assert fetch_model(address, store) == fetched
    assert hub.asked[before:] == []
    wrong = Address(repository="org/model", revision=commit, seal="0" * 64)
    with pytest.raises(CorruptError, match="has the checksum"):
        fetch_model(wrong, store)


def test_a_branch_moves_and_a_commit_does_not(hub: Hub, folder: Path, store: Store) -> None:
    first = publish(hub, folder)
    old = load(store).model.state_dict()
    tensors = load_file(folder / "model.safetensors")
    changed = {name: tensor * 2 for name, tensor in tensors.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    hub.repositories["org/model"].commit(everything_in(folder))
    new = load(store).model.state_dict()
    assert any(not torch.equal(old[name], new[name]) for name in old)
    again = read_model(fetch_model(Address(repository="org/model", revision=first), store).folder)
    assert all(torch.equal(old[name], item) for name, item in again.model.state_dict().items())


@pytest.mark.parametrize("path", ["/store/", "/resolve/.*/config.json"])
def test_wrong_bytes_are_found_and_not_kept(
    hub: Hub, folder: Path, store: Store, path: str
) -> None:
    publish(hub, folder)
    hub.faults.append(Fault(method="GET", path=path, kind="wrong"))
    with pytest.raises(CorruptError, match="other bytes than the Hub lists"):
        fetch_model(ADDRESS, store)
    assert not store.entries(Kind.UNPACKED)
    assert load(store).model.num_parameters > 0


@pytest.mark.parametrize("kind", ["503", "cut"])
def test_a_download_that_broke_off_goes_on(hub: Hub, folder: Path, store: Store, kind: str) -> None:
    publish(hub, folder)
    hub.faults.append(Fault(method="GET", path="/resolve/.*/config.json", kind=kind))
    with contextlib.suppress(NetworkError):
        fetch_model(ADDRESS, store)
    assert load(store).model.num_parameters > 0


def test_an_unknown_architecture_is_refused_before_its_weights(
    hub: Hub, folder: Path, store: Store
) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "evo2", "hidden_size": 4}))
    publish(hub, folder)
    with pytest.raises(CheckpointError, match="`model_type` `evo2`"):
        fetch_model(ADDRESS, store)
    assert not [line for line in hub.asked if "safetensors" in line]


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"auto_map": {"AutoModel": "other_code.Model"}}, ConfigError, "other_code"),
        ({"unheard_of": 3}, ConfigError, "unheard_of"),
        ({"vocab_size": 999}, CheckpointError, "vocab|embedding|fit"),
    ],
)
def test_what_is_not_understood_is_named(
    hub: Hub, folder: Path, store: Store, change: dict[str, object], error: type, named: str
) -> None:
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, **change}))
    publish(hub, folder)
    with pytest.raises(error, match=named):
        load(store)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "infinite"])
def test_tensors_that_do_not_fit_are_named(
    hub: Hub, folder: Path, store: Store, change: str
) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    if change == "missing":
        del tensors[name]
    elif change == "unknown":
        tensors["unheard_of.weight"] = torch.ones(2)
    elif change == "shape":
        tensors[name] = torch.cat((tensors[name], tensors[name]))
    else:
        tensors[name] = torch.full_like(tensors[name], torch.inf)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    publish(hub, folder)
    with pytest.raises(CheckpointError) as failure:
        load(store)
    assert failure.value.hint
    if change == "unknown":
        assert "unheard_of.weight" in failure.value.message


def test_only_other_weights_are_refused_by_name(hub: Hub, folder: Path, store: Store) -> None:
    (folder / "model.safetensors").rename(folder / "weights.ckpt")
    publish(hub, folder)
    with pytest.raises(CheckpointError, match=r"only `weights\.ckpt`"):
        fetch_model(ADDRESS, store)
    assert not [line for line in hub.asked if "weights.ckpt" in line]
