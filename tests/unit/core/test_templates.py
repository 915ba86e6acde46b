"""Templates: strict variables, escaped HTML, strings that YAML and Markdown read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from genomeformer_cli.core.release.citation import write_citation
from genomeformer_cli.core.tables import Table, markdown_table
from genomeformer_cli.core.templates import (
    code_span,
    render_file,
    render_template,
    yaml_string,
)


@given(text=st.text(alphabet=st.characters(exclude_categories=())))
def test_yaml_strings_are_read_back(text: str) -> None:
    assert yaml.safe_load(f"name: {yaml_string(text)}") == {"name": text}


@given(name=st.text(), author=st.text())
def test_citations_are_read_back(name: str, author: str) -> None:
    citation = yaml.safe_load(write_citation(name, "mit", [author]))
    assert citation["title"] == name
    assert citation["authors"] == [{"name": author}]


def test_a_file_outside_the_package_has_the_filters(tmp_path: Path) -> None:
    (tmp_path / "x.md.j2").write_text("{{ number | thousands }} {{ text }}\n", encoding="utf-8")
    assert render_file(tmp_path / "x.md.j2", number=1234, text="a<b") == "1,234 a<b\n"
    with pytest.raises(UndefinedError):
        render_file(tmp_path / "x.md.j2", number=1)


def test_a_missing_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render_template("CITATION.cff", name="a")


@given(cells=st.lists(st.text(), min_size=1, max_size=3))
def test_a_cell_adds_neither_columns_nor_lines(cells: list[str]) -> None:
    table = Table(headings=("h",) * len(cells), rows=(tuple(cells),))
    lines = markdown_table(table).split("\n")
    assert len(lines) == 3
    unescaped = lines[2].replace("\\\\", "").replace("\\|", "")
    assert unescaped.count("|") == len(cells) + 1


@given(text=st.text())
def test_code_is_one_span_on_one_line(text: str) -> None:
    code = code_span(text)
    assert code.count("`") == 2
    assert "\n" not in code
