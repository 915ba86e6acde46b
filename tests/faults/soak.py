"""The soak: all kill points and races, and their figures for `docs/reference/reliability.md`.

    python -m tests.faults.soak [--seconds N]

With a limit, every command gets an equal share of the time, and its kill points are drawn evenly
from all of them; the page says how many of how many were tried.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
PROCESSES = (2, 4)


@dataclass
class Figures:
    """Counts of one command."""

    name: str
    events: int
    points: int
    races: int
    losses: list[str]
    garbage: list[str]


def main() -> int:
    """Run the soak, write its figures, return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Kill and race every command that writes.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="limit of the run")
    limit = parser.parse_args().seconds
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["NO_COLOR"] = "1"
    from tests.faults.commands import COMMANDS, prepared

    started = time.monotonic()
    figures = []
    with tempfile.TemporaryDirectory() as root, prepared(Path(root).resolve()) as (place, base):
        for number, name in enumerate(COMMANDS):
            left = started + limit - time.monotonic()
            one = _soak(name, place, base, left / (len(COMMANDS) - number))
            figures.append(one)
            lines = [f"{name}: {one.points} of {one.events} points, {one.races} races"]
            sys.stdout.write("\n  ".join(lines + one.losses + one.garbage) + "\n")
            sys.stdout.flush()
    _write(figures, time.monotonic() - started)
    return int(any(one.losses or one.garbage for one in figures))


def _soak(name: str, place: object, base: Path, seconds: float) -> Figures:
    from tests.faults.commands import COMMANDS
    from tests.faults.harness import Place
    from tests.faults.kills import find_losses, run_undisturbed
    from tests.faults.races import find_garbage

    assert isinstance(place, Place)
    started = time.monotonic()
    command = COMMANDS[name]
    expected = run_undisturbed(command, place, base)
    one = Figures(name=name, events=expected.events, points=0, races=0, losses=[], garbage=[])
    for processes in PROCESSES:
        one.garbage += find_garbage(command, expected, processes, place, base)
        one.races += 1
    for event in _spread(expected.events):
        if time.monotonic() - started > seconds:
            break
        one.losses += find_losses(command, expected, event, place, base)
        one.points += 1
    return one


def _spread(events: int) -> list[int]:
    """Order the points so that any first few of them are spread over the whole command."""
    step = max(round(events * 0.618), 1)
    while math.gcd(step, events) != 1:
        step += 1
    return [1 + number * step % events for number in range(events)]


def _write(figures: list[Figures], seconds: float) -> None:
    rows = [
        f"| `{one.name}` | {one.events} | {one.points} | {len(one.losses)} | {one.races} "
        f"| {len(one.garbage)} |"
        for one in figures
    ]
    points, events = sum(one.points for one in figures), sum(one.events for one in figures)
    losses = sum(len(one.losses) for one in figures)
    races, garbage = sum(one.races for one in figures), sum(len(one.garbage) for one in figures)
    table = "\n".join(
        [
            BEGIN,
            f"Last run: {time.strftime('%Y-%m-%d')}, {seconds / 60:.0f} minutes; {points:,} of "
            f"{events:,} kill points, {2 * points:,} runs, {losses} losses; {races} races, "
            f"{garbage} with garbage.",
            "",
            "| command | events | points killed | losses | races | garbage |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            f"| all | {events} | {points} | {losses} | {races} | {garbage} |",
            END,
        ]
    )
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
