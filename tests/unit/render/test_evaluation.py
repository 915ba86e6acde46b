"""Tables of an evaluation: the terminal, the report and the card show the same cells."""

from __future__ import annotations

import html
from typing import Any

from genomeformer_cli.core.escaping import markdown
from genomeformer_cli.core.evaluation.tables import evaluation_tables
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.tables import render_table
from tests.unit.core.release.test_card import card, evidence, interval, prediction, results
from tests.unit.render.test_tables import rendered

RESULT = {
    "model": "m",
    "num_parameters": 1,
    "attention": "softmax",
    "direction": "causal",
    "counted_on": None,
    "environment": {},
}


def test_all_renderers_show_the_same_cells() -> None:
    tables = evaluation_tables(results())
    assert [len(table.rows) for table in tables] == [3, 3, 3]
    page = render_template(
        "evaluation.html", result=RESULT, tables=tables, pictures=[], settings=""
    )
    text = card(evidence=evidence())
    for table in tables:
        terminal = "\n".join(rendered(render_table(table), width=200))
        for cell in (
            table.title,
            *table.headings,
            *table.notes,
            *(c for r in table.rows for c in r),
        ):
            assert cell in terminal
            assert html.escape(cell, quote=False) in page.replace("&#39;", "'")
            assert markdown(cell) in text


def notes(*rows: dict[str, Any]) -> str:
    (table,) = evaluation_tables({"predictions": [{"question": "q", "rows": rows}], "tasks": []})
    return " ".join(table.notes)


def row(part: str, low: float | None, high: float | None) -> dict[str, Any]:
    first: dict[str, Any] = prediction(interval(0.0))["rows"][0]
    return {**first, "part": part, "gain": {"value": 0.0, "low": low, "high": high}}


def test_the_notes_name_every_part_that_is_not_ahead() -> None:
    ahead, behind, even = row("a", 0.1, 0.2), row("b", -0.2, -0.1), row("c", -0.1, 0.1)
    assert notes(ahead) == "The model is ahead of the table of counts beyond chance on every part."
    assert notes(ahead, behind, even) == (
        "The table of counts is ahead of the model beyond chance on: b. "
        "Neither is ahead beyond chance on: c."
    )
    assert "single window" in notes(row("a", None, None))
    assert "No table of counts" in notes({**ahead, "gain": None})


def test_several_seeds_are_a_mean_with_a_deviation() -> None:
    task = results()["tasks"][0]
    second = [
        {**probe, "seed": 1, "logistic": {**probe["logistic"], "mcc": interval(0.7)}}
        for probe in task["rows"]
    ]
    both = {**task, "rows": [*task["rows"], *second]}
    probes = evaluation_tables({"predictions": [], "tasks": [both]})[0]
    assert probes.rows[0][2] == "0.677 ± 0.033"
    assert probes.rows[0][4] == "0.800 [0.700, 0.900]"
