"""A comparison of models: its table, and its picture of quality against speed and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.core.errors import PartialError
from genomeformer_cli.render.plots import pyplot, save_figure
from genomeformer_cli.render.tables import (
    format_duration,
    format_parameters,
    format_size,
    plain_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.compare import CompareResult
    from genomeformer_cli.core.workflows.compare_ranking import Baseline, Row, Spread

PICTURE_FILE = "comparison.png"
_MEGABYTE = 1e6
# Offsets of a name from its point, preferred ones first: points across and up, alignment.
_OFFSETS = (
    *((6, 4, "left"), (6, -11, "left"), (-6, 4, "right"), (-6, -11, "right")),
    *((0, 9, "center"), (0, -16, "center"), (8, 16, "left"), (-8, -22, "right")),
)
_NUMBERS = ("bits/base", "±", "gain", "accuracy", "bases/s", "memory", "params", "trained")
_LEGEND = (
    "gain: bits per base better than the table of counts; memory: peak of the training process; "
    "trained: time of the training steps"
)


def render_comparison(result: CompareResult) -> RenderableType:
    """Return one table per corpus with its baselines and the best variant."""
    parts: list[RenderableType] = []
    for corpus in dict.fromkeys(row.corpus for row in result.rows):
        rows = [row for row in result.rows if row.corpus == corpus]
        baselines = [baseline for baseline in result.baselines if baseline.corpus == corpus]
        parts += [_table(corpus, rows, baselines), Text(_LEGEND, style="dim")]
        parts.append(Text(best_variant(rows)))
        if len({table.num_bases for table in baselines if not table.is_random}) > 1:
            parts.append(Text("their validation bases differ: only gains compare"))
    problems = [
        f"{row.variant} on {row.corpus} failed: {row.problem}" for row in result.rows if row.problem
    ]
    parts += [Text(problem) for problem in problems]
    parts.append(Text(f"comparison: {result.folder} ({format_budget(result)})"))
    return Group(*parts)


def check_all_ended(result: CompareResult) -> None:
    """Raise if a training failed, so that the exit code is not zero.

    Raises:
        PartialError: A training failed.
    """
    failed = [training.run for training in result.trainings if training.problem]
    if failed:
        raise PartialError(
            f"{len(failed)} of {len(result.trainings)} trainings failed: {', '.join(failed)}",
            hint="the others are kept; the same command again repeats only these",
        )


def format_budget(result: CompareResult) -> str:
    """Return the budget of each training, such as `1,000 steps per training`."""
    amount, kind = result.budget.amount, result.budget.kind
    number = f"{amount:.3g}" if kind == "flops" else f"{amount:,.10g}"
    return f"{number} {kind} per training"


def _table(corpus: str, rows: list[Row], baselines: list[Baseline]) -> Table:
    table = plain_table(f"on {corpus}", *_NUMBERS, right=_NUMBERS)
    # Eight numbers in a line of 80 letters: only the names are folded.
    table.padding = (0, 1, 0, 0)
    for column in table.columns[1:]:
        column.no_wrap = True
    for row in rows:
        _add_row(table, row)
    for baseline in baselines:
        cells = (*_mean_and_deviation(baseline.bits_per_base), "", f"{baseline.accuracy.mean:.1%}")
        table.add_row(baseline.name, *cells, style="dim")
    return table


def best_variant(rows: list[Row]) -> str:
    """Return one sentence on the best variant and the table of counts."""
    ended = [row for row in rows if row.bits_per_base and row.gain]
    if not ended:
        return "no training ended"
    best = ended[0]
    assert best.gain is not None
    if best.gain.mean > 0:
        return (
            f"`{best.variant}` is best and beats the table of counts by "
            f"{best.gain.mean:.4f} bits per base"
        )
    return (
        f"`{best.variant}` is best; the table of counts beats every variant, this one by "
        f"{-best.gain.mean:.4f} bits per base"
    )


def _add_row(table: Table, row: Row) -> None:
    if row.bits_per_base is None:
        table.add_row(row.variant, "failed")
        return
    table.add_row(
        row.variant,
        *_mean_and_deviation(row.bits_per_base),
        f"{_mean(row.gain):+.4f}",
        f"{_mean(row.accuracy):.1%}",
        f"{_mean(row.bases_per_second):,.0f}",
        format_size(round(_mean(row.peak_bytes))).replace(" ", "\u00a0"),
        format_parameters(row.num_parameters or 0),
        format_duration(_mean(row.training_seconds)),
    )


def _mean_and_deviation(value: Spread) -> tuple[str, str]:
    """Return the mean and the standard deviation over seeds, empty for one seed."""
    deviation = "" if value.deviation is None else f"{value.deviation:.4f}"
    return f"{value.mean:.4f}", deviation


def _mean(value: Spread | None) -> float:
    assert value is not None, "a training without a failure has all numbers"
    return value.mean


def draw_comparison(result: CompareResult, reporter: Reporter) -> None:
    """Draw a comparison in its folder and note the path."""
    if any(row.bits_per_base for row in result.rows):
        reporter.note(f"picture: {plot_comparison(result)}")
    else:
        reporter.note("no picture: no training finished")


def plot_comparison(result: CompareResult) -> Path:
    """Draw bits per base against speed and memory, one row of panels per corpus."""
    corpora = list(dict.fromkeys(row.corpus for row in result.rows if row.bits_per_base))
    figure, axes = pyplot().subplots(
        len(corpora), 2, figsize=(11, 4.5 * len(corpora)), layout="constrained", squeeze=False
    )
    for corpus, (left, right) in zip(corpora, axes, strict=True):
        rows = [row for row in result.rows if row.corpus == corpus and row.bits_per_base]
        for panel, quantity in ((left, "speed"), (right, "memory")):
            _draw_points(panel, rows, quantity)
            _draw_baselines(panel, result, corpus)
        left.set(xlabel="bases per second while training", ylabel="held-out bits per base")
        right.set(xlabel="peak memory, MB")
        left.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{', '.join(corpora)}: {format_budget(result)}; lower is better")
    figure.canvas.draw()
    for corpus, panels in zip(corpora, axes, strict=True):
        names = [row.variant for row in result.rows if row.corpus == corpus and row.bits_per_base]
        for panel in panels:
            _label_points(panel, names)
    path = result.folder / PICTURE_FILE
    save_figure(figure, path)
    return path


def _draw_points(panel: Any, rows: list[Row], quantity: str) -> None:
    for index, row in enumerate(rows):
        assert row.bits_per_base is not None
        across = row.bases_per_second if quantity == "speed" else row.peak_bytes
        assert across is not None
        scale = 1.0 if quantity == "speed" else _MEGABYTE
        panel.errorbar(
            across.mean / scale,
            row.bits_per_base.mean,
            xerr=_half_width(across, scale),
            yerr=_half_width(row.bits_per_base),
            fmt="o",
            color=f"C{index % 10}",
        )
    panel.margins(x=0.2, y=0.1)


def _label_points(panel: Any, names: list[str]) -> None:
    """Place each name beside its point, at the offset with the fewest overlaps."""
    points = [bar[0].get_xydata()[0] for bar in panel.containers]
    boxes = [_box_around(panel.transData.transform(point)) for point in points]
    for index, (name, point) in enumerate(zip(names, points, strict=True)):
        label = panel.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            color=f"C{index % 10}",
        )
        num_overlaps = {}
        for offset in _OFFSETS:
            _move(label, offset)
            box = label.get_window_extent()
            is_inside = panel.bbox.containsx(box.x0) and panel.bbox.containsx(box.x1)
            num_overlaps[offset] = box.count_overlaps(boxes) + (0 if is_inside else len(boxes))
        _move(label, min(num_overlaps, key=lambda offset: num_overlaps[offset]))
        boxes.append(label.get_window_extent())


def _move(label: Any, offset: tuple[int, int, str]) -> None:
    across, up, side = offset
    label.set(position=(across, up), horizontalalignment=side)


def _box_around(point: Any, reach: float = 5.0) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox([point - reach, point + reach])


def _half_width(value: Spread, scale: float = 1.0) -> float | None:
    return None if value.deviation is None else value.deviation / scale


def _draw_baselines(panel: Any, result: CompareResult, corpus: str) -> None:
    """Draw the baselines; random weights, far above, do not change the limits."""
    baselines = [baseline for baseline in result.baselines if baseline.corpus == corpus]
    tables = [baseline for baseline in baselines if not baseline.is_random]
    colors = ("tab:red", "tab:brown", "tab:pink", "tab:olive")
    for table, color in zip(tables, colors, strict=False):
        _draw_baseline(panel, table, color)
    limits = panel.get_ylim()
    for baseline in baselines:
        if baseline.is_random:
            _draw_baseline(panel, baseline, "0.6")
    panel.set_ylim(limits)


def _draw_baseline(panel: Any, baseline: Baseline, color: str) -> None:
    label = f"{baseline.name}: {baseline.bits_per_base.mean:.4f}"
    level = baseline.bits_per_base.mean
    panel.axhline(level, color=color, linestyle="--", linewidth=1, label=label)
