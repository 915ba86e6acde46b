"""Results of `genomeformer evaluate` for a model card: numbers and pictures.

`eval_results.json` is read without paths and without the points of pictures; the pictures are those
of `report.html` beside it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path, PurePath
from typing import Any, NotRequired, TypedDict

from genomeformer_cli.core.documents import convert, read_json
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.model_io.bundle_layout import RESULTS_FILE

_PAGE_FILE = "report.html"
_PNG = "data:image/png;base64,"
_HINT = "give the folder that `genomeformer evaluate -o` wrote"


class _Interval(TypedDict):
    value: float | None
    low: float | None
    high: float | None


class _PredictionRow(TypedDict):
    part: str
    who: str
    detail: str | int | None
    bits: _Interval | None
    accuracy: _Interval | None
    gain: _Interval | None
    num_bases: int
    counted_on: NotRequired[str]


class _Prediction(TypedDict):
    question: str
    rows: list[_PredictionRow]


class _Measures(TypedDict):
    accuracy: _Interval
    mcc: _Interval
    auroc: _Interval


class _TaskRow(TypedDict):
    who: str
    seed: int
    logistic: _Measures
    neighbours: _Measures
    gain: NotRequired[_Interval | None]
    neighbourhood: NotRequired[dict[str, float | None] | None]


class _Task(TypedDict):
    name: str
    classes: list[str]
    rows: list[_TaskRow]


class _Evaluation(TypedDict):
    model: str
    counted_on: NotRequired[str | None]
    predictions: list[_Prediction]
    tasks: list[_Task]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Picture of a model card."""

    name: str  # File name.
    shows: str  # Description.
    content: bytes  # PNG.


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Evaluation of a model."""

    results: dict[str, Any]  # Contents of `eval_results.json`, without paths.
    pictures: tuple[Picture, ...]  # Pictures of the report.
    before_storing: bool = False  # True if the weights were evaluated as trained, not as stored.

    @property
    def digest(self) -> str:
        """Digest of the evaluated weights; empty if not recorded."""
        return str(self.results.get("weights_digest", ""))


def read_evidence(paths: Sequence[Path], digests: Sequence[str]) -> tuple[Evidence, ...]:
    """Read evaluations of a model.

    Args:
        paths: Folders written by `evaluate`, or their `eval_results.json`.
        digests: Digests of the weights as stored and as trained.

    Raises:
        InputError: A path is not an evaluation, or not of this model.
    """
    reports = [_read(path, number) for number, path in enumerate(paths, start=1)]
    for path, report in zip(paths, reports, strict=True):
        if report.digest not in digests:
            raise InputError(
                f"the evaluation in `{path}` belongs to other weights than those being released",
                hint="evaluate the run, or the bundle that `release` made of it before, and "
                "release again with `--replace`",
            )
    return tuple(replace(report, before_storing=report.digest != digests[0]) for report in reports)


def _read(path: Path, number: int) -> Evidence:
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        results = read_json(file)
        # Only checked: a file holds more than the card quotes.
        quoted: _Evaluation = convert(results, _Evaluation, source=str(file))
        if not all(task["rows"] for task in quoted["tasks"]):
            raise ValueError("a task has no rows")
    except ValueError as failure:
        raise InputError(f"`{file}` is not a valid evaluation: {failure}", hint=_HINT) from failure
    model = PurePath(quoted["model"]).name
    tasks = [_without(task, "points") for task in results["tasks"]]
    results = {**_without(results, "folder"), "model": model, "tasks": tasks}
    page = file.with_name(_PAGE_FILE)
    pictures = _pictures(page.read_text(encoding="utf-8")) if page.is_file() else []
    return Evidence(
        results=results,
        pictures=tuple(
            Picture(name=f"evaluation-{number}-{index}.png", shows=shows, content=content)
            for index, (shows, content) in enumerate(pictures, start=1)
        ),
    )


def _without(plain: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name != key}


def _pictures(page: str) -> list[tuple[str, bytes]]:
    reader = _PictureReader()
    reader.feed(page)
    return reader.pictures


class _PictureReader(HTMLParser):
    """Reader of the PNG pictures inside an HTML page, and their descriptions."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[tuple[str, bytes]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        source = attributes.get("src") or ""
        if tag != "img" or not source.startswith(_PNG):
            return
        try:
            content = base64.b64decode(source.removeprefix(_PNG), validate=True)
        except binascii.Error as failure:
            raise InputError(f"a picture of the evaluation is damaged: {failure}") from failure
        self.pictures.append((attributes.get("alt") or "a picture of the evaluation", content))
