"""Pictures, for people who would rather look than read."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.training.metrics import METRICS_FILE, read_rows, training_bits

if TYPE_CHECKING:
    from pathlib import Path

    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.pretrain import PretrainResult
    from genomeformer_cli.core.workflows.runs import WatchedRun

LOSS_FILE = "loss.png"
RUNS_FILE = "runs.png"
_FAIR_GUESS = 2.0


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot_loss(result: PretrainResult) -> Path:
    """Draw a run's bits per base against the table of counts, as `loss.png` in its folder."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = read_rows(result.folder / METRICS_FILE)
    # The loss of a step that was left out may be no number.
    taken = [row for row in rows if not row.get("left_out")]
    steps = [row["step"] for row in taken]
    training = training_bits(taken)
    held_out, averaged = (_validated(rows, of) for of in ("validation", "validation_average"))
    summary = result.summary
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    if training:
        axes.plot(steps, training, color="0.75", linewidth=0.8, label="training, one step")
        axes.plot(steps, _smooth(training), color="0.4", linewidth=1.2, label="training, smoothed")
    axes.plot(*zip(*held_out, strict=True), "o-", color="tab:blue", label="held out")
    if averaged:
        label = "held out, average of the weights"
        axes.plot(*zip(*averaged, strict=True), ".-", color="tab:green", label=label)
    counts = f"table of {summary.counts_name}"
    axes.axhline(summary.counts.bits_per_base, color="tab:red", linestyle="--", label=counts)
    axes.axhline(_FAIR_GUESS, color="0.6", linestyle=":", label="a fair guess")
    shown = [bits for _, bits in (*held_out, *averaged)]
    limits = _limits([summary.counts.bits_per_base, *shown], _smooth(training))
    axes.set(xlabel="step", ylabel="bits per base", title=result.name, ylim=limits)
    axes.legend(frameon=False, fontsize=8)
    path = result.folder / LOSS_FILE
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)
    return path


def _validated(rows: list[dict[str, Any]], of: str) -> list[tuple[int, float]]:
    return [(row["step"], row[of]["bits_per_base"]) for row in rows if of in row]


def _limits(shown: list[float], training: list[float]) -> tuple[float, float]:
    """Where the picture begins and ends: all of what is shown, and training down to its least.

    A first step's loss may be far above a fair guess; held-out bits of whole tokens may be too.
    """
    return min([*shown, *training]) - 0.05, max([_FAIR_GUESS + 0.1, *shown]) + 0.05


def draw_loss(result: PretrainResult, reporter: Reporter) -> None:
    """Draw a finished run, or say why not."""
    if can_plot():
        reporter.note(f"picture: {plot_loss(result)}")
    else:
        reporter.note("no picture of the loss: install `genomeformer[plots]` to have one")


def draw_runs(runs: list[WatchedRun], reporter: Reporter) -> None:
    """Draw the losses of several runs, or say why not."""
    if can_plot():
        reporter.note(f"picture: {plot_runs(runs)}")
    else:
        reporter.note("no picture of the losses: install `genomeformer[plots]` to have one")


def plot_runs(runs: list[WatchedRun]) -> Path:
    """Draw bits per base of several runs, as `runs.png` in the folder of the first."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for run in runs:
        rows = read_rows(run.folder / METRICS_FILE)
        taken = [row for row in rows if not row.get("left_out")]
        smooth = _smooth(training_bits(taken))
        (line,) = axes.plot(
            [row["step"] for row in taken][: len(smooth)], smooth, linewidth=0.8, alpha=0.6
        )
        held_out = _validated(rows, "validation")
        steps, bits = zip(*held_out, strict=True) if held_out else ((), ())
        axes.plot(steps, bits, "o-", color=line.get_color(), label=f"{run.name}, held out")
        if run.baseline is not None:
            level, colour = run.baseline.bits_per_base, line.get_color()
            axes.axhline(level, color=colour, linestyle="--", linewidth=0.8)
    axes.set(
        xlabel="step",
        ylabel="bits per base",
        title="held out (points), training (thin), table of counts (dashed)",
    )
    axes.legend(frameon=False, fontsize=8)
    path = runs[0].folder / RUNS_FILE
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)
    return path


def _smooth(values: list[float], keep: float = 0.9) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(keep * smoothed[-1] + (1 - keep) * value if smoothed else value)
    return smoothed
