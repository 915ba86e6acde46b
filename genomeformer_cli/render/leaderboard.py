"""Results of a leaderboard: terminal tables, `leaderboard.json`, Markdown and HTML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.core.errors import PartialError
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.tables import Table, markdown_table
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.console import to_json
from genomeformer_cli.render.tables import render_table

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.leaderboard import LeaderboardResult

RESULTS_FILE = "leaderboard.json"
MARKDOWN_FILE = "leaderboard.md"
REPORT_FILE = "leaderboard.html"


def render_leaderboard(result: LeaderboardResult) -> RenderableType:
    """Return the tables of a leaderboard."""
    parts: list[RenderableType] = []
    for table in _tables(result):
        parts += [render_table(table), Text("")]
    return Group(*parts[:-1])


def write_leaderboard(result: LeaderboardResult, folder: Path) -> Path:
    """Write the results as JSON, Markdown and HTML, and return the path of the page.

    Raises:
        StoreError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(result)
    write_json(folder / RESULTS_FILE, to_json(result))
    write_text(folder / MARKDOWN_FILE, "\n".join(map(_markdown, tables)))
    page = render_template("leaderboard.html", result=result, tables=tables)
    write_text(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def check_all_ranked(result: LeaderboardResult) -> None:
    """Raise if a model failed, so that the exit code is not zero.

    Raises:
        PartialError: A model failed.
    """
    if result.problems:
        raise PartialError(
            f"{len(result.problems)} of {len(result.models)} models failed: "
            + ", ".join(result.problems),
            hint="the others are kept; the same command again repeats only these",
        )


def _tables(result: LeaderboardResult) -> list[Table]:
    from genomeformer_cli.core.evaluation.leaderboard_tables import leaderboard_tables

    return leaderboard_tables(to_json(result))


def _markdown(table: Table) -> str:
    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"## {table.title}\n\n{markdown_table(table)}\n{notes}"
