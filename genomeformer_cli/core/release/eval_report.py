"""What `genomeformer evaluate` found, to be quoted by a card: its numbers, and its pictures.

`eval_results.json` is taken but for paths and for the points of pictures; the pictures are those
of `report.html` beside it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path, PurePath
from typing import Any

from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.model_io.bundle_layout import RESULTS_FILE

_PAGE_FILE = "report.html"
_PNG = "data:image/png;base64,"
_HINT = "give the folder that `genomeformer evaluate -o` wrote"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture for a card.

    Attributes:
        name: Of its file.
        shows: What it shows, in words.
        content: PNG.
    """

    name: str
    shows: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One evaluation.

    Attributes:
        results: Its `eval_results.json`, without paths.
        pictures: Of its page.
        before_storing: Whether it is of the weights as they were trained, not as they are stored.
    """

    results: dict[str, Any]
    pictures: tuple[Picture, ...]
    before_storing: bool = False

    @property
    def digest(self) -> str:
        """Of the weights that were evaluated; empty if it was not recorded."""
        return str(self.results.get("weights_digest", ""))


def read_evidence(paths: Sequence[Path], digests: Sequence[str]) -> tuple[Evidence, ...]:
    """Read evaluations of a model.

    Args:
        paths: Folders that `evaluate` wrote, or their `eval_results.json`.
        digests: Of the weights that they may be of: as they are stored, and as they were trained.

    Raises:
        InputError: One is no evaluation, or is of another model.
    """
    found = [_read(path, number) for number, path in enumerate(paths, start=1)]
    for path, one in zip(paths, found, strict=True):
        if one.digest not in digests:
            raise InputError(
                f"the evaluation in `{path}` is of other weights than those to be released",
                hint="evaluate the run, or the bundle that `release` made of it before, and "
                "release again with `--replace`",
            )
    return tuple(replace(one, before_storing=one.digest != digests[0]) for one in found)


def _read(path: Path, number: int) -> Evidence:
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        results = read_json(file)
        model = PurePath(str(results["model"])).name
        tasks = [_without(task, "points") for task in results["tasks"]]
        results = {**_without(results, "folder"), "model": model, "tasks": tasks}
        if not isinstance(results["predictions"], list):
            raise TypeError("`predictions` is not a list")
    except (ValueError, KeyError, TypeError) as failure:
        raise InputError(f"`{file}` is no evaluation: {failure!r}", hint=_HINT) from failure
    page = file.with_name(_PAGE_FILE)
    pictures = _pictures(page.read_text(encoding="utf-8")) if page.is_file() else []
    return Evidence(
        results=results,
        pictures=tuple(
            Picture(name=f"evaluation-{number}-{place}.png", shows=shows, content=content)
            for place, (shows, content) in enumerate(pictures, start=1)
        ),
    )


def _without(plain: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name != key}


def _pictures(page: str) -> list[tuple[str, bytes]]:
    reader = _PictureReader()
    reader.feed(page)
    return reader.found


class _PictureReader(HTMLParser):
    """Collects the PNG pictures that a page carries inside itself, with their words."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, bytes]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        source = given.get("src") or ""
        if tag != "img" or not source.startswith(_PNG):
            return
        try:
            content = base64.b64decode(source.removeprefix(_PNG), validate=True)
        except binascii.Error as failure:
            raise InputError(f"a picture of the evaluation is damaged: {failure}") from failure
        self.found.append((given.get("alt") or "a picture of the evaluation", content))
