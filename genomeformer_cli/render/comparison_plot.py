"""What `compare` found, as a picture: quality against speed, and against memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.render.comparison import budget_words
from genomeformer_cli.render.plots import can_plot

if TYPE_CHECKING:
    from pathlib import Path

    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.compare import CompareResult
    from genomeformer_cli.core.workflows.standings import Baseline, Row, Spread

PICTURE_FILE = "comparison.png"
_MEGABYTE = 1e6
# Where a name may stand beside its point, the best first: points across and up, which side of the
# name is nearest.
_OFFSETS = (
    *((6, 4, "left"), (6, -11, "left"), (-6, 4, "right"), (-6, -11, "right")),
    *((0, 9, "center"), (0, -16, "center"), (8, 16, "left"), (-8, -22, "right")),
)


def draw_comparison(result: CompareResult, reporter: Reporter) -> None:
    """Draw a comparison in its folder, or say why not."""
    if not any(row.bits_per_base for row in result.rows):
        reporter.note("no picture: none was trained to its end")
    elif can_plot():
        reporter.note(f"picture: {plot_comparison(result)}")
    else:
        reporter.note("no picture: install `genomeformer[plots]` to have one")


def plot_comparison(result: CompareResult) -> Path:
    """Draw bits per base against speed and memory, a row of panels a corpus."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    corpora = list(dict.fromkeys(row.corpus for row in result.rows if row.bits_per_base))
    figure, axes = plt.subplots(
        len(corpora), 2, figsize=(11, 4.5 * len(corpora)), layout="constrained", squeeze=False
    )
    for corpus, (left, right) in zip(corpora, axes, strict=True):
        rows = [row for row in result.rows if row.corpus == corpus and row.bits_per_base]
        for panel, what in ((left, "speed"), (right, "memory")):
            _points(panel, rows, what)
            _lines(panel, result, corpus)
        left.set(xlabel="bases a second while training", ylabel="held-out bits per base")
        right.set(xlabel="peak memory, MB")
        left.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{', '.join(corpora)}: {budget_words(result)}; lower is better")
    figure.canvas.draw()
    for corpus, panels in zip(corpora, axes, strict=True):
        names = [row.variant for row in result.rows if row.corpus == corpus and row.bits_per_base]
        for panel in panels:
            _label(panel, names)
    path = result.folder / PICTURE_FILE
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)
    return path


def _points(panel: Any, rows: list[Row], what: str) -> None:
    for place, row in enumerate(rows):
        assert row.bits_per_base is not None
        across = row.bases_per_second if what == "speed" else row.peak_bytes
        assert across is not None
        scale = 1.0 if what == "speed" else _MEGABYTE
        panel.errorbar(
            across.mean / scale,
            row.bits_per_base.mean,
            xerr=_bar(across, scale),
            yerr=_bar(row.bits_per_base),
            fmt="o",
            color=f"C{place % 10}",
        )
    panel.margins(x=0.2, y=0.1)


def _label(panel: Any, names: list[str]) -> None:
    """Put each name beside its point, where it covers the fewest others."""
    points = [bar[0].get_xydata()[0] for bar in panel.containers]
    taken = [_box_around(panel.transData.transform(point)) for point in points]
    for place, (name, point) in enumerate(zip(names, points, strict=True)):
        note = panel.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            color=f"C{place % 10}",
        )
        crowding = {}
        for offset in _OFFSETS:
            _move(note, offset)
            box = note.get_window_extent()
            inside = panel.bbox.containsx(box.x0) and panel.bbox.containsx(box.x1)
            crowding[offset] = box.count_overlaps(taken) + (0 if inside else len(taken))
        _move(note, min(crowding, key=lambda offset: crowding[offset]))
        taken.append(note.get_window_extent())


def _move(note: Any, offset: tuple[int, int, str]) -> None:
    across, up, side = offset
    note.set(position=(across, up), horizontalalignment=side)


def _box_around(point: Any, reach: float = 5.0) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox([point - reach, point + reach])


def _bar(value: Spread, scale: float = 1.0) -> float | None:
    return None if value.deviation is None else value.deviation / scale


def _lines(panel: Any, result: CompareResult, corpus: str) -> None:
    """The baselines across; random weights, far above, must not squeeze the others together."""
    known = [one for one in result.baselines if one.corpus == corpus]
    tables = [one for one in known if not one.is_random]
    for one, colour in zip(tables, ("tab:red", "tab:brown", "tab:pink", "tab:olive"), strict=False):
        _line(panel, one, colour)
    limits = panel.get_ylim()
    for one in known:
        if one.is_random:
            _line(panel, one, "0.6")
    panel.set_ylim(limits)


def _line(panel: Any, one: Baseline, colour: str) -> None:
    label = f"{one.name}: {one.bits_per_base.mean:.4f}"
    panel.axhline(one.bits_per_base.mean, color=colour, linestyle="--", linewidth=1, label=label)
