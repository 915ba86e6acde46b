"""The text layer: packings, byte order marks, line ends, encodings."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import FormatError, MissingExtraError
from genomeformer_cli.core.formats import packing, text
from genomeformer_cli.core.formats.packing import PackedFile
from genomeformer_cli.core.formats.text import TextFile, local_copy, read_lines, require_text
from tests.strategies import repeatable


def zstd(content: bytes) -> bytes:
    packed: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(content)
    return packed


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "zstd": zstd,
}
PACKED = [name for name in PACKINGS if name != "plain"]


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "x"
    path.write_bytes(content)
    return path


def unpacked(path: Path) -> bytes:
    return b"".join(PackedFile(path).chunks())


def texts(path: Path) -> list[str]:
    return [line.text for line in read_lines(path)]


@pytest.mark.parametrize("name", PACKINGS)
def test_every_packing_is_unpacked_hashed_and_copied(name: str, tmp_path: Path) -> None:
    content = b"".join(b"line %d\n" % number for number in range(300_000))
    raw = PACKINGS[name](content)
    copy, copy_text = io.BytesIO(), io.BytesIO()
    file = TextFile(saved(tmp_path, raw), copy=copy, copy_text=copy_text)
    assert b"".join(file.chunks()) == content
    assert copy.getvalue() == raw
    assert copy_text.getvalue() == content
    assert file.packed.num_read == len(raw)
    assert file.packed.sha256 == hashlib.sha256(raw).hexdigest()
    assert (file.packed.packing.name if file.packed.packing else "plain") == name


@pytest.mark.parametrize("name", PACKED)
def test_members_and_padding(name: str, tmp_path: Path) -> None:
    pack = PACKINGS[name]
    joined = pack(b"a\nb") + pack(b"") + pack(b"c\n")
    assert unpacked(saved(tmp_path, joined)) == b"a\nbc\n"
    assert unpacked(saved(tmp_path, joined + b"\0" * 300_000)) == b"a\nbc\n"
    assert unpacked(saved(tmp_path, pack(b"a") + b"\0" * 512 + pack(b"b"))) == b"ab"


@pytest.mark.parametrize("name", PACKED)
def test_what_follows_the_end_is_named(name: str, tmp_path: Path) -> None:
    for tail in (b"\n", b"other data", b"\0\0x"):
        with pytest.raises(FormatError, match=f"other data after the end of its {name} data"):
            unpacked(saved(tmp_path, PACKINGS[name](b"a\n") + tail))


@pytest.mark.parametrize("name", PACKED)
def test_what_is_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    whole = PACKINGS[name](b"a line of text\n" * 1000)
    for size in (len(whole) - 1, len(whole) - 9, len(whole) // 2, 12):
        with pytest.raises(FormatError, match=f"damaged or truncated {name} file"):
            unpacked(saved(tmp_path, whole[:size]))


@pytest.mark.parametrize("name", PACKED)
def test_a_changed_byte_is_refused(name: str, tmp_path: Path) -> None:
    whole = bytearray(PACKINGS[name](os.urandom(5000)))
    whole[2500] ^= 0x55
    if name == "zstd":  # as the library packs it, without a checksum of the content
        whole = bytearray(PACKINGS[name](b"abc" * 5000)[:-1] + b"\xff")
    with pytest.raises(FormatError, match=f"damaged or truncated {name} file"):
        unpacked(saved(tmp_path, bytes(whole)))


@pytest.mark.parametrize("name", PACKED)
def test_a_compression_bomb_is_unpacked_in_small_chunks(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, PACKINGS[name](b"N" * (1 << 24)))
    sizes = [len(chunk) for chunk in PackedFile(path).chunks()]
    assert sum(sizes) == 1 << 24
    assert name == "zstd" or max(sizes) <= 2 * packing.TEXT_CHUNK


def test_the_thread_ends_with_the_reader(tmp_path: Path) -> None:
    path = saved(tmp_path, gzip.compress(os.urandom(8 << 20), 0))
    before = threading.active_count()
    chunks = PackedFile(path).chunks()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_gzip_without_isal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = packing.PACKINGS[0].engine("")
    assert type(engine()).__module__.startswith("isal")
    text = b"ACGTN\n" * 200_000
    packed = gzip.compress(text[:500]) + gzip.compress(text[500:])
    path, cut = saved(tmp_path, packed), tmp_path / "cut.gz"
    cut.write_bytes(packed[:-9])
    for library in ("isal", "zlib"):
        if library == "zlib":
            monkeypatch.setitem(__import__("sys").modules, "isal.isal_zlib", None)
        assert unpacked(path) == text
        with pytest.raises(FormatError, match="damaged or truncated gzip"):
            unpacked(cut)


def test_zstd_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = zstd(b"a\n")
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match="zstandard"):
        unpacked(saved(tmp_path, raw))


def test_a_skippable_frame_of_zstd_is_skipped(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    assert unpacked(saved(tmp_path, skipped + zstd(b"a\n"))) == b"a\n"


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    content = "a\x0bb\x0cc\u2028d\x85e\x1cf\r\ng \n\nh\t \ni".encode()
    assert texts(saved(tmp_path, content)) == [
        "a\x0bb\x0cc\u2028d\x85e\x1cf",
        "g",
        "",
        "h\t",
        "i",
    ]
    assert [line.number for line in read_lines(saved(tmp_path, content))] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("content", [b"a\rb\rc\r", b"a\nb\rc\n", b"a\n\r", b"a\r\r\nb\r\n", b"\r"])
def test_a_lone_carriage_return_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="lone carriage return"):
        texts(saved(tmp_path, content))


def test_byte_order_marks(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    assert texts(saved(tmp_path, mark + b"a\n" + mark + b"b\r\n" + mark)) == ["a", "b"]
    assert texts(saved(tmp_path, b"a" + mark + b"\n")) == ["a\ufeff"]
    assert texts(saved(tmp_path, mark)) == []
    for encoding in ("UTF-16", "UTF-32"):
        with pytest.raises(FormatError, match=f"{encoding} text") as caught:
            texts(saved(tmp_path, "a\tb\n".encode(encoding)))
        assert f"iconv -f {encoding}" in str(caught.value.hint)
    with pytest.raises(FormatError, match="or it is UTF-16"):
        texts(saved(tmp_path, "a\n".encode("utf-16-le")))


def test_a_byte_of_another_encoding_affects_only_its_own_cell(tmp_path: Path) -> None:
    (line,) = read_lines(saved(tmp_path, "café\tA\n".encode("latin-1")))
    name, allele = line.text.split("\t")
    assert require_text(allele, "`x`, line 1") == "A"
    with pytest.raises(FormatError, match=r"`x`, line 1: .* is not UTF-8 text"):
        require_text(name, "`x`, line 1")


def test_other_contents_are_named(tmp_path: Path) -> None:
    packed_twice = gzip.compress(bz2.compress(b"a\n"))
    with pytest.raises(FormatError, match="packed twice: bzip2 inside gzip"):
        texts(saved(tmp_path, packed_twice))
    contents = {
        b"PK\x03\x04rest": "Excel workbook",
        gzip.compress(b"BAM\x01\0\0"): "a BAM file",
        b"\n<!DOCTYPE html>": "HTML",
        b"name" + b"\0" * 253 + b"ustar": "a tar archive",
        b"\x1f\x9d\x90": r"\(.Z\)",
        b"a\0b\n": "NUL bytes",
    }
    for content, words in contents.items():
        with pytest.raises(FormatError, match=words):
            texts(saved(tmp_path, content))


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MAX_LINE", 1 << 20)
    with pytest.raises(FormatError, match="line 2 is longer than 1 MB"):
        texts(saved(tmp_path, b"a\n" + b"b" * (3 << 20)))


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="`given` does not exist"):
        list(read_lines(tmp_path / "x", display_name="given"))
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        list(read_lines(tmp_path))


def test_a_pipe_is_copied(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a\nb\n",))
    writer.start()
    with local_copy(str(pipe)) as (path, shown):
        assert texts(path) == texts(path) == ["a", "b"]
        assert shown == str(pipe)
    writer.join()
    assert not path.exists()


@repeatable
@given(
    lines=st.lists(st.text(alphabet="aé\u2028\x0b\t;\"'\ufeff b", max_size=12), max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    last=st.booleans(),
    name=st.sampled_from(list(PACKINGS)),
    chunk=st.integers(1, 40),
)
def test_lines_survive_every_packing_line_end_and_mark(
    lines: list[str],
    end: str,
    mark: bool,
    last: bool,
    name: str,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the chunks are cut at."""
    content = "\ufeff" * mark + end.join(lines) + (end if last else "")
    raw = PACKINGS[name](content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_RAW_CHUNK", chunk)
        patch.setattr(packing, "TEXT_CHUNK", chunk)
        found = texts(saved(tmp_path_factory.mktemp("text"), raw))
    naive = [line.removeprefix("\ufeff") for line in content.replace("\r\n", "\n").split("\n")]
    if not naive[-1]:
        naive.pop()  # nothing behind the last line end is not a line
    assert found == [line.rstrip(" ") for line in naive]
