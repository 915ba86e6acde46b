"""One kill point: a command is killed before an event, judged, run again, and judged again."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.cache import verify_cache
from tests.faults.commands import Command
from tests.faults.harness import Place, contents, differences


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a command leaves when nobody disturbs it, and how many events it takes."""

    events: int
    contents: dict[str, str]


def run_undisturbed(command: Command, place: Place, base: Path) -> Undisturbed:
    """Run a command alone."""
    place.reset(base)
    done = place.run(command.line)
    if done.code:
        raise AssertionError(f"{' '.join(command.line)}: {done.err}")
    return Undisturbed(events=done.events, contents=contents(place))


def find_losses(
    command: Command, expected: Undisturbed, event: int, place: Place, base: Path
) -> list[str]:
    """Kill a command before an event; return everything that was lost, left or wrong after it."""
    place.reset(base)
    killed = place.run(command.line, kill_before=event)
    if killed.code != -signal.SIGKILL:
        # Threads may take their events in another order, and measured times may save a few.
        return [] if killed.code == 0 else [f"not killed: {killed.code} {killed.err}"]
    losses = _verify(place, "after the kill")
    again = place.run(command.line)
    left = differences(contents(place), expected.contents)
    if again.code and (left or command.repeats):
        losses.append(f"the rerun failed: {again.err.strip()}")
    losses += [f"after the rerun, {one}" for one in left]
    losses += _verify(place, "after the rerun")
    return [f"{' '.join(command.line)}, killed before event {event}: {loss}" for loss in losses]


def _verify(place: Place, when: str) -> list[str]:
    """Do what `cache verify` does, in this process."""
    entries = verify_cache((), reporter=SilentReporter(), store=Store(place.cache))
    return [f"{when}, {one.problem}" for one in entries if one.problem]
