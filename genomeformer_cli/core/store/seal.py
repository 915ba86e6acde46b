"""A sealed folder: its `SHA256SUMS` lists every file, in the format that `sha256sum -c` reads.

A signature of that list, `SHA256SUMS.sig`, may lie beside it.
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
# Signs the seal, so the seal cannot list it.
SIGNATURE = "SHA256SUMS.sig"
_HINT = "it was damaged or changed after it was written; restore it, or make the folder again"
_SETTLED_NS = 2 * 10**9


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    outside = (folder / SEAL, folder / SIGNATURE)
    return sorted(file for file in folder.rglob("*") if file.is_file() and file not in outside)


def seal(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Record the checksums of every file below `folder`.

    Args:
        folder: It becomes sealed.
        known: Checksums by file name, taken of what was written; these files are not read again.
    """
    known = known or {}
    names = {file.relative_to(folder).as_posix(): file for file in _files(folder)}
    lines = [f"{known.get(name) or file_sha256(file)}  {name}\n" for name, file in names.items()]
    write_text(folder / SEAL, "".join(lines))


def read_seal(folder: Path) -> dict[str, str]:
    """Checksums by file name, as recorded.

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


def has_same_seal(one: Path, other: Path) -> bool:
    """Compare the lists of checksums of two folders, and their signatures."""
    return all(_bytes_of(one / name) == _bytes_of(other / name) for name in (SEAL, SIGNATURE))


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def check_seal(folder: Path) -> int:
    """Compare every file with its recorded checksum; return how many files were compared.

    Raises:
        CorruptError: A file is missing, changed, or not listed.
    """
    return _compare(folder, {})


def check_sealed_file(folder: Path, name: str) -> None:
    """Compare one file of a sealed folder with its recorded checksum.

    Raises:
        CorruptError: It is missing, changed, or not listed.
    """
    if read_seal(folder).get(name) != (_digest_of(folder / name)):
        raise CorruptError(f"`{folder / name}` does not match its recorded checksum", hint=_HINT)


def _digest_of(path: Path) -> str:
    return file_sha256(path) if path.is_file() else ""


def check_seal_once(folder: Path, memory: Path) -> int:
    """Compare as `check_seal` does, but read no file twice that has not changed since.

    A file counts as unchanged if its size, its times of modification and of status change, and the
    checksum that the seal records are those of the last comparison.

    Args:
        folder: A sealed folder.
        memory: File outside it that remembers compared files; it need not be writable.

    Raises:
        CorruptError: A file is missing, changed, or not listed.
    """
    known = _read_memory(memory)
    # Taken before the comparison, so that a change during it is seen next time.
    found = {
        name: _fingerprint(folder / name, digest)
        for name, digest in read_seal(folder).items()
        if (folder / name).is_file()
    }
    compared = _compare(folder, known)
    # A file that is written again within a tick of the clock keeps its times: not remembered yet.
    latest = time.time_ns() - _SETTLED_NS
    settled = {name: mark for name, mark in found.items() if max(mark[1], mark[2]) < latest}
    if settled != known:
        # It only makes the next start cheap.
        with suppress(StoreError):
            write_json(memory, settled)
    return compared


Fingerprint = tuple[int, int, int, str]


def _fingerprint(path: Path, digest: str) -> Fingerprint:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, digest


def _read_memory(memory: Path) -> dict[str, Fingerprint]:
    try:
        known: dict[str, Fingerprint] = read_json(memory, dict[str, Fingerprint])
    except DocumentError:
        return {}
    return known


def _compare(folder: Path, known: Mapping[str, Fingerprint]) -> int:
    recorded = read_seal(folder)
    present = {file.relative_to(folder).as_posix() for file in _files(folder)}
    hint = _HINT
    for name, digest in recorded.items():
        if name not in present:
            raise CorruptError(f"`{folder / name}` is missing", hint=hint)
        if known.get(name) == _fingerprint(folder / name, digest):
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
