"""The two streams: results go to stdout, all talk to stderr; Rich honours `NO_COLOR` and pipes."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType


def talk() -> Console:
    """The console on stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def show(result: object, rendered: RenderableType, *, as_json: bool) -> None:
    """Put a result on stdout: for people, or as JSON for machines."""
    if as_json:
        sys.stdout.write(json.dumps(to_json(result), indent=2, ensure_ascii=False) + "\n")
        return
    # What a user named, such as `a[red].npy` or `:smile:`, is no markup.
    Console(highlight=False, markup=False, emoji=False).print(rendered)


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
