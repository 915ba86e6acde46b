"""Every way to name a model leads to its folder."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from genomeformer_cli import load
from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.errors import NotInCacheError
from genomeformer_cli.core.model_io import resolve as sources
from genomeformer_cli.core.model_io.bundled import bundled_folder
from genomeformer_cli.core.model_io.resolve import has_default, model_folder
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.release.storage import Storage
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.layout import Kind, Store
from tests.bundles import make_bundle
from tests.files import everything_in


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def find(model: str, store: Store) -> Path:
    return model_folder(model, store=store, reporter=SilentReporter())


def test_the_default_is_in_the_package() -> None:
    folder = bundled_folder()
    assert folder.parts[-4:] == ("genomeformer_cli", "assets", "models", "default")


@pytest.mark.skipif(not has_default(), reason="no default model")
def test_the_default_is_small_enough_for_a_wheel() -> None:
    packed = [zlib.compress(content) for content in everything_in(bundled_folder()).values()]
    assert sum(len(one) for one in packed) <= 8_000_000


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_a_default_in_eight_bits_is_loaded_like_any_other(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Literal["fp32", "fp16"],
) -> None:
    storage = Storage(dtype=dtype, quantize="int8")
    two_stacks = ModelConfig(
        context=64,
        width=32,
        depth=1,
        num_heads=2,
        mlp_width=48,
        conv_width=4,
        patch=8,
        direction="two-stack",
        complement=(0, 1, 2, 3, 4, 8, 7, 6, 5, 9),
    )
    made = make_bundle(tmp_path / "default", config=two_stacks, storage=storage)
    monkeypatch.setattr(sources, "bundled_folder", lambda: made.folder)
    assert find("default", store) == made.folder
    (vector,) = load("default").embed(["ACGTTGCA" * 20])
    tokens = [made.tokenizer.encode(encode_bases("ACGTTGCA" * 20))]
    expected = embed_tokens(made, tokens, EmbedOptions(window=64), reporter=SilentReporter())
    np.testing.assert_allclose(vector, expected[0], atol=1e-6)


def test_a_missing_bundled_model_is_reported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "bundled_folder", lambda: tmp_path / "nowhere")
    with pytest.raises(NotInCacheError, match="has no default model") as nothing:
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


def test_a_missing_archive_is_not_a_model(store: Store) -> None:
    with pytest.raises(NotInCacheError):
        find("nothing.tar.gz", store)
