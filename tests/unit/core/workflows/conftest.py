"""The trained model's cache, where a test may write; an empty one, and the small NCBI."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from genomeformer_cli.core.store.layout import Store
from tests.mini_ncbi.server import MiniNcbi


@pytest.fixture
def trained_home(trained_cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_cache, tmp_path / "home"))


@pytest.fixture
def ncbi() -> Iterator[MiniNcbi]:
    with MiniNcbi() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")
