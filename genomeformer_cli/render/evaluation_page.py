"""The report of `evaluate`: `eval_results.json`, and one page of HTML with its pictures inside."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.render.console import to_json
from genomeformer_cli.render.evaluation import Sheet, sheets
from genomeformer_cli.render.plots import can_plot

if TYPE_CHECKING:
    from genomeformer_cli.core.evaluation.held_out_scores import HeldOutScores
    from genomeformer_cli.core.evaluation.probing import ProbingResult
    from genomeformer_cli.core.workflows.evaluate import EvaluateResult

RESULTS_FILE = "eval_results.json"
PAGE_FILE = "report.html"
_COLOURS = ("#457b9d", "#e76f51", "#2a9d8f", "#e9c46a", "#8d6a9f", "#b0b0b0")
_MOST_COLOURED = 6
_PALETTE = 64
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; color: #222 }
table { border-collapse: collapse; margin: .6rem 0 }
td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #e5e5e5;
  white-space: nowrap }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left }
img { max-width: 100% }
.wide { overflow-x: auto }
.note { font-weight: 600 }
"""


def plain_results(result: EvaluateResult) -> dict[str, Any]:
    """Convert the result to JSON values; a value that is not finite is null."""
    found: dict[str, Any] = to_json(result)
    return found


def write_report(result: EvaluateResult, folder: Path) -> tuple[Path, Path]:
    """Write both files into a folder, which is made if it is not there.

    Raises:
        StoreError: They cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results, page = folder / RESULTS_FILE, folder / PAGE_FILE
    write_json(results, plain_results(result))
    write_text(page, page_of(result))
    return results, page


def page_of(result: EvaluateResult) -> str:
    """The page; without matplotlib it has no pictures, and says so."""
    title = html.escape(f"Evaluation of {result.model}")
    facts = (
        f"{result.num_parameters:,} parameters, {result.attention} attention, {result.direction}; "
        f"counts of the corpus {result.counted_on or '(none)'}; "
        + ", ".join(f"{key} {value}" for key, value in result.environment.items())
    )
    pictures = ["<p>No pictures: matplotlib is not installed.</p>"]
    if can_plot():
        pictures = [_places_picture(one) for one in result.predictions]
        pictures += [_axes_picture(result.tasks)] if result.tasks else []
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p>{html.escape(facts)}</p>",
            *(_table(sheet) for sheet in sheets(result)),
            *pictures,
            "<h2>Settings</h2>",
            f"<pre>{html.escape(_settings(result))}</pre>",
            "</body></html>\n",
        ]
    )


def _settings(result: EvaluateResult) -> str:
    settings = {
        "prediction": to_json(result.prediction_config),
        "labelled": to_json(result.labelled_config),
    }
    return json.dumps(settings, indent=2)


def _table(sheet: Sheet) -> str:
    head = "".join(f"<th>{html.escape(one)}</th>" for one in sheet.headings)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in sheet.rows
    )
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in sheet.notes)
    return (
        f"<h2>{html.escape(sheet.title)}</h2>\n"
        f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>{notes}'
    )


def _image(figure: Any, what: str) -> str:
    from matplotlib import pyplot as plt
    from PIL import Image

    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    plt.close(figure)
    # Dots of a few colours, with a palette, take a third of the bytes; cards carry them.
    few = Image.open(drawn).convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
    few.save(file, format="png", optimize=True)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<p><img alt="{html.escape(what)}" src="data:image/png;base64,{text}"></p>'


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _places_picture(one: HeldOutScores) -> str:
    figure, axes = _pyplot().subplots(figsize=(7, 3.6), layout="constrained")
    where = [place.place for place in one.places]
    axes.plot(where, [place.model for place in one.places], "o-", color=_COLOURS[0], label="model")
    if all(place.counts is not None for place in one.places):
        counts = [place.counts for place in one.places]
        axes.plot(where, counts, "s--", color=_COLOURS[1], label="table of counts")
    axes.axhline(2.0, color="0.6", linestyle=":", label="a fair guess")
    axes.set(xlabel=one.place_is, ylabel="bits per base", title=one.question)
    if one.logarithmic:
        axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return _image(figure, f"bits per base by {one.place_is}")


def _axes_picture(tasks: tuple[ProbingResult, ...]) -> str:
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    figure, grid = _pyplot().subplots(
        lines, columns, figsize=(4.4 * columns, 3.8 * lines), layout="constrained", squeeze=False
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, task in zip(grid.flat, tasks, strict=False):
        axes.set_visible(True)
        _draw_task(axes, task)
    return _image(figure, "the two main axes of the model's vectors, a panel a task")


def _draw_task(axes: Any, task: ProbingResult) -> None:
    few = len(task.classes) <= _MOST_COLOURED
    for number, label in enumerate(task.classes):
        places = [(x, y) for x, y, owner in task.points if owner == number]
        if not places:
            continue
        colour = {"color": _COLOURS[number]} if few else {}
        axes.plot(*zip(*places, strict=True), ".", markersize=3, alpha=0.6, label=label, **colour)
    axes.set(
        title=task.name,
        xlabel=f"axis 1, {task.shares[0]:.0%} of the variance",
        ylabel=f"axis 2, {task.shares[1]:.0%}",
    )
    if few:
        axes.legend(frameon=False, fontsize=7, markerscale=2)
