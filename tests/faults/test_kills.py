"""SIGKILL before a file-system event: nothing is lost, and the same command again completes.

The default run draws an event of every short command; `make soak` takes all of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.harness import Place
from tests.faults.kills import find_losses, run_undisturbed

SEED = 20
# Some take seconds a point: `make soak` alone runs them.
LONG = ("finetune", "compare", "evaluate", "release", "release --replace", "pretrain")
POINTS = 1


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.slow if one in LONG else ()) for one in COMMANDS],
)
def test_a_kill_loses_nothing(name: str, prepared_place: tuple[Place, Path]) -> None:
    place, base = prepared_place
    expected = run_undisturbed(COMMANDS[name], place, base)
    draw = random.Random(f"{SEED} {name}")
    points = sorted(draw.sample(range(1, expected.events + 1), POINTS))
    for event in points:
        assert find_losses(COMMANDS[name], expected, event, place, base) == []
