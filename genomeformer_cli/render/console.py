"""Console output: results on stdout, messages on stderr; Rich honours `NO_COLOR` and pipes."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import IO, Any, cast

from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    RenderableType,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment

from genomeformer_cli.core.escaping import encodable, printable
from genomeformer_cli.render.streams import output_is_missing

_FILE_WIDTH = 10_000


class _Escaped:
    """Renderable whose text reaches the terminal without control characters."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._renderable, options):
            yield Segment(text if control else printable(text), style, control)


class _EscapeHook(RenderHook):
    """Hook that escapes all output of a console."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(renderable) for renderable in renderables]


def _escaping(console: Console) -> Console:
    console.push_render_hook(_EscapeHook())
    return console


def error_console() -> Console:
    """Return the console on stderr; markup in a name, such as `[red]`, is printed as text."""
    return _escaping(
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    )


def show(result: object, rendered: RenderableType, *, as_json: bool) -> None:
    """Print a result on stdout, as rich text or as JSON.

    Args:
        result: Result for JSON.
        rendered: Result as rich text.
        as_json: Print JSON.
    """
    if as_json:
        text = encodable(json.dumps(to_json(result), indent=2, ensure_ascii=False))
        # A JSON string may hold any escape, so nothing is lost to a program that reads it.
        sys.stdout.write((_json_printable(text) if sys.stdout.isatty() else text) + "\n")
        return
    if output_is_missing():  # a summary, of files that are written
        return
    # What a user named, such as `a[red].npy` or `:smile:`, is no markup. A file has no width.
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(
        highlight=False, markup=False, emoji=False, width=None if has_width else _FILE_WIDTH
    )
    _escaping(console).print(rendered, crop=False)


def _json_printable(text: str) -> str:
    # JSON has no `\\x1b`; C0 characters are escaped already, so that what is new is what remains.
    return "".join(
        f"\\u{ord(letter):04x}" if printable(letter) != letter else letter for letter in text
    )


class _Terminal:
    """Standard output that escapes control characters."""

    def write(self, content: bytes) -> int:
        sys.stdout.write(printable(content.decode("utf-8", errors="surrogateescape")))
        return len(content)

    def writelines(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.write(line)


def data_stream() -> IO[bytes]:
    """Return the stream for tables on stdout: unchanged bytes, escaped on a terminal."""
    return cast("IO[bytes]", _Terminal()) if sys.stdout.isatty() else sys.stdout.buffer


def to_json(value: object) -> Any:
    """Convert a result dataclass to JSON values; NaN and infinity, which JSON lacks, are null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
