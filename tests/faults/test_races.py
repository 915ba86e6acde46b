"""Several processes on the same work: each succeeds or is refused by name; nothing is garbage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.harness import Place
from tests.faults.kills import run_undisturbed
from tests.faults.races import find_garbage

SHORT = {"fetch": 4, "tokenize": 2, "embed .npy": 4, "embed .npz": 2, "score": 2}


@pytest.mark.parametrize(
    ("name", "processes"),
    [
        *SHORT.items(),
        *(pytest.param(name, 4, marks=pytest.mark.slow) for name in COMMANDS),
    ],
)
def test_processes_on_the_same_work(
    name: str, processes: int, prepared_place: tuple[Place, Path]
) -> None:
    place, base = prepared_place
    expected = run_undisturbed(COMMANDS[name], place, base)
    assert find_garbage(COMMANDS[name], expected, processes, place, base) == []
