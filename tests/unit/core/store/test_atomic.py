"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import IO

import pytest

from genomeformer_cli.core.errors import StoreError
from genomeformer_cli.core.store.atomic import (
    atomic_file,
    atomic_folder,
    clear_leftovers,
    explain_write_failure,
    write_json,
    write_text,
)
from tests.files import fill_the_disk, names_in


class InterruptedWorkError(Exception):
    """Something of the caller's own."""


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)


def write_then_fail(file: IO[bytes]) -> None:
    file.write(b"new")
    raise InterruptedWorkError


def fill_then_fail(folder: Path) -> None:
    (folder / "new").write_bytes(b"")
    raise InterruptedWorkError


def test_a_file_is_there_after_the_block_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with atomic_file(path) as file:
        file.write(b"bytes")
        assert not path.exists()
    assert path.read_bytes() == b"bytes"
    assert names_in(path.parent) == ["a.bin"]


def test_a_failing_block_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(InterruptedWorkError), atomic_file(path) as file:
        write_then_fail(file)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.bin"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No space left on device") as caught:
        write_text(tmp_path / "a.txt", "text")
    assert str(tmp_path / "a.txt") in caught.value.message
    assert caught.value.hint
    assert names_in(tmp_path) == []


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="No space left on device"),
        atomic_folder(tmp_path / "f") as folder,
    ):
        (folder / "a").write_bytes(b"a")
    assert names_in(tmp_path) == []


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "text")
        with atomic_folder(tmp_path / "f"):
            pass
    finally:
        assert os.umask(before) == 0o027
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o750


def test_a_folder_or_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "folder").mkdir()
    for path in (pipe, tmp_path / "folder"):
        with pytest.raises(StoreError, match="not an ordinary file"):
            write_text(path, "text")
    assert pipe.is_fifo()
    assert names_in(tmp_path) == ["folder", "pipe"]


def test_a_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="could not write"):
        write_text(tmp_path / "file" / "a.txt", "text")
    with pytest.raises(StoreError, match="could not write"), atomic_folder(tmp_path / "file" / "f"):
        pass


def test_json_keeps_order_and_letters(tmp_path: Path) -> None:
    value = {"z": 1, "a": ["é", None]}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["z", "a"]
    assert json.loads(text) == value
    assert "é" in text


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "f") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_bytes(b"a")
        assert not (tmp_path / "f").exists()
    assert (tmp_path / "f" / "deep" / "a").read_bytes() == b"a"
    assert names_in(tmp_path) == ["f"]


def test_a_failing_block_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_bytes(b"")
    with (
        pytest.raises(InterruptedWorkError),
        atomic_folder(tmp_path / "f", replace=True) as folder,
    ):
        fill_then_fail(folder)
    assert names_in(tmp_path / "f") == ["old"]
    assert names_in(tmp_path) == ["f"]


def test_a_folder_replaces_another_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_bytes(b"")
    with pytest.raises(StoreError), atomic_folder(tmp_path / "f") as folder:
        (folder / "new").write_bytes(b"")
    assert names_in(tmp_path / "f") == ["old"]
    with atomic_folder(tmp_path / "f", replace=True) as folder:
        (folder / "new").write_bytes(b"")
    assert names_in(tmp_path / "f") == ["new"]
    assert names_in(tmp_path) == ["f"]


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "writable"),
        (errno.EROFS, "writable"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENAMETOOLONG, "another name"),
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
    ],
)
def test_the_hint_fits_the_error_of_the_system(number: int, hint: str) -> None:
    failure = explain_write_failure(Path("x.npy"), OSError(number, os.strerror(number)))
    assert failure.message == f"could not write `x.npy`: {os.strerror(number)}"
    assert hint in str(failure.hint)


def test_copying_to_a_full_disk_is_a_readable_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "there")

    (tmp_path / "from").mkdir()
    for name in "ab":
        (tmp_path / "from" / name).write_bytes(b"x")
    with pytest.raises(StoreError) as caught, atomic_folder(tmp_path / "to") as folder:
        shutil.copytree(tmp_path / "from", folder, dirs_exist_ok=True, copy_function=full)
    assert caught.value.message == f"could not write `{tmp_path / 'to'}`: No space left on device"
    assert names_in(tmp_path) == ["from"]


def test_leftovers_of_a_longer_name_are_left_alone(tmp_path: Path) -> None:
    for name in (".a.12345678.tmp", ".a.b.12345678.tmp", ".a.partial", ".a.b.12345678.old"):
        (tmp_path / name).mkdir()
    clear_leftovers(tmp_path, "a")
    assert names_in(tmp_path) == [".a.b.12345678.old", ".a.b.12345678.tmp", ".a.partial"]
    clear_leftovers(tmp_path)
    assert names_in(tmp_path) == [".a.partial"]


def test_temporary_files_of_killed_writers_are_removed_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    (tmp_path / ".a.bin.12345678.tmp").write_bytes(b"of a killed writer")
    (tmp_path / ".a.bin.json.12345678.tmp").write_bytes(b"of another output")
    with atomic_file(path) as first:
        first.write(b"first")
        assert not (tmp_path / ".a.bin.12345678.tmp").exists()
        with atomic_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names_in(tmp_path) == [".a.bin.json.12345678.tmp", "a.bin"]
