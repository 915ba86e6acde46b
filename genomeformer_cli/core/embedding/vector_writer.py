"""Resumable writer of rows, in a folder beside the output.

`.NAME.partial/` holds `rows.npy` (its header is filled in at the end), `records.tsv` (id and number
of rows of every record) and `state.json` (progress, the job, and the checksums of both files). The
folder becomes the output, complete, or is kept for `--resume`; a folder with missing or
inconsistent content is not resumed.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from genomeformer_cli.core.documents import convert, read_json, unknown_keys
from genomeformer_cli.core.store.atomic import (
    explain_write_failure,
    move_into_place,
    write_json,
)

HEADER = 128
# Bytes that are written at once where a system cannot set room aside.
_ZEROS = 1 << 20
_CHUNK = 1 << 22
ROWS, RECORDS, STATE = "rows.npy", "records.tsv", "state.json"
Floats = npt.NDArray[np.floating[Any]]


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a `.npy` file, version 1.0."""
    from io import BytesIO

    stream = BytesIO()
    header_fields = {
        "descr": npy_format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    npy_format.write_array_header_1_0(stream, header_fields)
    header = stream.getvalue()
    assert len(header) == HEADER, "numpy leaves room for any number of rows"
    return header


@dataclass(frozen=True, kw_only=True)
class _PartialState:
    """Contents of `state.json`: sizes and checksums of the finished records."""

    job: str
    records: int
    rows: int
    bytes: int
    rows_sha256: str
    records_sha256: str


class _NotResumableError(Exception):
    """The partial folder cannot be resumed."""


class VectorWriter:
    """Writer of rows to disk.

    Args:
        folder: Private folder; created if missing.
        width: Columns.
        dtype: Data type of the rows.
        job: Identity of the job; rows of another job are discarded.
        resume: Continue the same job.

    Attributes:
        num_records: Finished records.
        num_rows: Written rows.
        sizes: Rows of every record.
        discard_reason: Reason why an earlier attempt was not resumed; empty if it was, or there was
            none.
    """

    def __init__(
        self, folder: Path, *, width: int, dtype: np.dtype[Any], job: str, resume: bool = False
    ) -> None:
        self.folder = folder
        self.width = width
        self.dtype = dtype
        self.num_records = self.num_rows = 0
        self.sizes = array("q")
        self.discard_reason = ""
        self._job = job
        self._digest, self._records_digest = hashlib.sha256(), hashlib.sha256()
        self._hashed = HEADER
        try:
            self._open(resume=resume)
        except OSError as failure:
            if not self.num_records:
                # One by one: `rmtree` needs free descriptors, and there may be none.
                with suppress(OSError):
                    for name in (ROWS, RECORDS):
                        (folder / name).unlink(missing_ok=True)
                    folder.rmdir()
            raise explain_write_failure(folder, failure) from failure

    @property
    def path(self) -> Path:
        """Path of the array."""
        return self.folder / ROWS

    def _open(self, *, resume: bool) -> None:
        state = None
        if resume and os.path.lexists(self.folder):
            try:
                state = self._read_state()
            except (OSError, _NotResumableError) as failure:
                self.discard_reason = str(failure)
            except (ValueError, TypeError, OverflowError, RecursionError):
                self.discard_reason = f"`{STATE}` is damaged"
        if state is None:
            _remove(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows = self.path.open("r+b" if state else "w+b")
        self._ids = (self.folder / RECORDS).open("r+b" if state else "w+b")
        if state is None:
            self._rows.write(bytes(HEADER))
            self._rows.flush()
            return
        self._ids.truncate(state.bytes)
        self._ids.seek(0, os.SEEK_END)
        self._rows.truncate(self._end)

    def _read_state(self) -> _PartialState:
        """Read and check an earlier attempt; restore its counts, sizes and checksums.

        Raises:
            _NotResumableError, OSError, ValueError, TypeError: The attempt cannot be resumed.
        """
        fields = read_json(self.folder / STATE)
        if any(unknown_keys(_PartialState, fields)):
            raise _NotResumableError(f"`{STATE}` is of another version")
        state: _PartialState = convert(fields, _PartialState, source=STATE)
        if state.job != self._job:
            raise _NotResumableError(
                "it belongs to other sequences, another model or other options"
            )
        row_bytes = state.rows * self.width * self.dtype.itemsize
        digest = _digest_part(self.path, HEADER, row_bytes)
        records_digest = _digest_part(self.folder / RECORDS, 0, state.bytes)
        for name, computed, recorded in (
            (ROWS, digest, state.rows_sha256),
            (RECORDS, records_digest, state.records_sha256),
        ):
            if computed.hexdigest() != recorded:
                raise _NotResumableError(f"`{name}` does not match its recorded checksum")
        sizes = array("q", (size for _, size in _read_records(self.folder, state.bytes)))
        if (len(sizes), sum(sizes)) != (state.records, state.rows):
            raise _NotResumableError(f"`{STATE}` contradicts `{RECORDS}`")
        self.num_records, self.num_rows, self.sizes = state.records, state.rows, sizes
        self._digest, self._records_digest = digest, records_digest
        self._hashed = self._end
        return state

    @property
    def _end(self) -> int:
        return HEADER + self.num_rows * self.width * self.dtype.itemsize

    def add_records(self, ids: Sequence[str], sizes: Sequence[int]) -> Floats:
        """Return the rows of new records, allocated on disk; call `commit` when they are filled in.

        Args:
            ids: Record ids.
            sizes: Rows of each record.

        Raises:
            StoreError: The system refused the write.
        """
        number, start = sum(sizes), self._end
        try:
            lines = "".join(
                f"{identifier}\t{size}\n" for identifier, size in zip(ids, sizes, strict=True)
            )
            self._ids.write(lines.encode("utf-8"))
            self._records_digest.update(lines.encode("utf-8"))
            num_bytes = number * self.width * self.dtype.itemsize
            if not num_bytes:
                rows: Floats = np.empty((number, self.width), self.dtype)
            else:
                # A full disk raises here; a write to mapped memory would end the process (SIGBUS).
                _allocate(self._rows, start, num_bytes)
                rows = np.memmap(
                    self._rows, self.dtype, "r+", offset=start, shape=(number, self.width)
                )
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure
        self.sizes.extend(sizes)
        self.num_records += len(sizes)
        self.num_rows += number
        return rows

    def commit(self) -> None:
        """Flush the rows to disk and record the progress."""
        try:
            for file in (self._rows, self._ids):
                file.flush()
                os.fsync(file.fileno())
            self._hash_rows()
            state = _PartialState(
                job=self._job,
                records=self.num_records,
                rows=self.num_rows,
                bytes=self._ids.tell(),
                rows_sha256=self._digest.hexdigest(),
                records_sha256=self._records_digest.hexdigest(),
            )
            write_json(self.folder / STATE, asdict(state))
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure

    def _hash_rows(self) -> None:
        """Add the rows filled in since the last call to the checksum."""
        with self.path.open("rb") as file:
            file.seek(self._hashed)
            while self._hashed < self._end:
                chunk = file.read(min(_CHUNK, self._end - self._hashed))
                if not chunk:
                    raise OSError(errno.EIO, "it was truncated by another program")
                self._digest.update(chunk)
                self._hashed += len(chunk)

    def records(self) -> Iterator[tuple[str, int]]:
        """Yield the id and the number of rows of every record so far."""
        self._ids.flush()
        yield from _read_records(self.folder, self._ids.tell())

    def finish(self) -> Floats:
        """Write the header, which completes the array, and return the array memory-mapped."""
        try:
            self._rows.seek(0)
            self._rows.write(npy_header((self.num_rows, self.width), self.dtype))
            self._rows.flush()
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure
        if not self.num_rows * self.width:
            return np.empty((self.num_rows, self.width), self.dtype)
        return np.memmap(
            self.path, self.dtype, "r", offset=HEADER, shape=(self.num_rows, self.width)
        )

    def rename_to(self, output: Path) -> None:
        """Rename the array to `output`, atomically.

        Raises:
            StoreError: The system refused it, or `output` is a folder or a device.
        """
        move_into_place(self.path, output)

    def copy_to(self, stream: IO[bytes]) -> None:
        """Write the array to a stream, such as a pipe."""
        self._rows.flush()
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                write_all(stream, chunk)
        stream.flush()

    def close(self, *, remove: bool) -> None:
        """Close the files; remove the folder or keep it for `--resume`."""
        self._rows.close()
        self._ids.close()
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)


def release_pages(rows: Floats) -> None:
    """Release the memory of mapped rows; their file keeps the content."""
    mapped = getattr(rows, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _allocate(file: IO[bytes], start: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), start, num_bytes)
        return
    file.seek(start)
    for first in range(0, num_bytes, _ZEROS):
        file.write(bytes(min(_ZEROS, num_bytes - first)))
    file.flush()


def write_all(stream: IO[bytes], content: bytes) -> None:
    """Write all content; an unbuffered stream may accept only a part at a time."""
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[stream.write(remaining) :]


def _read_records(folder: Path, num_bytes: int) -> Iterator[tuple[str, int]]:
    with (folder / RECORDS).open("rb") as file:
        for line in file:
            num_bytes -= len(line)
            if num_bytes < 0:
                return
            name, _, size = line.decode("utf-8").rstrip("\n").rpartition("\t")
            yield name, int(size)


def _digest_part(path: Path, start: int, num_bytes: int) -> hashlib._Hash:
    """Return the running SHA-256 of part of a file, to be continued.

    Raises:
        _OddError: The file is shorter.
    """
    digest, remaining = hashlib.sha256(), num_bytes
    with path.open("rb") as file:
        file.seek(start)
        while remaining > 0 and (chunk := file.read(min(_CHUNK, remaining))):
            digest.update(chunk)
            remaining -= len(chunk)
    if remaining:
        raise _NotResumableError(f"`{path.name}` is incomplete")
    return digest


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
