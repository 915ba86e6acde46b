"""A file that a thread writes: the bytes, their checksum, and what the system refuses."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store import stream
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import check_seal, file_sha256
from genomeformer_cli.core.store.stream import HashedFile
from tests.files import fill_the_disk


@pytest.mark.parametrize("num_writes", [0, 1, 50])
def test_the_checksum_is_that_of_the_file(tmp_path: Path, num_writes: int) -> None:
    file = HashedFile(tmp_path / "f")
    content = b""
    for number in range(num_writes):
        ids = np.arange(number, 3 * number, dtype=np.uint16)
        content += ids.tobytes() + b"x"
        file.write(ids.data)
        file.write(b"x")
    assert file.finish() == hashlib.sha256(content).hexdigest() == file_sha256(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == content


def test_a_full_disk_raises_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)
    file = HashedFile(tmp_path / "f")
    file.write(b"x")
    with pytest.raises(OSError, match="No space left") as caught:
        file.finish()
    assert caught.value.errno == errno.ENOSPC


def test_a_disk_that_fills_up_stops_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    monkeypatch.setattr(stream, "_SYNC_BYTES", 10)
    file = HashedFile(tmp_path / "f")
    with pytest.raises(OSError, match="No space left"):
        deque(map(file.write, repeat(b"x" * 10, 100_000)))
    file.close()


def test_a_discarded_file_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    file = HashedFile(tmp_path / "f")
    file.write(b"x")
    file.close()
    file.close()
    assert synced == []


def test_a_checksum_taken_while_writing_is_verified_like_any_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    known: dict[str, str] = {}
    with store.create(Kind.CORPORA, "c", checksums=known) as folder:
        file = HashedFile(folder / "f")
        file.write(b"as it should be")
        known["f"] = file.finish()
        (folder / "g").write_bytes(b"read again")
    entry = store.entry(Kind.CORPORA, "c")
    assert check_seal(entry.path) == 2
    (entry.path / "f").write_bytes(b"as it shouldn't")
    with pytest.raises(CorruptError, match="does not match"):
        store.verify(entry)
