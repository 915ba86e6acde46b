"""SIGKILL before a file-system event: nothing is lost, and the same command again completes.

The default run draws an event of some commands, the slow one of all; `make soak` takes all events.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, SAMPLE
from tests.faults.harness import Place
from tests.faults.kills import Undisturbed, find_losses

SEED = 20
SLOW_POINTS = 3


@pytest.mark.parametrize(
    ("name", "points"),
    [
        *((name, 1) for name in SAMPLE[:4]),
        *(pytest.param(name, SLOW_POINTS, marks=pytest.mark.slow) for name in COMMANDS),
    ],
)
def test_a_kill_loses_no_step(
    name: str,
    points: int,
    prepared_place: tuple[Place, Path],
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(name)
    draw = random.Random(f"{SEED} {name} {points}")
    for event in draw.sample(range(1, expected.events + 1), points):
        assert find_losses(COMMANDS[name], expected, event, *prepared_place) == []
