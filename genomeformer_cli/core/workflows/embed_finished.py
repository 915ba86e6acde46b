"""Records of finished embedding jobs: sizes and checksums by which a rerun knows its own files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.store.seal import file_sha256

# The sidecar of a job whose files are complete, before all of them have their final names.
FINISHED = "finished.json"
_CHECKSUM = "sha256"


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


@dataclass(frozen=True, kw_only=True)
class _Record:
    """Contents of the sidecar that concern the job."""

    job: str
    rows: int
    width: int
    records: int
    output: FileIdentity
    ids: FileIdentity | None = None


def with_checksum(facts: dict[str, Any]) -> dict[str, Any]:
    """Add the SHA-256 of a record to it, so that a damaged record is not believed."""
    return {**facts, _CHECKSUM: _checksum(facts)}


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode("utf-8")).hexdigest()


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
        facts = read_json(path)
        found: _Record = read_json(path, _Record)
    except DocumentError:
        return None
    if facts.pop(_CHECKSUM, None) != _checksum(facts):
        return None
    if found.job != job or min(found.rows, found.width, found.records) < 0:
        return None
    return FinishedJob(
        rows=found.rows,
        width=found.width,
        records=found.records,
        output=found.output,
        ids=found.ids,
    )
