"""Arrays are written row by row, and resumed."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from genomeformer_cli.core.embedding.vector_writer import (
    HEADER,
    VectorWriter,
    npy_header,
    release_pages,
    write_all,
)
from genomeformer_cli.core.errors import StoreError
from tests.files import fill_the_disk, names_in

Vectors = npt.NDArray[np.float32]


def vectors(*shape: int) -> Vectors:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


OPENED: list[VectorWriter] = []


@pytest.fixture(autouse=True)
def _close_all() -> Iterator[None]:
    yield
    for rows in OPENED:
        rows.close(remove=True)
    OPENED.clear()


def row_file(folder: Path, *, width: int = 4, resume: bool = False, job: str = "j") -> VectorWriter:
    rows = VectorWriter(folder, width=width, dtype=np.dtype("float32"), job=job, resume=resume)
    OPENED.append(rows)
    return rows


class Reluctant(io.RawIOBase):
    """An unbuffered stream that takes a few bytes at a time, as a full pipe does."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        part = bytes(content[:128])
        self.taken += part
        return len(part)


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1, 1), (10**9, 1024), ()])
def test_the_header_is_the_one_that_numpy_writes(shape: tuple[int, ...]) -> None:
    header = npy_header(shape, np.dtype("float16"))
    assert len(header) == HEADER
    stream = io.BytesIO(header)
    assert np.lib.format.read_magic(stream) == (1, 0)
    found = np.lib.format.read_array_header_1_0(stream)
    assert found == (shape, False, np.dtype("float16"))


def test_the_bytes_are_those_that_numpy_saves(tmp_path: Path) -> None:
    array = vectors(5, 4)
    rows = row_file(tmp_path / "p")
    rows.add_records(["a", "b"], [1, 1])[:] = array[:2]
    rows.add_records(["c"], [3])[:] = array[2:]
    assert (np.asarray(rows.finish()) == array).all()
    assert list(rows.records()) == [("a", 1), ("b", 1), ("c", 3)]
    stream, theirs = io.BytesIO(), io.BytesIO()
    rows.copy_to(stream)
    np.save(theirs, array)
    assert stream.getvalue() == theirs.getvalue()
    rows.rename_to(tmp_path / "a.npy")
    rows.close(remove=True)
    assert (tmp_path / "a.npy").read_bytes() == theirs.getvalue()
    assert names_in(tmp_path) == ["a.npy"]


def test_no_rows_are_an_array_too(tmp_path: Path) -> None:
    rows = row_file(tmp_path / "p")
    rows.add_records([], [])
    rows.add_records(["a"], [0])
    assert rows.finish().shape == (0, 4)
    rows.rename_to(tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").shape == (0, 4)


def test_an_interrupted_job_resumes_from_what_was_kept(tmp_path: Path) -> None:
    array = vectors(6, 4)
    first = row_file(tmp_path / "p")
    first.add_records(["a", "b"], [2, 1])[:] = array[:3]
    first.commit()
    first.add_records(["lost"], [2])[:] = 7
    first.close(remove=False)
    again = row_file(tmp_path / "p", resume=True)
    assert (again.num_records, again.num_rows) == (2, 3)
    again.add_records(["c"], [3])[:] = array[3:]
    assert (np.asarray(again.finish()) == array).all()
    assert list(again.records()) == [("a", 2), ("b", 1), ("c", 3)]
    again.close(remove=True)


@pytest.mark.parametrize("changed", [{"job": "other"}, {"resume": False}])
def test_rows_of_another_job_are_dropped(changed: dict[str, Any], tmp_path: Path) -> None:
    first = row_file(tmp_path / "p")
    first.add_records(["a"], [1])[:] = 1
    first.commit()
    first.close(remove=False)
    again = row_file(tmp_path / "p", **{"resume": True, **changed})
    assert again.num_rows == 0
    assert list(again.records()) == []


def test_a_real_pipe_takes_more_than_its_buffer() -> None:
    content = vectors(2000, 64).tobytes()
    read_end, write_end = os.pipe()
    received = bytearray()

    def drain() -> None:
        with os.fdopen(read_end, "rb") as file:
            received.extend(file.read())

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(write_end, "wb") as file:
        write_all(file, content)
    reader.join()
    assert bytes(received) == content


def test_an_unbuffered_stream_that_takes_a_part_at_a_time_gets_all() -> None:
    stream = Reluctant()
    write_all(stream, vectors(100, 8).tobytes())  # type: ignore[arg-type]
    assert bytes(stream.taken) == vectors(100, 8).tobytes()


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = row_file(tmp_path / "p")
    fill_the_disk(monkeypatch)
    rows.add_records(["a"], [1])
    with pytest.raises(StoreError, match="No space left on device"):
        rows.commit()


def test_a_disk_that_cannot_hold_the_rows_is_found_out_before_they_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = row_file(tmp_path / "p")

    def refuse(*_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(StoreError, match="No space left on device"):
        rows.add_records(["a"], [1])


def test_room_is_taken_where_the_system_cannot_set_it_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    array = vectors(70_000, 4)
    rows = row_file(tmp_path / "p")
    rows.add_records(["a"], [69_999])[:] = array[:-1]
    rows.commit()
    rows.add_records(["b"], [1])[:] = array[-1:]
    assert (np.asarray(rows.finish()) == array).all()


def test_rows_that_are_released_stay_in_their_file(tmp_path: Path) -> None:
    array = vectors(3_000, 4)
    rows = row_file(tmp_path / "p")
    room = rows.add_records(["a"], [3_000])
    for first in range(0, 3_000, 1_000):
        room[first : first + 1_000] = array[first : first + 1_000]
        release_pages(room)
    assert (np.asarray(rows.finish()) == array).all()
    release_pages(np.empty((2, 2)))


def test_an_array_is_not_written_over_a_folder(tmp_path: Path) -> None:
    rows = row_file(tmp_path / "p")
    with pytest.raises(StoreError, match="not an ordinary file"):
        rows.rename_to(tmp_path)
