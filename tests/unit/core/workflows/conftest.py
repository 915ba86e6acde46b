"""The trained model's cache, where a test may write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def trained_home(trained_cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_cache, tmp_path / "home"))
