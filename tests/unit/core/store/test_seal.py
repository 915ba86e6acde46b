"""Checksums of folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store.seal import (
    SEAL,
    check_seal,
    check_seal_once,
    file_sha256,
    read_seal,
    seal,
)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "sealed"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.txt").write_bytes(b"one")
    (folder / "deep" / "c.bin").write_bytes(bytes(range(256)))
    seal(folder)
    return folder


def test_a_sealed_folder_is_whole(sealed: Path) -> None:
    assert check_seal(sealed) == 2
    assert set(read_seal(sealed)) == {"a b.txt", "deep/c.bin"}


def test_checksums_are_known_ones(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "abc") == known


def test_sealing_again_changes_nothing(sealed: Path) -> None:
    before = (sealed / SEAL).read_bytes()
    seal(sealed)
    assert (sealed / SEAL).read_bytes() == before


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_coreutils_read_the_seal(sealed: Path) -> None:
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", SEAL], cwd=sealed, check=True)


@pytest.mark.parametrize("position", [0, 100, 255])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_flipped_bit_is_found(sealed: Path, position: int, bit: int) -> None:
    content = bytearray((sealed / "deep" / "c.bin").read_bytes())
    content[position] ^= 1 << bit
    (sealed / "deep" / "c.bin").write_bytes(content)
    with pytest.raises(CorruptError, match=r"c\.bin` does not match"):
        check_seal(sealed)


def test_a_missing_file_is_found(sealed: Path) -> None:
    (sealed / "a b.txt").unlink()
    with pytest.raises(CorruptError, match="is missing"):
        check_seal(sealed)


def test_an_unlisted_file_is_an_error(sealed: Path) -> None:
    (sealed / "deep" / "extra").write_bytes(b"")
    with pytest.raises(CorruptError, match=r"extra` is not listed"):
        check_seal(sealed)


def test_a_missing_seal_is_an_error(sealed: Path) -> None:
    (sealed / SEAL).unlink()
    with pytest.raises(CorruptError, match="has no"):
        check_seal(sealed)


@pytest.mark.parametrize("damage", [b"nonsense\n", b"\xff\xfe\n"])
def test_an_unreadable_seal_is_an_error(sealed: Path, damage: bytes) -> None:
    (sealed / SEAL).write_bytes(damage)
    with pytest.raises(CorruptError, match="is damaged"):
        check_seal(sealed)


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose checksums were computed."""
    found: list[str] = []

    def count(path: Path) -> str:
        found.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr("genomeformer_cli.core.store.seal.file_sha256", count)
    return found


def age(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock go on, so that the files of a folder were written some time ago."""
    later = time.time_ns() + 10**10
    monkeypatch.setattr("genomeformer_cli.core.store.seal.time.time_ns", lambda: later)


def test_files_that_have_not_changed_are_read_once(
    sealed: Path, tmp_path: Path, read_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "verified" / "m.json"
    assert check_seal_once(sealed, memory) == 2
    assert check_seal_once(sealed, memory) == 2
    assert len(read_files) == 4  # just written: another write could leave the same times
    age(sealed, monkeypatch)
    check_seal_once(sealed, memory)
    read_files.clear()
    assert check_seal_once(sealed, memory) == 2
    assert read_files == []
    found = (sealed / "a b.txt").stat()
    (sealed / "a b.txt").write_bytes(b"two")
    os.utime(sealed / "a b.txt", ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(CorruptError, match=r"a b\.txt"):
        check_seal_once(sealed, memory)
    assert read_files == ["a b.txt"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"5", b"{", b'{"a b.txt": 5}', b'{"a b.txt": []}', b"[" * 100_000]
)
def test_an_invalid_record_of_verified_files_is_ignored(
    content: bytes, sealed: Path, tmp_path: Path
) -> None:
    memory = tmp_path / "m.json"
    memory.write_bytes(content)
    (sealed / "a b.txt").write_bytes(b"two")
    with pytest.raises(CorruptError, match=r"a b\.txt"):
        check_seal_once(sealed, memory)


def test_an_unwritable_record_of_verified_files_is_ignored(sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert check_seal_once(sealed, tmp_path / "file" / "m.json") == 2


@pytest.mark.parametrize("name", ["a b.txt", "deep/c.bin"])
def test_a_missing_file_is_seen_though_it_was_known(
    name: str, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(sealed, monkeypatch)
    check_seal_once(sealed, tmp_path / "m.json")
    (sealed / name).unlink()
    with pytest.raises(CorruptError, match="is missing"):
        check_seal_once(sealed, tmp_path / "m.json")
