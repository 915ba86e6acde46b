from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from genomeformer_cli.core.embedding.writers import save_ids, save_npy, write_npy
from genomeformer_cli.core.errors import StoreError
from tests.files import fill_the_disk, names_in

Vectors = npt.NDArray[np.float32]


def vectors(*shape: int) -> Vectors:
    drawn = np.random.default_rng(0).standard_normal(shape)
    return drawn.astype(np.float32)


ARRAYS = [vectors(3, 4), vectors(0, 4), vectors(1, 1), vectors(6, 4)[::2], vectors(4, 6).T]


class Reluctant(io.RawIOBase):
    """An unbuffered stream that takes a few bytes at a time, as a full pipe does."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: object, /) -> int:
        assert isinstance(content, bytes | memoryview)
        part = bytes(content[: max(128, 1)])
        self.taken += part
        return len(part)


@pytest.mark.parametrize("array", ARRAYS)
def test_numpy_opens_what_was_written_to_a_stream(array: Vectors) -> None:
    stream = io.BytesIO()
    write_npy(array, stream)
    found = np.load(io.BytesIO(stream.getvalue()))
    assert found.dtype == np.float32
    assert found.shape == array.shape
    assert (found == array).all()


@pytest.mark.parametrize("array", ARRAYS)
def test_numpy_opens_what_was_written_to_a_file(array: Vectors, tmp_path: Path) -> None:
    save_npy(array, tmp_path / "new" / "a.npy")
    found = np.load(tmp_path / "new" / "a.npy", mmap_mode="r" if array.size else None)
    assert (found == array).all()
    assert names_in(tmp_path / "new") == ["a.npy"]


def test_the_bytes_are_those_that_numpy_saves() -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    write_npy(vectors(5, 7), ours)
    np.save(theirs, vectors(5, 7))
    assert ours.getvalue() == theirs.getvalue()


def test_a_real_pipe_takes_more_than_its_buffer() -> None:
    array = vectors(2000, 64)
    read_end, write_end = os.pipe()
    received = bytearray()

    def drain() -> None:
        with os.fdopen(read_end, "rb") as file:
            received.extend(file.read())

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(write_end, "wb") as file:
        write_npy(array, file)
    reader.join()
    assert (np.load(io.BytesIO(received)) == array).all()


def test_an_unbuffered_stream_that_takes_a_part_at_a_time_gets_all() -> None:
    stream = Reluctant()
    write_npy(vectors(100, 8), stream)  # type: ignore[arg-type]
    assert (np.load(io.BytesIO(stream.taken)) == vectors(100, 8)).all()


def test_a_full_disk_leaves_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(StoreError, match="No space left on device"):
        save_npy(vectors(3, 4), tmp_path / "a.npy")
    assert names_in(tmp_path) == []


def test_ids_are_lines_in_order(tmp_path: Path) -> None:
    save_ids(["b", "a", "b"], tmp_path / "ids.txt")
    assert (tmp_path / "ids.txt").read_text(encoding="utf-8") == "b\na\nb\n"
    save_ids([], tmp_path / "none.txt")
    assert (tmp_path / "none.txt").read_bytes() == b""
