"""An archive has the same bytes whenever it is packed, and gives nothing but a bundle."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.model_io.archive import pack, unpack_archive
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from tests.bundles import make_bundle
from tests.files import everything_in, flip_a_byte


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle").folder


def test_two_archives_have_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, "gf", tmp_path / "one.tar.gz")
    for file in bundle.iterdir():
        os.utime(file, (1, 1))
        file.chmod(0o700)
    pack(bundle, "gf", tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_an_archive_is_a_model(bundle: Path, tmp_path: Path) -> None:
    archive, store = tmp_path / "gf.tar.gz", Store(tmp_path / "cache")
    pack(bundle, "gf", archive)
    folder = model_folder(str(archive), store=store, reporter=SilentReporter())
    assert everything_in(folder) == everything_in(bundle)
    assert unpack_archive(archive, store) == folder


def test_an_archive_names_no_owner_and_no_time(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, "gf", tmp_path / "gf.tar.gz")
    with tarfile.open(tmp_path / "gf.tar.gz") as tar:
        for member in tar:
            known = (member.uid, member.gid, member.uname, member.gname, member.mtime)
            assert known == (0, 0, "", "", 0)


@pytest.mark.parametrize(
    "name", ["../README.md", "/README.md", "gf/../README.md", "gf/evil.py", "README.md"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(CorruptError, match="does not belong to a bundle"):
        unpack_archive(archive, Store(tmp_path / "cache"))
    assert not (tmp_path / "README.md").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("gf/README.md")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(CorruptError, match="does not belong to a bundle"):
        unpack_archive(archive, Store(tmp_path / "cache"))


def test_half_an_archive_is_none(bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "gf.tar.gz"
    pack(bundle, "gf", archive)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    store = Store(tmp_path / "cache")
    with pytest.raises(CorruptError):
        unpack_archive(archive, store)
    assert not any((store.root / "unpacked").iterdir())


def test_a_flipped_byte_in_an_archive_is_found(bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "gf.tar.gz"
    pack(bundle, "gf", archive)
    flip_a_byte(archive)
    with pytest.raises(CorruptError):
        unpack_archive(archive, Store(tmp_path / "cache"))
