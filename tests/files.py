"""Looking at folders, and the files that people give by mistake."""

from __future__ import annotations

import ctypes
import errno
import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def names_in(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def everything_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder but for locks and what remembers times of files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.parent not in (folder / "locks", folder / "verified")
    }


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


# Capabilities by which root ignores the rights of files, as bits: CAP_DAC_OVERRIDE, _READ_SEARCH.
_IGNORES_RIGHTS = (1 << 1) | (1 << 2)
_CAPABILITY_VERSION = 0x20080522


@contextmanager
def ordinary_rights(*, read_only: Path) -> Iterator[None]:
    """Make a folder read-only, for root too, in this thread and those that it starts."""
    below = [read_only, *read_only.rglob("*")]
    modes = {path: path.stat().st_mode for path in below}
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, data) == 0
    effective = data[0]
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    data[0] = effective & ~_IGNORES_RIGHTS
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = effective
        assert libc.capset(header, data) == 0
        for path, mode in modes.items():
            path.chmod(mode)


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the system takes bytes but cannot put them on the disk."""

    def fsync(descriptor: int) -> None:
        del descriptor
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def png_picture() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\x80")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def truncated_gzip(fasta: bytes) -> bytes:
    """A download that broke off."""
    whole = gzip.compress(fasta, mtime=0)
    return whole[: len(whole) * 2 // 3]
