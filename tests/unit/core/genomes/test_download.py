"""One file against each fault: what arrives, what is asked for, what is left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import (
    CorruptError,
    FormatError,
    NetworkError,
    RefusedError,
    UsageError,
)
from genomeformer_cli.core.formats.fasta import inspect_file
from genomeformer_cli.core.genomes.download import (
    DownloadedFile,
    DownloadItem,
    download,
    download_verified,
    part_path,
)
from genomeformer_cli.core.genomes.rate_limit import CancelledError
from genomeformer_cli.core.genomes.transport import HttpTransport, TransportSettings
from tests.mini_ncbi.faults import FILE_FAULTS, MD5_FAULTS, Fault
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import World, make_world

QUICK = TransportSettings(
    rate=5000.0,
    retries=6,
    connect_timeout=2.0,
    read_timeout=0.3,
    speed_window=0.3,
    backoff_base=0.002,
)
NAME = "GCF_000005845.2"


@cache
def large_world() -> World:
    world = make_world(smallest=300_000, largest=300_001, only=(NAME,))
    for assembly in world.assemblies:
        assembly.annotated = False
    return world


@pytest.fixture
def ncbi() -> Iterator[MiniNcbi]:
    with MiniNcbi(world=large_world(), stall=1.0) as server:
        yield server


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with HttpTransport(QUICK) as http:
        yield http


class Meter:
    def __init__(self) -> None:
        self.have = 0
        self.total: int | None = None

    def begin(self, total: int | None, have: int) -> None:
        self.total, self.have = total, have

    def advance(self, num_bytes: int) -> None:
        self.have += num_bytes


def path_of(ncbi: MiniNcbi) -> str:
    assembly = ncbi.world.assembly(NAME)
    assert assembly is not None
    return assembly.fasta_path


def wanted(ncbi: MiniNcbi, part: Path, *, md5: bool = True) -> DownloadItem:
    path = path_of(ncbi)
    digest = hashlib.md5(ncbi.files[path], usedforsecurity=False).hexdigest() if md5 else None

    def check(got: Path) -> None:
        inspect_file(got)

    return DownloadItem(
        url=ncbi.url + path,
        path=part,
        read_md5=lambda: digest,
        reread_md5=lambda: digest,
        check=check,
    )


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_each_fault_passes_and_the_file_is_right(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path, fault: Fault
) -> None:
    ncbi.scripts.add(".fna.gz", [fault])
    meter = Meter()
    got = download_verified(transport, wanted(ncbi, part_path(tmp_path, "x.gz")), meter=meter)
    content = ncbi.files[path_of(ncbi)]
    assert got.path.read_bytes() == content
    assert got.attested
    assert meter.have == len(content)
    assert meter.total in (len(content), None)
    got.drop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_each_fault_passes_in_the_middle_of_a_resumed_file(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path, fault: Fault
) -> None:
    ncbi.scripts.add(".fna.gz", [Fault.FIN, fault, fault])
    got = download_verified(transport, wanted(ncbi, part_path(tmp_path, "x.gz")))
    assert got.path.read_bytes() == ncbi.files[path_of(ncbi)]


def test_a_resumed_download_requests_only_the_missing_bytes(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path
) -> None:
    ncbi.scripts.add(".fna.gz", [Fault.FIN, Fault.FIN, Fault.FIN])
    got = download(transport, ncbi.url + path_of(ncbi), tmp_path / "x.part", meter=Meter())
    size = len(ncbi.files[path_of(ncbi)])
    assert got.num_bytes == size
    assert sum(asked.sent for asked in ncbi.log) == size
    offsets = [int(a.headers["range"][6:-1]) for a in ncbi.log[1:]]
    assert offsets == [sum(a.sent for a in ncbi.log[: i + 1]) for i in range(3)]
    assert all(asked.headers["if-range"] for asked in ncbi.log[1:])


def test_a_second_process_resumes_the_download(ncbi: MiniNcbi, tmp_path: Path) -> None:
    ncbi.scripts.add(".fna.gz", [Fault.FIN, *[Fault.ERROR_503] * 20])
    part = tmp_path / "x.part"
    with HttpTransport(QUICK) as http, pytest.raises(NetworkError) as caught:
        download_verified(http, wanted(ncbi, part))
    assert caught.value.exit_code == 75
    kept = part.stat().st_size
    assert kept == len(ncbi.files[path_of(ncbi)]) * 2 // 5
    ncbi.scripts.clear()
    ncbi.log.clear()
    with HttpTransport(QUICK) as http:
        got = download_verified(http, wanted(ncbi, part))
        assert got.path.read_bytes() == ncbi.files[path_of(ncbi)]
        assert [asked.headers["range"] for asked in ncbi.log] == [f"bytes={kept}-"]
        ncbi.log.clear()
        assert download_verified(http, wanted(ncbi, part)).md5 == got.md5
    assert ncbi.log == [], "a part that is whole is verified without asking"


def test_progress_resets_the_count(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path
) -> None:
    ncbi.scripts.add(".fna.gz", [Fault.FIN] * (QUICK.retries + 2))
    got = download(transport, ncbi.url + path_of(ncbi), tmp_path / "x.part", meter=Meter())
    assert got.path.read_bytes() == ncbi.files[path_of(ncbi)]
    assert len(ncbi.log) > QUICK.retries + 1


def test_a_damaged_part_or_sidecar_is_replaced(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path
) -> None:
    part = tmp_path / "x.part"
    content = ncbi.files[path_of(ncbi)]
    sidecar = tmp_path / "x.part.json"
    for damage in ("no sidecar", "garbage", "flipped", "too long", "other url"):
        ncbi.scripts.add(".fna.gz", [Fault.FIN, *[Fault.ERROR_500] * 7])
        with pytest.raises(NetworkError):
            download(transport, ncbi.url + path_of(ncbi), part, meter=Meter())
        if damage == "no sidecar":
            sidecar.unlink()
        elif damage == "garbage":
            sidecar.write_text("{", encoding="utf-8")
        elif damage == "flipped":
            part.write_bytes(b"\0" + part.read_bytes()[1:])
        elif damage == "too long":
            part.write_bytes(content + b"more")
        else:
            sidecar.write_text('{"url": "http://other/x.gz", "total": 9}', encoding="utf-8")
        assert download_verified(transport, wanted(ncbi, part)).path.read_bytes() == content
        part.unlink()
        sidecar.unlink()


def test_a_file_that_never_is_right_is_never_kept(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path
) -> None:
    ncbi.scripts.add(".fna.gz", [Fault.FLIPPED] * 9)
    with pytest.raises(CorruptError, match="was damaged in 3 downloads"):
        download_verified(transport, wanted(ncbi, tmp_path / "x.part"))
    assert list(tmp_path.iterdir()) == []


def test_without_md5_the_inner_checksum_vouches(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path
) -> None:
    ncbi.scripts.add(".fna.gz", [Fault.FLIPPED])
    got = download_verified(transport, wanted(ncbi, tmp_path / "x.part", md5=False))
    assert got.path.read_bytes() == ncbi.files[path_of(ncbi)]
    assert not got.attested


def test_a_damaged_file_with_the_published_checksum_is_refused(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path
) -> None:
    path = path_of(ncbi)
    ncbi.files[path] = ncbi.files[path][:-9]
    with pytest.raises(FormatError, match="truncated"):
        download_verified(transport, wanted(ncbi, tmp_path / "x.part"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fault", "status"), [(Fault.NO_FILE, 404), (Fault.FORBIDDEN, 403)])
def test_a_refusal_is_final(
    ncbi: MiniNcbi, transport: HttpTransport, tmp_path: Path, fault: Fault, status: int
) -> None:
    ncbi.scripts.add(".fna.gz", [fault])
    with pytest.raises(RefusedError) as caught:
        download(transport, ncbi.url + path_of(ncbi), tmp_path / "x.part", meter=Meter())
    assert caught.value.status == status
    assert len(ncbi.log) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_host_is_a_network_error(transport: HttpTransport, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="after 4 tries"):
        download(transport, "http://127.0.0.1:9/x.gz", tmp_path / "x.part", meter=Meter())
    for wrong in ("gopher://127.0.0.1/x", "http://[::1", "//"):
        with pytest.raises(UsageError, match="not a valid URL"):
            transport.get(wrong, bytes)


def test_halting_keeps_the_part(ncbi: MiniNcbi, tmp_path: Path) -> None:
    class Stop(Meter):
        def advance(self, num_bytes: int) -> None:
            http.cancel.set()

    with HttpTransport(QUICK) as http, pytest.raises(CancelledError):
        download(http, ncbi.url + path_of(ncbi), tmp_path / "x.part", meter=Stop())
    assert 0 < (tmp_path / "x.part").stat().st_size < len(ncbi.files[path_of(ncbi)])


@pytest.mark.parametrize("fault", MD5_FAULTS)
def test_small_responses_are_requested_again(
    ncbi: MiniNcbi, transport: HttpTransport, fault: Fault
) -> None:
    path = path_of(ncbi).rsplit("/", 1)[0] + "/md5checksums.txt"
    ncbi.scripts.add("md5checksums.txt", [fault] if fault is not Fault.BAD_MD5 else [])

    def parse(content: bytes) -> bytes:
        if b"html" in content:
            raise ValueError("a page")
        return content

    assert transport.get(ncbi.url + path, parse) == ncbi.files[path]


def test_a_downloaded_file_has_its_checksum_and_size(tmp_path: Path) -> None:
    got = DownloadedFile(path=tmp_path / "x.part", md5="", num_bytes=0, last_modified=None)
    got.drop()
    assert not got.attested
