"""Kill points, disturbances and races of every command, with figures for the reliability page.

    python -m tests.faults.soak [--seconds N] [--first SEED]

With a limit, the commands take turns until the time is over, so that every command has its points;
a command's points are spread over the whole of it, and `--first` starts them elsewhere. Kills take
three fifths of the time, other disturbances one fifth, races the rest.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.commands import Command
    from tests.faults.harness import Place
    from tests.faults.kills import Undisturbed

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
PROCESSES = (2, 4)
SHARES = {"kills": 0.6, "disturbances": 0.2, "races": 0.2}


@dataclass
class Figures:
    """Counts of one command."""

    name: str  # Name of the command.
    events: int  # File-system events of an undisturbed run.
    # Number of tries of each kind.
    tried: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    # Sentences about what was lost, half-written or garbage, of each kind.
    failures: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in SHARES})


class Soak:
    """Every command with its undisturbed run, in one prepared place."""

    def __init__(self, place: Place, base: Path, first: int) -> None:
        from tests.faults.commands import COMMANDS
        from tests.faults.kills import run_undisturbed

        self._place, self._base, self._first = place, base, first
        self._commands: dict[str, tuple[Command, Undisturbed]] = {
            name: (command, run_undisturbed(command, place, base))
            for name, command in COMMANDS.items()
        }
        self.figures = {
            name: Figures(name=name, events=run.events) for name, (_, run) in self._commands.items()
        }

    def tries(self, kind: str) -> Iterator[Callable[[], None]]:
        """Yield tries of one kind, the commands in turns."""
        of = {"kills": self._kills, "disturbances": self._disturbances, "races": self._races}[kind]
        turns = itertools.zip_longest(*(of(name) for name in self._commands))
        for find, name in (
            (find, name) for turn in turns for find, name in zip(turn, self.figures, strict=True)
        ):
            if find is not None:
                yield lambda find=find, name=name: self._count(kind, name, find())  # type: ignore[misc]

    def _count(self, kind: str, name: str, failures: list[str]) -> None:
        self.figures[name].tried[kind] += 1
        self.figures[name].failures[kind] += failures
        for failure in failures:
            sys.stdout.write(f"{failure}\n")
            sys.stdout.flush()

    def _kills(self, name: str) -> Iterator[Callable[[], list[str]]]:
        from tests.faults.kills import find_losses

        command, run = self._commands[name]
        for event in spread(run.events, self._first):
            yield lambda event=event: find_losses(  # type: ignore[misc]
                command, run, event, self._place, self._base
            )

    def _disturbances(self, name: str) -> Iterator[Callable[[], list[str]]]:
        from tests.faults.disturbances import KINDS, find_damage

        command, run = self._commands[name]
        # Each command starts with another kind, so that few turns see all kinds.
        kinds = [*KINDS]
        start = list(self._commands).index(name)
        for number in range(len(kinds) * 3):
            kind = kinds[(start + number) % len(kinds)]
            fault = KINDS[kind](random.Random(f"{self._first} {name} {number}"), run)
            yield lambda fault=fault: find_damage(  # type: ignore[misc]
                command, run, fault, self._place, self._base
            )

    def _races(self, name: str) -> Iterator[Callable[[], list[str]]]:
        from tests.faults.races import find_garbage

        command, run = self._commands[name]
        for processes in PROCESSES:
            yield lambda processes=processes: find_garbage(  # type: ignore[misc]
                command, run, processes, self._place, self._base
            )


def main() -> int:
    """Run the soak, write its figures, return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Kill, disturb and race every writing command.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="limit of the run")
    parser.add_argument("--first", type=int, default=0, help="seed of the points")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["NO_COLOR"] = "1"
    from tests.faults.commands import prepared
    from tests.faults.harness import fast_folder

    started = time.monotonic()
    with fast_folder() as root, prepared(root) as (place, base):
        soak = Soak(place, base, options.first)
        left = options.seconds - (time.monotonic() - started)
        for kind, share in SHARES.items():
            until = time.monotonic() + share * left
            for attempt in soak.tries(kind):
                if time.monotonic() > until:
                    break
                attempt()
    figures = list(soak.figures.values())
    _write(figures, time.monotonic() - started)
    return int(any(one.failures[kind] for one in figures for kind in SHARES))


def spread(events: int, first: int = 0) -> list[int]:
    """Order the points so that any few of them in a row are spread over the whole command."""
    step = max(round(events * 0.618), 1)
    while math.gcd(step, events) != 1:
        step += 1
    return [1 + (first + number) * step % events for number in range(events)]


def _write(figures: list[Figures], seconds: float) -> None:
    def row(name: str, some: list[Figures]) -> str:
        cells = [str(sum(one.events for one in some))]
        for kind in SHARES:
            cells.append(str(sum(one.tried[kind] for one in some)))
            cells.append(str(sum(len(one.failures[kind]) for one in some)))
        return f"| {name} | {' | '.join(cells)} |"

    table = "\n".join(
        [
            BEGIN,
            f"Last run: {time.strftime('%Y-%m-%d')}, {seconds / 60:.0f} minutes.",
            "",
            "| command | events | points killed | losses | other disturbances | damage | races "
            "| garbage |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *(row(f"`{one.name}`", [one]) for one in figures),
            row("all", figures),
            END,
        ]
    )
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
