"""NumPy archives (`.npz`) that are written array by array."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.store.atomic import atomic_file

_TEXTS_AT_ONCE = 256


@contextmanager
def npz_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a compressed archive that replaces `path` if the block succeeds.

    Raises:
        StoreError: The write failed.
    """
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        yield archive


def write_array(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    """Append an array; the bytes do not depend on the time."""
    with _member(archive, name) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def write_texts(archive: zipfile.ZipFile, name: str, texts: Sequence[str]) -> None:
    """Append an array of texts, some at a time: NumPy needs four bytes per character."""
    dtype = np.dtype(f"<U{max(map(len, texts), default=0) or 1}")
    header = {"descr": dtype.str, "fortran_order": False, "shape": (len(texts),)}
    with _member(archive, name) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            member.write(np.array(texts[first : first + _TEXTS_AT_ONCE], dtype=dtype).tobytes())


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = archive.compression
    return archive.open(entry, "w", force_zip64=True)
