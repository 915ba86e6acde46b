"""Pictures of runs, substitutions and vectors; every figure is written by `save_figure`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.formats.tables import read_table
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES
from genomeformer_cli.core.store.atomic import atomic_file, write_text
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.core.training.metrics import METRICS_FILE, read_rows, training_bits

if TYPE_CHECKING:
    from genomeformer_cli.core.embedding.projection import Projection
    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.pretrain import PretrainResult
    from genomeformer_cli.core.workflows.run_status import WatchedRun
    from genomeformer_cli.core.workflows.score import MutatedRecord

LOSS_FILE = "loss.png"
RUNS_FILE = "runs.png"
# Metadata that would differ between two writes of one figure.
_METADATA = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_UNIFORM_BITS = 2.0
_MAX_MAPS = 6
_PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee9944", "#774488",
)  # fmt: skip
_GREY = "#999999"
_SIDE, _MARGIN = 640, 40


def pyplot() -> Any:
    """Import matplotlib.pyplot for drawing into files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def check_picture_path(path: Path | None, *more_suffixes: str) -> None:
    """Refuse a path whose suffix names no known picture format.

    Raises:
        UsageError: The suffix is unknown.
    """
    suffixes = (*_METADATA, *more_suffixes)
    if path is not None and path.suffix.lower() not in suffixes:
        *first, last = (f"`{suffix}`" for suffix in suffixes)
        raise UsageError(
            f"unknown picture format: `{path}`", hint=f"end it with {', '.join(first)} or {last}"
        )


def save_figure(figure: Any, path: Path, *, dpi: int = 120) -> None:
    """Write a figure so that the same figure gives the same bytes, then close it.

    Raises:
        StoreError: The file cannot be written.
    """
    plt = pyplot()
    suffix = path.suffix.lower()
    # Without a salt, the names inside an SVG are random.
    with plt.rc_context({"svg.hashsalt": "genomeformer"}), atomic_file(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=_METADATA[suffix])
    plt.close(figure)


def plot_loss(result: PretrainResult) -> Path:
    """Draw a run's bits per base against the table of counts, as `loss.png` in its folder."""
    rows = read_rows(result.folder / METRICS_FILE)
    # The loss of a step that was left out may be NaN.
    steps_taken = [row for row in rows if not row.get("left_out")]
    steps = [row["step"] for row in steps_taken]
    training = training_bits(steps_taken)
    held_out, averaged = (_validations(rows, key) for key in ("validation", "validation_average"))
    summary = result.summary
    figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    if training:
        axes.plot(steps, training, color="0.75", linewidth=0.8, label="training, one step")
        axes.plot(steps, _smooth(training), color="0.4", linewidth=1.2, label="training, smoothed")
    axes.plot(*zip(*held_out, strict=True), "o-", color="tab:blue", label="held out")
    if averaged:
        label = "held out, average of the weights"
        axes.plot(*zip(*averaged, strict=True), ".-", color="tab:green", label=label)
    counts = f"table of {summary.counts_name}"
    axes.axhline(summary.counts.bits_per_base, color="tab:red", linestyle="--", label=counts)
    axes.axhline(_UNIFORM_BITS, color="0.6", linestyle=":", label="uniform guess")
    visible = [bits for _, bits in (*held_out, *averaged)]
    limits = bits_limits([summary.counts.bits_per_base, *visible], _smooth(training))
    axes.set(xlabel="step", ylabel="bits per base", title=result.name, ylim=limits)
    axes.legend(frameon=False, fontsize=8)
    path = result.folder / LOSS_FILE
    save_figure(figure, path)
    return path


def _validations(rows: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(row["step"], row[key]["bits_per_base"]) for row in rows if key in row]


def bits_limits(visible: list[float], training: list[float]) -> tuple[float, float]:
    """Return the vertical limits: all visible values, and the training loss down to its minimum.

    The loss of a first step may be far above a uniform guess; held-out bits of whole tokens may be
    too.
    """
    low = min([*visible, *training]) - 0.05
    return low, max([_UNIFORM_BITS + 0.1, *visible]) + 0.05


def _smooth(values: list[float], keep: float = 0.9) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(keep * smoothed[-1] + (1 - keep) * value if smoothed else value)
    return smoothed


def plot_runs(runs: list[WatchedRun]) -> Path:
    """Draw bits per base of several runs, as `runs.png` in the folder of the first."""
    figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    for run in runs:
        rows = read_rows(run.folder / METRICS_FILE)
        steps_taken = [row for row in rows if not row.get("left_out")]
        smooth = _smooth(training_bits(steps_taken))
        (line,) = axes.plot(
            [row["step"] for row in steps_taken][: len(smooth)], smooth, linewidth=0.8, alpha=0.6
        )
        held_out = _validations(rows, "validation")
        steps, bits = zip(*held_out, strict=True) if held_out else ((), ())
        axes.plot(steps, bits, "o-", color=line.get_color(), label=f"{run.name}, held out")
        if run.baseline is not None:
            level, color = run.baseline.bits_per_base, line.get_color()
            axes.axhline(level, color=color, linestyle="--", linewidth=0.8)
    axes.set(
        xlabel="step",
        ylabel="bits per base",
        title="held out (points), training (thin), table of counts (dashed)",
    )
    axes.legend(frameon=False, fontsize=8)
    path = runs[0].folder / RUNS_FILE
    save_figure(figure, path)
    return path


