"""Results and messages on stdout, stderr and terminals."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.table import Table

from genomeformer_cli.core.store.layout import Kind
from genomeformer_cli.render.console import data_stream, error_console, show, to_json


@dataclass(frozen=True)
class Inner:
    path: Path
    kind: Kind


@dataclass(frozen=True)
class Result:
    inner: Inner
    many: tuple[Inner, ...]
    when: datetime
    table: dict[str, float | None]


INNER = Inner(path=Path("a") / "b", kind=Kind.GENOMES)
RESULT = Result(
    inner=INNER,
    many=(INNER, INNER),
    when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    table={"x": 1.5, "y": None},
)


def test_a_result_becomes_plain_json() -> None:
    inner = {"path": str(Path("a") / "b"), "kind": "genomes"}
    assert to_json(RESULT) == {
        "inner": inner,
        "many": [inner, inner],
        "when": "2026-01-02T03:04:05+00:00",
        "table": {"x": 1.5, "y": None},
    }


def test_json_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show(RESULT, "for people", as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == to_json(RESULT)
    assert captured.err == ""


@pytest.mark.parametrize("text", ["a[red].npy", "[/b]", ":smile:", "[bold]x[/bold]", "naïve"])
def test_what_a_user_named_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(RESULT, text, as_json=False)
    assert capsys.readouterr().out == f"{text}\n"


def test_messages_go_to_stderr_without_wrapping(capsys: pytest.CaptureFixture[str]) -> None:
    error_console().print("word " * 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


HOSTILE = "a\x1b[31mred\x1b[0m\x9b2J\x07\u202eb\r"


def test_control_characters_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(box=None)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    show(RESULT, table, as_json=False)
    error_console().print(HOSTILE)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "a\\x1b[31mred\\x1b[0m\\x9b2J" in text
        assert not set(text) & set("\x1b\x9b\x07\u202e\r")


def test_a_table_of_data_is_escaped_on_a_terminal_alone(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{HOSTILE}\t1\n".encode()
    data_stream().writelines([line])
    sys.stdout.flush()
    assert capsysbinary.readouterr().out == line
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    data_stream().writelines([line])
    sys.stdout.flush()
    shown = capsysbinary.readouterr().out
    assert b"\x1b" not in shown
    assert shown.endswith(b"\t1\n")


def test_json_on_a_terminal_is_escaped_and_parses_equally(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show({"id": HOSTILE, "path": Path("\udcff")}, "", as_json=True)
    shown = capsys.readouterr().out
    assert "\x9b" not in shown
    assert json.loads(shown) == {"id": HOSTILE, "path": "\udcff"}


def test_output_in_a_file_is_not_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    words = " ".join(["word"] * 60)
    table = Table("first", "second", box=None)
    table.add_row(words, words)
    show(None, table, as_json=False)
    assert capsys.readouterr().out.count("\n") == 2
    monkeypatch.setenv("COLUMNS", "80")
    show(None, table, as_json=False)
    assert capsys.readouterr().out.count("\n") > 2
