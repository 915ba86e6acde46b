from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from genomeformer_cli.core.store.layout import Kind
from genomeformer_cli.ui.console import show, talk, to_json


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


def test_talk_goes_to_stderr_and_wraps_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    talk().print("word " * 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
