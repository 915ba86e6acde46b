"""A name means the cache, a path means the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CheckpointError, NotInCacheError
from genomeformer_cli.core.model_io.find import find_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def add(store: Store, kind: Kind, name: str) -> Path:
    with store.create(kind, name) as folder:
        (folder / "model.safetensors").write_bytes(b"")
    return store.path(kind, name)


def find(model: str, store: Store) -> Path:
    return find_model(model, store=store, reporter=SilentReporter())


def test_a_name_is_found_whatever_the_working_folder_holds(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = add(store, Kind.RUNS, "demo")
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("demo", store) == cached
    with pytest.raises(CheckpointError, match="no weights"):
        find("./demo", store)


def test_released_weights_come_before_a_run_of_the_same_name(store: Store) -> None:
    add(store, Kind.RUNS, "one")
    released = add(store, Kind.WEIGHTS, "one")
    assert find("one", store) == released


def test_a_folder_is_taken_as_it_is(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find(str(tmp_path), store) == tmp_path


def test_an_unknown_name_is_reported_with_the_known_ones(store: Store) -> None:
    with pytest.raises(NotInCacheError) as nothing:
        find("none", store)
    assert "pretrain" in (nothing.value.hint or "")
    add(store, Kind.WEIGHTS, "one")
    with pytest.raises(NotInCacheError) as failure:
        find("none", store)
    assert "`one`" in (failure.value.hint or "")


@pytest.mark.parametrize(
    ("identity", "command"),
    [('{"task": "promoters"}', "finetune"), ('{"corpus": "x"}', "pretrain")],
)
def test_an_unfinished_run_has_a_hint_to_resume(store: Store, identity: str, command: str) -> None:
    run = store.path(Kind.RUNS, "mine")
    run.mkdir(parents=True)
    (run / "run.json").write_text(identity, encoding="utf-8")
    for name in ("mine", str(run)):
        with pytest.raises(CheckpointError, match="not finished") as failure:
            find(name, store)
        assert f"`genomeformer {command}` command again" in (failure.value.hint or "")
