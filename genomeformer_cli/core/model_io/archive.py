"""A bundle in one file, `NAME.tar.gz`, with reproducible bytes.

Members are sorted, without owner, date or special modes; the gzip header has no name and no time.
Unpacking accepts only regular files of a bundle, in one folder.
"""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.model_io.bundle_layout import check_layout, is_bundle_file, list_files
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import check_seal, file_sha256

SUFFIX = ".tar.gz"
_MODE = 0o644
_LEVEL = 6
_MAX_MEMBERS = 10_000
# Weights hardly shrink when they are packed, texts to a tenth. A small bundle may be all zeros.
_MAX_RATIO, _SMALL_BYTES = 20, 64 << 20
_KEPT_FREE = 16 << 20
_DAMAGE = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    ValueError,
    IndexError,
    OverflowError,
    RecursionError,
    struct.error,
)
_HINT = "get the archive again from where it came"


def pack(folder: Path, name: str, archive: Path) -> None:
    """Write a bundle as an archive.

    Args:
        folder: Folder of the bundle.
        name: Name of the folder inside the archive.
        archive: Output file.

    Raises:
        StoreError: The system refused the write.
    """
    with (
        atomic_file(archive) as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=_LEVEL) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for member in list_files(folder):
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size, info.mode = (folder / member).stat().st_size, _MODE
            with (folder / member).open("rb") as file:
                tar.addfile(info, file)


def unpack_archive(archive: Path, store: Store) -> Path:
    """Unpack an archive into the cache, under its checksum, and return the folder of the bundle.

    Raises:
        CorruptError: The file is not an archive of a bundle, or a checksum differs.
        StoreError: The system refused a write.
    """
    digest = file_sha256(archive)

    def fill(folder: Path) -> None:
        _unpack(archive, folder)
        check_seal(folder)
        check_layout(folder)

    return store.ensure(Kind.UNPACKED, digest, fill)


def _unpack(archive: Path, folder: Path) -> None:
    limit = archive.stat().st_size * _MAX_RATIO + _SMALL_BYTES
    roots: set[str] = set()
    try:
        with (
            gzip.open(archive) as packed,
            # A stream is read once, in order, and never further than the limit.
            tarfile.open(
                fileobj=cast("IO[bytes]", _LimitedStream(packed, limit)), mode="r|"
            ) as tar,
        ):
            for member, name, root in _members(archive, tar):
                roots.add(root)
                if member.size > min(limit, shutil.disk_usage(folder).free - _KEPT_FREE):
                    raise CorruptError(
                        f"`{archive}` holds {member.size:,} bytes as `{member.name}`, more than "
                        "allowed or more than the free disk space",
                        hint=_HINT,
                    )
                content = tar.extractfile(member)
                assert content is not None, "a regular file has content"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with content, (folder / name).open("wb") as file:
                    shutil.copyfileobj(content, file, io.DEFAULT_BUFFER_SIZE)
    except _TooLargeError as failure:
        raise CorruptError(
            f"`{archive}` unpacks to more than {limit:,} bytes, {_MAX_RATIO} times its size",
            hint=_HINT,
        ) from failure
    except _DAMAGE as failure:
        raise CorruptError(
            f"`{archive}` is not a complete archive: {failure}", hint=_HINT
        ) from failure
    if len(roots) != 1:
        raise CorruptError(f"`{archive}` does not hold one bundle", hint=_HINT)


class _TooLargeError(Exception):
    """Archive that unpacks to more bytes than allowed."""


class _LimitedStream:
    """Stream that raises after a given number of bytes.

    Args:
        stream: Source.
        limit: Largest number of bytes.
    """

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes.

        Raises:
            _TooLargeError: The stream has more than the limit.
        """
        content = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise _TooLargeError
        return content


def _members(archive: Path, tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Yield every file of an archive, its name in the bundle, and its folder."""
    names: set[str] = set()
    for number, member in enumerate(tar, start=1):
        if number > _MAX_MEMBERS:
            raise CorruptError(f"`{archive}` has more than {_MAX_MEMBERS:,} members", hint=_HINT)
        if member.isdir():
            continue
        root, *parts = PurePosixPath(member.name).parts or (".",)
        name = "/".join(parts)
        plain = member.isreg() and not member.issparse() and root not in ("/", ".", "..")
        if not plain or not is_bundle_file(name):
            raise CorruptError(
                f"`{archive}` holds `{member.name}`, which does not belong to a bundle", hint=_HINT
            )
        if name in names:
            raise CorruptError(f"`{archive}` holds `{member.name}` twice", hint=_HINT)
        names.add(name)
        yield member, name, root
