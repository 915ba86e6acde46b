"""A bundle as one file, `NAME.tar.gz`: the same bytes whenever and wherever it is packed.

Names in order, no owner, no date, plain modes; and gzip without a name or a time. Unpacking takes
regular files that a bundle may hold, in one folder, and nothing else.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.release.layout import check_layout, files_of, is_of_a_bundle
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import check_seal, file_sha256

SUFFIX = ".tar.gz"
_MODE = 0o644
_LEVEL = 6
_HINT = "get the archive again from where it came"


def pack(folder: Path, name: str, archive: Path) -> None:
    """Write a bundle as an archive.

    Args:
        folder: The bundle.
        name: Of the folder inside the archive.
        archive: Where to.

    Raises:
        StoreError: The system refused the write.
    """
    with (
        atomic_file(archive) as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=_LEVEL) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for member in files_of(folder):
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size, info.mode = (folder / member).stat().st_size, _MODE
            with (folder / member).open("rb") as file:
                tar.addfile(info, file)


def unpacked(archive: Path, store: Store) -> Path:
    """The bundle of an archive, unpacked into the cache under the archive's checksum.

    Raises:
        CorruptError: It is no archive of a bundle, or a checksum does not hold.
        StoreError: The system refused a write.
    """
    digest = file_sha256(archive)
    with store.lock(Kind.UNPACKED, digest):
        if not store.has(Kind.UNPACKED, digest):
            with store.create(Kind.UNPACKED, digest) as folder:
                _unpack(archive, folder)
                check_seal(folder)
                check_layout(folder)
    return store.path(Kind.UNPACKED, digest)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            roots = set()
            for member, name, root in _members(archive, tar):
                roots.add(root)
                content = tar.extractfile(member)
                assert content is not None, "a regular file has content"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with content, (folder / name).open("wb") as file:
                    shutil.copyfileobj(content, file, io.DEFAULT_BUFFER_SIZE)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise CorruptError(f"`{archive}` is no whole archive: {failure}", hint=_HINT) from failure
    if len(roots) != 1:
        raise CorruptError(f"`{archive}` does not hold one bundle", hint=_HINT)


def _members(archive: Path, tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Every file of an archive, its name in the bundle, and the folder it is in."""
    for member in tar:
        if member.isdir():
            continue
        root, *parts = PurePosixPath(member.name).parts
        name = "/".join(parts)
        if not member.isreg() or root in ("/", "..") or not is_of_a_bundle(name):
            raise CorruptError(
                f"`{archive}` holds `{member.name}`, which is no file of a bundle", hint=_HINT
            )
        yield member, name, root
