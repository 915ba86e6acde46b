"""One prepared cache and folder for all commands that are disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import prepared
from tests.faults.harness import Place


@pytest.fixture(scope="session")
def prepared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Path]]:
    with prepared(tmp_path_factory.mktemp("faults").resolve()) as found:
        yield found
