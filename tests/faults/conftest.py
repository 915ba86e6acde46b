"""One prepared cache and folder for all commands that are disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, prepared
from tests.faults.harness import Place, fast_folder
from tests.faults.kills import Undisturbed, run_undisturbed


@pytest.fixture(scope="session")
def prepared_place() -> Iterator[tuple[Place, Path]]:
    with fast_folder() as root, prepared(root) as found:
        yield found


@pytest.fixture(scope="session")
def undisturbed(prepared_place: tuple[Place, Path]) -> Callable[[str], Undisturbed]:
    """Run a command alone, once a session, by its name."""
    return cache(lambda name: run_undisturbed(COMMANDS[name], *prepared_place))
