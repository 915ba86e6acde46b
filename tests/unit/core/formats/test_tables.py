"""Tables: cells against plain splitting and the csv module, and what is refused by row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats import text as text_layer
from genomeformer_cli.core.formats.tables import read_table
from tests.strategies import repeatable

cell = st.text(alphabet="abcXYZ019 ;,\"'#é", max_size=8)
rows = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=6)
)


def write(folder: Path, text: str | bytes, name: str = "t.tsv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@repeatable
@given(table=rows)
def test_tab_separated_cells_are_those_of_split(table: list[list[str]], folder: Path) -> None:
    header = [f"c{number}" for number in range(len(table[0]))]
    header_line = "\t".join(header) + ("\t" if len(header) == 1 else "")
    lines = [header_line, *("\t".join(one) for one in table)]
    found = read_table(write(folder, "\n".join(lines) + "\n"))
    shown = [one for one in table if any(item.strip() for item in one)]
    assert [list(row.cells[: len(header)]) for row in found.rows] == [
        [item.strip() for item in one] for one in shown
    ]
    blank = sum(not line.strip(" ") for line in lines[1:])
    assert found.num_rows == len(table) - blank


@repeatable
@given(table=rows, separator=st.sampled_from(",;"), quoting=st.sampled_from([0, 1]))
def test_quoted_cells_are_those_of_the_csv_module(
    table: list[list[str]], separator: str, quoting: int, folder: Path
) -> None:
    header = [f"c{number}" for number in range(len(table[0]))]
    written = io.StringIO()
    writer = csv.writer(written, delimiter=separator, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows([[*header, "end"], *([*one, "x"] for one in table)])
    found = read_table(write(folder, written.getvalue()))
    assert found.columns == (*header, "end")
    assert [list(row.cells) for row in found.rows] == [
        [*(item.strip() for item in one), "x"] for one in table
    ]
    assert [row.number for row in found.rows] == list(range(1, len(table) + 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', r"row 2 \(line 3\).*not closed on its line"),
        ('a,b\n1,2\n3,"4"5\n', r"row 2 \(line 3\).*after a closing quote"),
        ('a,b\n1,"two\nlines"\n', r"row 1 \(line 2\).*not closed on its line"),
        ("a,b\n1,2,3\n", r"row 1 \(line 2\) has 3 cells, the header 2"),
        ("a\tb\n\n1\t2\t\tx\n", r"row 1 \(line 3\) has 4 cells, the header 2"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a,b\r1,2\r", "lone carriage return"),
        (b"a,b\n1,\0\n", "NUL"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read_table(write(tmp_path, text))
    assert caught.value.hint


def test_row_names_as_r_writes_them_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read_table(write(tmp_path, "sequence,label\nr1,ACGT,a\nr2,ACGT,b\n"))
    assert "col.names = NA" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "columns", "cells"),
    [
        ("a;b\n1,5;2\n", ("a", "b"), ("1,5", "2")),
        ("sep=;\na,x;b\n1;2\n", ("a,x", "b"), ("1", "2")),
        ('a, b\n1, "x, y"\n', ("a", "b"), ("1", "x, y")),
        ('a,b\n5" end,2\n', ("a", "b"), ('5" end', "2")),
        ("a,b\n1,2,,\n", ("a", "b"), ("1", "2", "", "")),
        ("\ufeffa,b\r\n1,2\r\n", ("a", "b"), ("1", "2")),
        ("a\tb\n\u00a01 \t2\n", ("a", "b"), ("1", "2")),
        ("\ta\n0\t1\n", ("", "a"), ("0", "1")),
    ],
)
def test_dialects(
    tmp_path: Path, text: str, columns: tuple[str, ...], cells: tuple[str, ...]
) -> None:
    found = read_table(write(tmp_path, text))
    assert found.columns == columns
    assert found.rows[0].cells == cells


def test_columns_are_found_in_any_case_and_exactly_first(tmp_path: Path) -> None:
    found = read_table(write(tmp_path, "ID\tLabel\tlabel\tX\tx\n1\ta\tb\tc\td\n"))
    assert (found.index("id"), found.index("label"), found.index("Label")) == (0, 2, 1)
    assert found.find("nothing") is None
    with pytest.raises(FormatError, match="2 columns `LABEL`"):
        found.index("LABEL")
    with pytest.raises(FormatError, match="no column `y`") as caught:
        found.index("y", "say which")
    assert "read as tab-separated" in str(caught.value.hint)
    assert "say which" in str(caught.value.hint)


def test_a_cell_that_is_needed_is_there_and_is_text(tmp_path: Path) -> None:
    found = read_table(write(tmp_path, b"a\tb\n1\nx\t\xe9\n"))
    with pytest.raises(FormatError, match=r"row 1 \(line 2\), column `b`.*1 of 2 cells"):
        found.cell(found.rows[0], 1)
    with pytest.raises(FormatError, match="not UTF-8"):
        found.cell(found.rows[1], 1)
    assert found.cell(found.rows[1], 0) == "x"


def test_a_line_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_layer, "MAX_LINE", 1_000)
    with pytest.raises(FormatError, match="line 2 is longer"):
        read_table(write(tmp_path, "a\tb\n" + "A" * 2_000 + "\tx\n"))
