"""Fixtures of several cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.cut_windows import Cut


@pytest.fixture
def cut(run_cli: RunCommand, tmp_path: Path) -> Cut:
    return Cut(run_cli, tmp_path)
