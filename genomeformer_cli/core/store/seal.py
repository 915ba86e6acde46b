"""Seal of a folder: `SHA256SUMS` lists every file, in the format of `sha256sum -c`.

A signature of that list, `SHA256SUMS.sig`, is optional.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CorruptError, StoreError
from genomeformer_cli.core.store.atomic import write_json, write_text

SEAL = "SHA256SUMS"
_MAX_SEAL_BYTES = 64 << 20
# Not listed in the seal, because it signs it.
SIGNATURE = "SHA256SUMS.sig"
_HINT = "it was damaged or changed after it was written; restore it, or make the folder again"
_CLOCK_TICK_NS = 2 * 10**9


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    outside = (folder / SEAL, folder / SIGNATURE)
    return sorted(file for file in folder.rglob("*") if file.is_file() and file not in outside)


def seal(folder: Path, checksums: Mapping[str, str] | None = None) -> None:
    """Record the checksums of every file below `folder`.

    Args:
        folder: Folder to seal.
        checksums: Checksums by file name, computed while writing; these files are not read again.
    """
    recorded = checksums or {}
    names = {file.relative_to(folder).as_posix(): file for file in _files(folder)}
    lines = [f"{recorded.get(name) or file_sha256(file)}  {name}\n" for name, file in names.items()]
    write_text(folder / SEAL, "".join(lines))


def read_seal(folder: Path) -> dict[str, str]:
    """Return the recorded checksums by file name.

    Raises:
        CorruptError: The folder has no seal, or an unreadable one.
    """
    path = folder / SEAL
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SEAL_BYTES + 1)
        if len(content) > _MAX_SEAL_BYTES:
            raise ValueError(f"more than {_MAX_SEAL_BYTES:,} bytes")
        lines = content.decode("utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except FileNotFoundError:
        raise CorruptError(
            f"`{folder}` has no `{SEAL}`",
            hint="the folder is incomplete; make it again or fetch it again",
        ) from None
    except ValueError as failure:
        raise CorruptError(
            f"`{path}` is damaged", hint="make the folder again or fetch it again"
        ) from failure


def has_same_seal(first: Path, second: Path) -> bool:
    """Compare the checksum lists of two folders, and their signatures."""
    return all(_bytes_of(first / name) == _bytes_of(second / name) for name in (SEAL, SIGNATURE))


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def check_seal(folder: Path) -> int:
    """Verify every file against its recorded checksum; return the number of files.

    Raises:
        CorruptError: A file is missing, changed, or not listed.
    """
    return _compare(folder, {})


def check_sealed_file(folder: Path, name: str) -> None:
    """Verify one file of a sealed folder against its recorded checksum.

    Raises:
        CorruptError: The file is missing, changed, or not listed.
    """
    if read_seal(folder).get(name) != (_digest_of(folder / name)):
        raise CorruptError(f"`{folder / name}` does not match its recorded checksum", hint=_HINT)


def _digest_of(path: Path) -> str:
    return file_sha256(path) if path.is_file() else ""


def check_seal_once(folder: Path, record: Path) -> int:
    """Verify a sealed folder, skipping files that are unchanged since the last verification.

    A file is unchanged if its size, its modification and status-change times, and its recorded
    checksum are those of the last verification.

    Args:
        folder: Sealed folder.
        record: File outside it with the verified files; it need not be writable.

    Raises:
        CorruptError: A file is missing, changed, or not listed.
    """
    previous = _read_record(record)
    # Read before the comparison, so that a change during it is detected next time.
    current = {
        name: _fingerprint(folder / name, digest)
        for name, digest in read_seal(folder).items()
        if (folder / name).is_file()
    }
    compared = _compare(folder, previous)
    # A file rewritten within one clock tick keeps its times, so recent files are not recorded.
    latest = time.time_ns() - _CLOCK_TICK_NS
    stable = {name: mark for name, mark in current.items() if max(mark[1], mark[2]) < latest}
    if stable != previous:
        # An unwritable record only makes the next start slower.
        with suppress(StoreError):
            write_json(record, stable)
    return compared


Fingerprint = tuple[int, int, int, str]


def _fingerprint(path: Path, digest: str) -> Fingerprint:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest


def _read_record(record: Path) -> dict[str, Fingerprint]:
    try:
        fingerprints: dict[str, Fingerprint] = read_json(record, dict[str, Fingerprint])
    except DocumentError:
        return {}
    return fingerprints


def _compare(folder: Path, fingerprints: Mapping[str, Fingerprint]) -> int:
    recorded = read_seal(folder)
    present = {file.relative_to(folder).as_posix() for file in _files(folder)}
    hint = _HINT
    for name, digest in recorded.items():
        if name not in present:
            raise CorruptError(f"`{folder / name}` is missing", hint=hint)
        if fingerprints.get(name) == _fingerprint(folder / name, digest):
            continue
        if file_sha256(folder / name) != digest:
            raise CorruptError(f"`{folder / name}` does not match its recorded checksum", hint=hint)
    extra = sorted(present - set(recorded))
    if extra:
        raise CorruptError(
            f"`{folder / extra[0]}` is not listed in `{SEAL}`",
            hint="remove it, or seal the folder again",
        )
    return len(recorded)
