"""Rows written as they are made, in a folder beside the output, so that a broken-off job can go on.

`.NAME.partial/` holds `rows.npy` (its header is filled in at the end, so it is an array only then),
`records.tsv` (id and number of rows of every record) and `state.json` (how far it is, and of which
job). The folder becomes the output, whole, or stays for `--resume`.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from genomeformer_cli.core.errors import StoreError
from genomeformer_cli.core.store.atomic import explain_write_failure, write_json

HEADER = 128
# Bytes that are written at once where a system cannot set room aside.
_ZEROS = 1 << 20
ROWS, RECORDS, STATE = "rows.npy", "records.tsv", "state.json"
Floats = npt.NDArray[np.floating[Any]]


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What stands before the numbers of a `.npy` file, version 1.0."""
    from io import BytesIO

    stream = BytesIO()
    described = {
        "descr": npy_format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    npy_format.write_array_header_1_0(stream, described)
    header = stream.getvalue()
    assert len(header) == HEADER, "numpy leaves room for any number of rows"
    return header


class RowFile:
    """Rows on their way to the disk.

    Args:
        folder: Made if need be; its own alone.
        width: Columns.
        dtype: Of the numbers.
        job: What identifies the job; rows of another job are dropped.
        resume: Whether to go on where the same job stopped.

    Attributes:
        num_records: Records that are done.
        num_rows: Rows that are written.
        sizes: Rows of every record.
    """

    def __init__(
        self, folder: Path, *, width: int, dtype: np.dtype[Any], job: str, resume: bool = False
    ) -> None:
        self.folder = folder
        self.width = width
        self.dtype = dtype
        self.num_records = self.num_rows = 0
        self.sizes = array("q")
        self._job = job
        try:
            self._open(resume=resume)
        except OSError as failure:
            raise explain_write_failure(folder, failure) from failure

    @property
    def path(self) -> Path:
        """The array."""
        return self.folder / ROWS

    def _open(self, *, resume: bool) -> None:
        state = self._state() if resume else None
        if state is None and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows = self.path.open("r+b" if state else "w+b")
        self._ids = (self.folder / RECORDS).open("r+b" if state else "w+b")
        if state is None:
            self._rows.write(bytes(HEADER))
            return
        self.num_records, self.num_rows = state["records"], state["rows"]
        self._ids.truncate(state["bytes"])
        self.sizes = array("q", (size for _, size in self.records()))
        self._ids.seek(0, os.SEEK_END)
        self._rows.truncate(self._end)

    def _state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return state if state.get("job") == self._job else None

    @property
    def _end(self) -> int:
        return HEADER + self.num_rows * self.width * self.dtype.itemsize

    def add_records(self, ids: Sequence[str], sizes: Sequence[int]) -> Floats:
        """Room for the rows of some records, on the disk; call `keep` when they are filled in.

        Args:
            ids: Of the records.
            sizes: Rows of each.

        Raises:
            StoreError: The system refused the write.
        """
        number, start = sum(sizes), self._end
        try:
            lines = (f"{one}\t{size}\n" for one, size in zip(ids, sizes, strict=True))
            self._ids.write("".join(lines).encode("utf-8"))
            num_bytes = number * self.width * self.dtype.itemsize
            if not num_bytes:
                rows: Floats = np.empty((number, self.width), self.dtype)
            else:
                # A full disk is said here; found out by writing to mapped memory, it would kill us.
                _take_room(self._rows, start, num_bytes)
                rows = np.memmap(
                    self._rows, self.dtype, "r+", offset=start, shape=(number, self.width)
                )
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure
        self.sizes.extend(sizes)
        self.num_records += len(sizes)
        self.num_rows += number
        return rows

    def keep(self) -> None:
        """Make sure that what was written so far outlives us."""
        try:
            for file in (self._rows, self._ids):
                file.flush()
                os.fsync(file.fileno())
            state = {
                "job": self._job,
                "records": self.num_records,
                "rows": self.num_rows,
                "bytes": self._ids.tell(),
            }
            write_json(self.folder / STATE, state)
        except OSError as failure:
            raise explain_write_failure(self.path, failure) from failure

    def records(self) -> Iterator[tuple[str, int]]:
        """Id and number of rows of every record so far."""
        self._ids.flush()
        with (self.folder / RECORDS).open("rb") as file:
            for line in file:
                name, _, size = line.decode("utf-8").rstrip("\n").rpartition("\t")
                yield name, int(size)

    def finish(self) -> Floats:
        """Write the header; the file is an array now. Returns it, mapped."""
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

    def become(self, output: Path) -> None:
        """Put the array in the place of `output`, in one step.

        Raises:
            StoreError: The system refused it, or `output` is a folder or a device.
        """
        check_place(output)
        try:
            os.fsync(self._rows.fileno())
            self.path.replace(output)
        except OSError as failure:
            raise explain_write_failure(output, failure) from failure

    def copy_to(self, stream: IO[bytes]) -> None:
        """Write the array to a stream, a pipe included."""
        self._rows.flush()
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                write_all(stream, chunk)
        stream.flush()

    def close(self, *, remove: bool) -> None:
        """Let go of the files; remove the folder or leave it for `--resume`."""
        self._rows.close()
        self._ids.close()
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)


def let_go(rows: Floats) -> None:
    """Give back the memory of mapped rows; what was written to them stays in their file."""
    mapped = getattr(rows, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _take_room(file: IO[bytes], start: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), start, num_bytes)
        return
    file.seek(start)
    for first in range(0, num_bytes, _ZEROS):
        file.write(bytes(min(_ZEROS, num_bytes - first)))
    file.flush()


def write_all(stream: IO[bytes], content: bytes) -> None:
    """Write all of it; an unbuffered stream may take only a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]


def check_place(output: Path) -> None:
    """Refuse a place that no file can take.

    Raises:
        StoreError: There is a folder or a device.
    """
    if output.exists() and not output.is_file():
        raise StoreError(f"`{output}` is no ordinary file", hint="choose another name")
