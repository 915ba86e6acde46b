"""Several processes on the same work at the same time."""

from __future__ import annotations

from pathlib import Path

from tests.faults.commands import Command
from tests.faults.harness import Place, contents, differences
from tests.faults.kills import Undisturbed

# A process that comes second waits for the first, finds its work done, or is refused like this.
REFUSALS = (
    "is being written by",
    "is in use by another process",
    "` exists",
    "the cache has no",
    "in the cache",
)


def find_garbage(
    command: Command, expected: Undisturbed, processes: int, place: Place, base: Path
) -> list[str]:
    """Start a command several times at once; return all that is not as one alone leaves it."""
    place.reset(base)
    started = [place.start(command.line) for _ in range(processes)]
    outcomes = [place.wait(pid) for pid in started]
    wrong = [
        f"exit {one.code}: {one.err.strip()}"
        for one in outcomes
        if one.code and not any(words in one.err for words in REFUSALS)
    ]
    if all(one.code for one in outcomes):
        wrong.append("no process succeeded")
    wrong += differences(contents(place), expected.contents)
    return [f"{' '.join(command.line)}, {processes} processes: {one}" for one in wrong]