def plot_substitutions(maps: list[MutatedRecord], path: Path) -> None:
    """Draw the substitution maps of the first records: positions across, bases down."""
    maps = maps[:_MAX_MAPS]
    width = min(max(4.0, 0.08 * max(record.codes.size for record in maps) + 1.5), 60.0)
    figure, grid = pyplot().subplots(
        len(maps), 1, figsize=(width, 1.6 * len(maps) + 0.6), layout="constrained", squeeze=False
    )
    limit = max(float(abs(record.odds_LR[record.codes < NUM_REAL_BASES]).max()) for record in maps)
    for axes, record in zip(grid[:, 0], maps, strict=True):
        image = axes.imshow(
            record.odds_LR.T, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True
        )
        axes.set_yticks(range(NUM_REAL_BASES), list(BASES[:NUM_REAL_BASES]))
        axes.set(title=record.id, xlabel="position")
        axes.xaxis.set_major_formatter(lambda value, _: f"{int(value) + 1}")
    figure.colorbar(image, ax=grid[:, 0].tolist(), label="log2 p(alt) / p(ref)")
    save_figure(figure, path)


@dataclass(frozen=True)
class Colors:
    """Values of a column, by which points are coloured."""

    title: str  # Name of the column.
    values: dict[str, str]  # Values by record id.


def check_plane_options(path: Path | None, color_by: str | None) -> None:
    """Refuse a picture of vectors that cannot be drawn.

    Raises:
        UsageError: The picture format is unknown, or colours are given without a picture.
    """
    if path is None and color_by:
        raise UsageError("`plot_colors` needs a picture", hint="add `--plot FILE.png`")
    check_picture_path(path, ".html")


def read_colors(color_by: str | None) -> Colors | None:
    """Read the column `TSV[:COLUMN]`.

    Raises:
        InputError: The table cannot be read, lacks the column, or gives an id two values.
    """
    if color_by is None:
        return None
    name, _, column = color_by.rpartition(":") if ":" in color_by else (color_by, "", "")
    if not Path(name).is_file() and Path(color_by).is_file():
        name, column = color_by, ""
    table = read_table(Path(name))
    if len(table.columns) < 2:
        raise InputError(
            f"`{name}` has one column", hint="give the ids in the first column, values in another"
        )
    place = table.index(column, "name one as `TABLE:COLUMN`") if column else 1
    values: dict[str, str] = {}
    for row in table.rows:
        value = table.cell(row, place)
        if values.setdefault(table.cell(row, 0), value) != value:
            raise InputError(
                f"{table.where(row)}: `{row.cells[0]}` has two values of `{table.columns[place]}`",
                hint="give one row per id",
            )
    return Colors(table.columns[place], values)


def draw_plane(
    plane: Projection, ids: Sequence[str], path: Path, colors: Colors | None, reporter: Reporter
) -> None:
    """Draw projected vectors; ids that the table lacks are grey, with a warning.

    Raises:
        StoreError: The file cannot be written.
    """
    unknown = (
        [identifier for identifier in ids if identifier not in colors.values] if colors else []
    )
    if unknown:
        reporter.warn(
            f"{len(unknown):,} of {len(ids):,} rows are not in the table of colours and grey, the "
            f"first is `{unknown[0]}`"
        )
    groups = _color_groups(ids, colors)
    if path.suffix.lower() == ".html":
        write_text(path, _plane_page(plane, ids, groups, colors.title if colors else ""))
        return
    figure, axes = pyplot().subplots(figsize=(6.4, 5.6), layout="constrained")
    size = max(2.0, min(24.0, 6000 / max(len(ids), 1)))
    for label, color, rows in groups:
        points = plane.points[rows]
        style: dict[str, Any] = {"color": color, "alpha": 0.75, "linewidths": 0, "label": label}
        axes.scatter(points[:, 0], points[:, 1], s=size, **style)
    axes.set(xlabel=plane.axes[0], ylabel=plane.axes[1])
    if colors:
        axes.legend(title=colors.title, frameon=False, fontsize=8)
    save_figure(figure, path, dpi=150)


def _color_groups(ids: Sequence[str], colors: Colors | None) -> list[tuple[str, str, list[int]]]:
    """Return label, colour and rows per group: the most frequent values, then all remaining."""
    values = [colors.values.get(record_id, "") if colors else "" for record_id in ids]
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    labels = sorted(
        (value for value in rows if value), key=lambda label: (-len(rows[label]), label)
    )
    first, rest = labels[: len(_PALETTE)], labels[len(_PALETTE) :]
    groups = [(value, color, rows[value]) for value, color in zip(first, _PALETTE, strict=False)]
    remaining = [row for value in (*rest, "") for row in rows.get(value, ())]
    if remaining:
        color = _GREY if colors else _PALETTE[0]
        groups.append(("others" if rest else "no value", color, sorted(remaining)))
    return groups


def _plane_page(
    plane: Projection, ids: Sequence[str], groups: list[tuple[str, str, list[int]]], title: str
) -> str:
    """Return a self-contained page: an SVG that shows the id of the point under the pointer."""
    import numpy as np

    low, high = np.nanmin(plane.points, axis=0), np.nanmax(plane.points, axis=0)
    scale = [(_SIDE - 2 * _MARGIN) / (float(high[axis] - low[axis]) or 1.0) for axis in (0, 1)]
    marks = []
    for label, color, rows in groups:
        for row in rows:
            x, y = (float(value) for value in plane.points[row])
            if x != x:  # NaN: the record has no vector
                continue
            marks.append(
                {
                    "x": _MARGIN + (x - low[0]) * scale[0],
                    "y": _SIDE - _MARGIN - (y - low[1]) * scale[1],
                    "color": color,
                    "name": ids[row] + (f" ({label})" if title else ""),
                }
            )
    legend = [(label, color) for label, color, _ in groups] if title else []
    return render_template(
        "vectors.html",
        axes=plane.axes,
        title=title,
        legend=legend,
        marks=marks,
        side=_SIDE,
        margin=_MARGIN,
    )
