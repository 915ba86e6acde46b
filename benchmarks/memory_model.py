"""Memory of each plan by formula, and a picture of it beside the measurements.

Bytes of a step of length L, n blocks, width d, slice C, b bytes per number, a numbers kept per
token and block in units of d, s bytes of a stack's states: see docs/concepts/long-context.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from processes import MIB, Row

# Numbers that a block keeps per token, in units of the width: counted over one block with linear
# attention and MLPs 2.7 times as wide (docs/concepts/long-context.md).
KEPT = 20.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Sizes of a step: n, d, heads, C and the bytes of a number."""

    depth: int
    width: int
    heads: int
    chunk: int
    size: int = 4

    def states(self, length: int) -> float:
        """Bytes of the states that one causal stack keeps, one set a slice."""
        head = self.width // self.heads
        return -(-length // self.chunk) * self.depth * self.heads * head * (head + 1) * 4

    def mib(self, plan: str, length: int) -> float | None:
        """By formula; None for what has none."""
        buffer = length * self.width * self.size
        slice_ = min(self.chunk, length) * self.width * self.size * KEPT
        formulae = {
            "full": self.depth * buffer * KEPT,
            "full-causal": self.depth * buffer * KEPT,
            "checkpoint": (self.depth + KEPT) * buffer,
            "two-sweep": self.depth * buffer + slice_,
            "two-sweep-bf16": self.depth * buffer / 2 + slice_,
            "reversible": 4 * buffer + slice_,
            "slim": self.depth * slice_ + self.states(length),
            "two-stack": self.depth * slice_ + 2 * self.states(length),
        }
        return formulae[plan] / MIB if plan in formulae else None


def picture(rows: list[Row], steps: dict[str, Step], path: Path) -> None:
    """Memory and time against the length, a column a suite; formulae dotted."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        2, len(steps), figsize=(7 * len(steps), 9), layout="constrained", squeeze=False
    )
    for column, (suite, step) in enumerate(steps.items()):
        above, below = panels[:, column]
        mine = [row for row in rows if row["suite"] == suite and "skipped" not in row]
        names = dict.fromkeys((row["plan"], row["attention"]) for row in mine)
        for index, (plan, attention) in enumerate(names):
            found = sorted(
                (row for row in mine if (row["plan"], row["attention"]) == (plan, attention)),
                key=lambda row: row["length"],
            )
            lengths = [row["length"] for row in found]
            colour = f"C{index % 10}"
            label = f"{plan}, {attention}"
            above.plot(lengths, [row["grown_mib"] for row in found], "o-", c=colour, label=label)
            formula = [step.mib(plan, length) for length in lengths]
            if None not in formula:
                above.plot(lengths, formula, ":", c=colour)
            pace = [row["cpu_s"] / row["length"] * 1e6 for row in found]
            below.plot(lengths, pace, "o-", c=colour, label=label)
        above.set_title(
            f"{step.depth} blocks, width {step.width}, slices of {step.chunk:,}; dotted: formula"
        )
        above.set_ylabel("MiB resident beyond the start")
        below.set_ylabel("CPU microseconds a base")
        below.set_xlabel("bases in one row")
        for panel in (above, below):
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.grid(visible=True, alpha=0.3)
        above.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
