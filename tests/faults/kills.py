"""One kill point: a command is killed before an event, judged, run again, and judged again."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.cache import verify_cache
from tests.faults.commands import Command
from tests.faults.harness import Place, contents, differences, send


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """Contents that a command leaves when nobody disturbs it, its events and processor time."""

    events: int
    seconds: float
    contents: dict[str, str]


def run_undisturbed(command: Command, place: Place, base: Path) -> Undisturbed:
    """Run a command alone."""
    place.reset(base)
    done = place.run(command.line)
    if done.code:
        raise AssertionError(f"{' '.join(command.line)}: {done.err}")
    return Undisturbed(events=done.events, seconds=done.seconds, contents=contents(place))


def find_losses(
    command: Command, expected: Undisturbed, event: int, place: Place, base: Path
) -> list[str]:
    """Kill a command before an event; return everything that was lost, left or wrong after it."""
    place.reset(base)
    killed = place.run(command.line, send(signal.SIGKILL, event))
    if killed.code != -signal.SIGKILL:
        # Threads may take their events in another order, and measured times may save a few.
        return [] if killed.code == 0 else [f"not killed: {killed.code} {killed.err}"]
    losses = run_again(command, expected, place)
    return [f"{' '.join(command.line)}, killed before event {event}: {loss}" for loss in losses]


def run_again(command: Command, expected: Undisturbed, place: Place) -> list[str]:
    """Check the entries, run the command once more, and check that nothing is lost."""
    losses = _verify(place, "before the rerun")
    again = place.run(command.line)
    left = differences(contents(place), expected.contents)
    if again.code and (left or command.repeats):
        losses.append(f"the rerun failed: {again.err.strip()}")
    losses += [f"after the rerun, {one}" for one in left]
    return losses + _verify(place, "after the rerun")


def _verify(place: Place, when: str) -> list[str]:
    """Do what `cache verify` does, in this process."""
    entries = verify_cache((), reporter=SilentReporter(), store=Store(place.cache))
    return [f"{when}, {one.problem}" for one in entries if one.problem]
