"""Ctrl-C, SIGTERM, full disks, limits and no memory: a clear error, nothing half-written or lost.

The default run draws a command for every kind but random times; the slow one takes every command.
"""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, SAMPLE
from tests.faults.disturbances import KINDS, find_damage
from tests.faults.harness import Fault, Place, contents
from tests.faults.kills import Undisturbed

SEED = 21


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(
            (kind, random.Random(f"{SEED} {kind}").choice(SAMPLE))
            for kind in KINDS
            if not kind.endswith("-time")
        ),
        *(
            pytest.param(kind, name, marks=pytest.mark.slow, id=f"{kind}-{name}-slow")
            for kind in KINDS
            for name in COMMANDS
        ),
    ],
)
def test_a_disturbed_command_fails_and_completes_when_run_again(
    kind: str,
    name: str,
    prepared_place: tuple[Place, Path],
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(name)
    fault = KINDS[kind](random.Random(f"{SEED} {kind} {name}"), expected)
    assert find_damage(COMMANDS[name], expected, fault, *prepared_place) == []


@pytest.mark.parametrize("name", ["explain", "score", "embed .tsv", "tokenize FASTA", "release"])
def test_sigterm_leaves_no_temporary_file(name: str, prepared_place: tuple[Place, Path]) -> None:
    place, base = prepared_place
    place.reset(base)
    # The first file that is synced is complete and not yet in its place.
    signals = [signal.SIGTERM]

    def act(event: str) -> None:
        if event == "os.fsync" and signals:
            os.kill(os.getpid(), signals.pop())

    ended = place.run(COMMANDS[name].line, Fault(name="SIGTERM", before=1, act=act, lasts=True))
    assert ended.code == -signal.SIGTERM
    assert "interrupted" in ended.err
    left = [path for path in contents(place) if re.search(r"/\.[^/]*\.(tmp|lock)(/|$)", path)]
    assert left == []
