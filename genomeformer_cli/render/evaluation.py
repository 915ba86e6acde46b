"""Results of `evaluate`: terminal tables, `eval_results.json`, and a report in HTML."""

from __future__ import annotations

import base64
import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.core.store.atomic import atomic_folder, write_json, write_text
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.console import to_json
from genomeformer_cli.render.plots import pyplot
from genomeformer_cli.render.tables import render_table

if TYPE_CHECKING:
    from genomeformer_cli.core.evaluation.held_out_scores import HeldOutScores
    from genomeformer_cli.core.evaluation.probing import ProbingResult
    from genomeformer_cli.core.workflows.evaluate import EvaluateResult

RESULTS_FILE = "eval_results.json"
REPORT_FILE = "report.html"
_COLORS = ("#457b9d", "#e76f51", "#2a9d8f", "#e9c46a", "#8d6a9f", "#b0b0b0")
_MAX_COLORED_CLASSES = 6
_PALETTE_SIZE = 64


def render_evaluation(result: EvaluateResult) -> RenderableType:
    """Return all tables of an evaluation."""
    from genomeformer_cli.core.evaluation.tables import evaluation_tables

    parts: list[RenderableType] = []
    for table in evaluation_tables(to_json(result)):
        parts += [render_table(table), Text("")]
    return Group(*parts[:-1])


def write_report(result: EvaluateResult, folder: Path) -> Path:
    """Write `eval_results.json` and `report.html` into a folder and return the report's path.

    A new folder appears with both.

    Raises:
        StoreError: A file cannot be written.
    """
    page = report_page(result)
    with nullcontext(folder) if folder.exists() else atomic_folder(folder) as place:
        write_json(place / RESULTS_FILE, to_json(result))
        write_text(place / REPORT_FILE, page)
    return folder / REPORT_FILE


def report_page(result: EvaluateResult) -> str:
    """Return the report as one HTML page that contains its pictures."""
    from genomeformer_cli.core.evaluation.tables import evaluation_tables

    pictures = [_position_picture(prediction) for prediction in result.predictions]
    if result.tasks:
        pictures.append(_axes_picture(result.tasks))
    settings = {
        "prediction": to_json(result.prediction_config),
        "labelled": to_json(result.labelled_config),
        "variants": to_json(result.variants_config),
        "codons": to_json(result.codon_config),
        "recovery": to_json(result.recovery_config),
    }
    return render_template(
        "evaluation.html",
        result=result,
        tables=evaluation_tables(to_json(result)),
        pictures=pictures,
        settings=json.dumps(settings, indent=2),
    )


def _picture(figure: Any, description: str) -> tuple[str, str]:
    """Return the description of a figure and its PNG in base 64."""
    from PIL import Image

    full, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=110)
    pyplot().close(figure)
    # A palette takes a third of the bytes; cards contain the pictures.
    image = Image.open(full).convert("RGB").quantize(_PALETTE_SIZE, dither=Image.Dither.NONE)
    image.save(reduced, format="png", optimize=True)
    return description, base64.b64encode(reduced.getvalue()).decode("ascii")


def _position_picture(prediction: HeldOutScores) -> tuple[str, str]:
    figure, axes = pyplot().subplots(figsize=(7, 3.6), layout="constrained")
    positions = [bin_.place for bin_ in prediction.places]
    model = [bin_.model for bin_ in prediction.places]
    axes.plot(positions, model, "o-", color=_COLORS[0], label="model")
    counts = [bin_.counts for bin_ in prediction.places]
    if None not in counts:
        axes.plot(positions, counts, "s--", color=_COLORS[1], label="table of counts")
    axes.axhline(2.0, color="0.6", linestyle=":", label="uniform guess")
    axes.set(xlabel=prediction.place_is, ylabel="bits per base", title=prediction.question)
    if prediction.logarithmic:
        axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return _picture(figure, f"bits per base by {prediction.place_is}")


def _axes_picture(tasks: tuple[ProbingResult, ...]) -> tuple[str, str]:
    num_columns = min(3, len(tasks))
    num_rows = -(-len(tasks) // num_columns)
    size = (4.4 * num_columns, 3.8 * num_rows)
    figure, grid = pyplot().subplots(
        num_rows, num_columns, figsize=size, layout="constrained", squeeze=False
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, task in zip(grid.flat, tasks, strict=False):
        axes.set_visible(True)
        _draw_task(axes, task)
    return _picture(figure, "the two main axes of the model's vectors, one panel per task")


def _draw_task(axes: Any, task: ProbingResult) -> None:
    is_colored = len(task.classes) <= _MAX_COLORED_CLASSES
    for number, label in enumerate(task.classes):
        points = [(x, y) for x, y, class_index in task.points if class_index == number]
        if not points:
            continue
        color = {"color": _COLORS[number]} if is_colored else {}
        axes.plot(*zip(*points, strict=True), ".", markersize=3, alpha=0.6, label=label, **color)
    axes.set(
        title=task.name,
        xlabel=f"axis 1, {task.shares[0]:.0%} of the variance",
        ylabel=f"axis 2, {task.shares[1]:.0%}",
    )
    if is_colored:
        axes.legend(frameon=False, fontsize=7, markerscale=2)
