"""Several processes on the same work: each succeeds or is refused by name; nothing is garbage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.harness import Place
from tests.faults.kills import Undisturbed
from tests.faults.races import find_garbage

SHORT = {"fetch": 2, "tokenize": 2, "embed .npy": 3}


@pytest.mark.parametrize(
    ("name", "processes"),
    [
        *SHORT.items(),
        *(
            pytest.param(name, processes, marks=pytest.mark.slow, id=f"{name}-{processes}-slow")
            for name in COMMANDS
            for processes in (2, 4)
        ),
    ],
)
def test_processes_on_the_same_work(
    name: str,
    processes: int,
    prepared_place: tuple[Place, Path],
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(name)
    assert find_garbage(COMMANDS[name], expected, processes, *prepared_place) == []
