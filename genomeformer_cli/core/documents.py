"""Validated JSON and TOML: the only place where documents from outside become typed objects.

msgspec validates: types are strict, numbers are finite, integers have at most 4,300 digits. Size
and depth are checked before any recursive walk. Every failure is a `DocumentError`, which names the
source and the key.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from genomeformer_cli.core.errors import InputError

T = TypeVar("T")

MAX_BYTES = 256 << 20
MAX_LINE_BYTES = 64 << 20
MAX_DEPTH = 64
_PLACE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_HINT = "the file is damaged or was written by another program; make or fetch it again"


class DocumentError(InputError, ValueError):
    """JSON or TOML that is malformed, too large, or not of the expected type.

    Args:
        message: Source, key and reason.
        hint: Next step.
        place: Dotted path of the key; empty for the whole document.
    """

    def __init__(self, message: str, *, hint: str | None = _HINT, place: str = "") -> None:
        super().__init__(message, hint=hint)
        self.place = place


def read_json(path: Path, kind: Any = dict[str, Any], *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file as an object of a type; any mapping by default.

    Args:
        path: UTF-8 file.
        kind: Type to build: a dataclass, a container, a union.
        max_bytes: Maximum size of the file.

    Raises:
        DocumentError: The file cannot be read, is too large, or has the wrong type.
    """
    return parse_json(_read(path, max_bytes), kind, source=str(path), max_bytes=max_bytes)


def read_json_lines(
    path: Path, kind: Any = dict[str, Any], *, nonfinite: bool = False
) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of every line of a file; blank lines are skipped.

    Args:
        path: UTF-8 file.
        kind: Type of every line.
        nonfinite: Accept `NaN` and `Infinity`.

    Raises:
        DocumentError: A line is too long or has the wrong type; the error names its number.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if line.strip():
                    value = parse_json(
                        line,
                        kind,
                        source=f"{path}, line {number}",
                        max_bytes=MAX_LINE_BYTES,
                        nonfinite=nonfinite,
                    )
                    yield number, value
    except OSError as failure:
        _refuse(str(path), failure.strerror or str(failure))


def parse_json(
    text: str | bytes,
    kind: Any = Any,
    *,
    source: str,
    max_bytes: int = MAX_BYTES,
    nonfinite: bool = False,
) -> Any:
    """Parse JSON text as an object of a type.

    Args:
        text: Document, str or UTF-8 bytes.
        kind: Type to build.
        source: File or address, named in errors.
        max_bytes: Maximum size of the document.
        nonfinite: Accept `NaN` and `Infinity`, which Python writes although JSON lacks them.

    Raises:
        DocumentError: The text is too long, malformed, or has the wrong type.
    """
    if len(text) > max_bytes:
        _refuse(source, f"it has more than {max_bytes:,} bytes")
    try:
        value = json.loads(text) if nonfinite else msgspec.json.decode(text)
    # Older releases of msgspec raise another error for truncated input.
    except (ValueError, RecursionError, msgspec.MsgspecError) as failure:
        _refuse(source, _reason(failure))
    return convert(value, kind, source=source)


def read_toml(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a TOML file as nested dictionaries.

    Raises:
        DocumentError: The file cannot be read, is too large, or is malformed.
    """
    content = _read(path, max_bytes)
    try:
        return parse_toml(content.decode("utf-8-sig"), source=str(path))
    except UnicodeDecodeError as failure:
        _refuse(str(path), _reason(failure))


def parse_toml(text: str, *, source: str) -> dict[str, Any]:
    """Parse TOML text as nested dictionaries.

    Raises:
        DocumentError: The text is malformed or too large.
    """
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as failure:
        _refuse(source, _reason(failure))
    check_depth(value, source=source)
    return value


def convert(value: Any, kind: Any, *, source: str) -> Any:
    """Build an object of a type from plain values; unknown keys are ignored.

    Raises:
        DocumentError: A value has the wrong type, or a required key is absent.
    """
    check_depth(value, source=source)
    if kind is Any:
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as failure:
        message = str(failure)
        match = _PLACE.search(message)
        place = match[1].lstrip(".") if match else ""
        reason = message[: match.start()] if match else message
        where = f"`{place}`: " if place else ""
        raise DocumentError(f"`{source}`: {where}{_lower(reason)}", place=place) from failure
    # A name with a lone surrogate cannot be encoded as UTF-8.
    except (RecursionError, UnicodeError) as failure:
        _refuse(source, _reason(failure))


def check_depth(value: Any, *, source: str) -> None:
    """Refuse values nested more than `MAX_DEPTH` levels deep.

    Raises:
        DocumentError: The value is nested too deeply.
    """
    level = _children([value])
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return
    _refuse(source, f"it is nested more than {MAX_DEPTH} levels deep")


def unknown_keys(kind: Any, value: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the path of every key that the dataclasses of a type lack, and the known keys."""
    options = (
        typing.get_args(kind)
        if typing.get_origin(kind) in (typing.Union, types.UnionType)
        else (kind,)
    )
    for option in options:
        arguments = typing.get_args(option)
        if isinstance(value, list | tuple) and arguments:
            for number, item in enumerate(value):
                yield from unknown_keys(arguments[0], item, f"{prefix[:-1]}[{number}].")
        if not (dataclasses.is_dataclass(option) and isinstance(value, Mapping)):
            continue
        hints = typing.get_type_hints(option)
        for key, item in value.items():
            if key in hints:
                yield from unknown_keys(hints[key], item, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", list(hints)


def _children(value: Any) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value
    return [inner for inner in values if isinstance(inner, dict | list)]


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte beyond the current size, so that growing files and pipes are bounded too.
            return file.read(min(os.fstat(file.fileno()).st_size or max_bytes, max_bytes) + 1)
    except OSError as failure:
        _refuse(str(path), failure.strerror or str(failure))


def _refuse(source: str, reason: str) -> NoReturn:
    raise DocumentError(f"`{source}` cannot be read: {reason}")


def _reason(failure: Exception) -> str:
    if isinstance(failure, RecursionError):
        return "it is nested too deeply"
    if isinstance(failure, UnicodeDecodeError):
        return f"byte {failure.start} is not UTF-8"
    return _lower(str(failure).removeprefix("JSON is malformed: "))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
