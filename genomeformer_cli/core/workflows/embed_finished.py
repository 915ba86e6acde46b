"""Records of finished embedding jobs: sizes and checksums by which a rerun knows its own files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.store.seal import file_sha256

# The sidecar of a job whose files are complete, before all of them have their final names.
FINISHED = "finished.json"


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """Size in bytes and SHA-256 of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FinishedJob:
    """Sizes and files of a finished job.

    Attributes:
        rows: Number of rows.
        width: Columns.
        records: Number of records.
        output: The array.
        ids: The list of ids; None if none was written.
    """

    rows: int
    width: int
    records: int
    output: FileIdentity
    ids: FileIdentity | None


def identify_file(path: Path) -> dict[str, int | str]:
    """Return size and SHA-256 of a file, as JSON."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def is_unchanged(path: Path, recorded: FileIdentity | None) -> bool:
    """Compare a file with its record, the size first."""
    try:
        if recorded is None or not path.is_file() or path.stat().st_size != recorded.bytes:
            return False
        return file_sha256(path) == recorded.sha256
    except OSError:
        return False


def read_finished(path: Path, job: str) -> FinishedJob | None:
    """Return the record of a finished job; None if it is missing, odd, or of another job."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("job") != job:
            return None
        numbers = {name: found[name] for name in ("rows", "width", "records")}
        if not all(type(number) is int and number >= 0 for number in numbers.values()):
            return None
        output = _identity(found["output"])
        if output is None:
            return None
        return FinishedJob(**numbers, output=output, ids=_identity(found.get("ids")))
    except (OSError, ValueError, KeyError, RecursionError):
        return None


def _identity(found: Any) -> FileIdentity | None:
    if not isinstance(found, dict):
        return None
    size, digest = found.get("bytes"), found.get("sha256")
    if not isinstance(size, int) or not isinstance(digest, str):
        return None
    return FileIdentity(bytes=size, sha256=digest)
