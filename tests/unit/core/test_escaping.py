"""Names from outside reach terminals, pages and cards as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.embedding.projection import Projection
from genomeformer_cli.core.escaping import encodable, markdown, one_line, printable
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.tables import Table
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.render.plots import Colors, draw_plane

HOSTILE = "a\x1b]0;x\x07<script>alert(1)</script><img src=x onerror=alert(1)>|[b](http://c)`d`\n# e"
ANY = st.text(st.characters(codec=None))


@given(ANY)
def test_nothing_that_a_terminal_executes_is_left(text: str) -> None:
    shown = printable(text)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown
    )
    assert one_line(text) == shown.replace("\n", "\\n").replace("\t", "\\t")


@given(ANY)
def test_any_text_can_be_encoded(text: str) -> None:
    assert encodable(text).encode("utf-8") or not text


@given(st.text())
def test_ordinary_text_is_left_alone(text: str) -> None:
    if text.isprintable():
        assert encodable(text) == text


def test_a_cell_of_a_card_is_escaped() -> None:
    cell = markdown(HOSTILE)
    assert "\n" not in cell
    for markup in ("<", ">", "|", "`"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", cell)
    assert "](" not in cell


def test_a_cell_keeps_text_without_markup() -> None:
    for text in ("NC_000913.3", "0.51 [0.4, 0.6]", "Escherichia coli K-12 (E.)"):
        assert markdown(text) == text


class Tags(HTMLParser):
    """Collect the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", [HOSTILE, '" onload="x', "</text><script>x</script>"])
def test_a_drawing_of_vectors_has_names_as_text(name: str, tmp_path: Path) -> None:
    plane = Projection(points=np.array([[0.0, 0.0], [1.0, 1.0]]), axes=(name, name))
    colors = Colors(title=name, values={name: name, "b": name})
    draw_plane(plane, (name, "b"), tmp_path / "plane.html", colors, SilentReporter())
    assert_no_script((tmp_path / "plane.html").read_text(encoding="utf-8"))


def test_a_report_has_names_as_text() -> None:
    table = Table(title=HOSTILE, headings=(HOSTILE,), rows=((HOSTILE,),), notes=(HOSTILE,))
    result = {
        "model": HOSTILE,
        "num_parameters": 1,
        "attention": HOSTILE,
        "direction": HOSTILE,
        "counted_on": HOSTILE,
        "environment": {HOSTILE: HOSTILE},
    }
    page = render_template(
        "evaluation.html",
        result=result,
        tables=[table],
        pictures=[],
        settings=HOSTILE,
    )
    assert_no_script(page)
    picture = [('" onload="x', '" onload="x')]
    page = render_template(
        "evaluation.html", result=result, tables=[], pictures=picture, settings=""
    )
    assert "onload" not in {key for tag in tags_of(page) for key in tag}


def tags_of(page: str) -> list[dict[str, str | None]]:
    reader = Tags()
    reader.feed(page)
    return [attrs for _, attrs in reader.found]


def assert_no_script(page: str) -> None:
    reader = Tags()
    reader.feed(page)
    assert reader.found
    assert not {"script", "img"} & {tag for tag, _ in reader.found}
    assert not [attrs for _, attrs in reader.found if any(key.startswith("on") for key in attrs)]
