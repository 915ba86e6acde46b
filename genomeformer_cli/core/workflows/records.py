"""Records of a run or a comparison: values computed once, settings that may not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from genomeformer_cli.core.configuration import differences, from_plain, to_plain
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.results import check_result

Value = TypeVar("Value")
VERSION = "genomeformer"


def read_record(path: Path, kind: type[Value]) -> Value:
    """Read a recorded value, after comparing it with its checksum if it has one."""
    check_result(path)
    return from_plain(kind, read_json(path), where=str(path))


def read_or_make(path: Path, kind: type[Value], make: Callable[[], Value]) -> Value:
    """Read a recorded value, or make and record it."""
    if path.exists():
        return read_record(path, kind)
    value = make()
    write_json(path, to_plain(value))
    return value


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences between recorded and present settings, the package's version aside."""
    return differences(before, {**now, VERSION: before.get(VERSION)})


def refuse_changes(subject: str, changes: list[str], new: str) -> None:
    """Raise a `ConfigError` that lists the changed settings of a run or comparison, if any."""
    if changes:
        raise ConfigError(
            f"the {subject} was started with other settings: " + "; ".join(changes),
            hint=f"give the same settings to go on with it, or another `--name` to start {new}",
        )
