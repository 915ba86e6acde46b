"""Every way to name a model leads to its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli import load
from genomeformer_cli.core.errors import NotInCacheError
from genomeformer_cli.core.release import sources
from genomeformer_cli.core.release.sources import bundled_folder, model_folder
from genomeformer_cli.core.reporting import Silent
from genomeformer_cli.core.store.layout import Kind, Store
from tests.bundles import make_bundle
from tests.files import everything_in


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def find(model: str, store: Store) -> Path:
    return model_folder(model, store=store, reporter=Silent())


def test_the_default_lies_in_the_package() -> None:
    folder = bundled_folder()
    assert folder.parts[-4:] == ("genomeformer_cli", "assets", "models", "default")


def test_without_a_bundled_model_that_is_said(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "bundled_folder", lambda: tmp_path / "nowhere")
    with pytest.raises(NotInCacheError, match="without a default model") as nothing:
        find("default", store)
    assert "pretrain" in (nothing.value.hint or "")
    with store.create(Kind.WEIGHTS, "one") as folder:
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(NotInCacheError) as failure:
        find("default", store)
    assert "`one`" in (failure.value.hint or "")


def test_default_is_the_bundled_one_whatever_the_cache_holds(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "default").folder
    monkeypatch.setattr(sources, "bundled_folder", lambda: bundle)
    with store.create(Kind.RUNS, "default") as folder:
        (folder / "model.safetensors").write_bytes(b"")
    assert find("default", store) == bundle
    vectors = load().embed(["ACGT"])
    assert np.array_equal(vectors, load("default").embed(["ACGT"]))


def test_a_folder_is_taken_as_it_is(store: Store, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").folder
    assert everything_in(find(str(bundle), store)) == everything_in(bundle)


def test_an_archive_that_is_not_there_is_no_model(store: Store) -> None:
    with pytest.raises(NotInCacheError):
        find("nothing.tar.gz", store)
