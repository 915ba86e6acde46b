"""Each hole of plain readers, shown by a file: what pyfastx does alone, and what we do."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pyfastx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomeformer_cli.core.errors import FastaError, InputError
from genomeformer_cli.core.formats.fasta import (
    Record,
    inspect_file,
    is_gzip,
    local_copy,
    read_records,
)
from tests.cli import run_python

TEXT = b">chr1 a chromosome\n" + b"ACGTTGCAAC\n" * 4000 + b">plasmid\nGGCC\n"
TRUTH = [Record("chr1", "a chromosome", "ACGTTGCAAC" * 4000), Record("plasmid", "", "GGCC")]
COMPRESSED = gzip.compress(TEXT, mtime=0)


def saved(tmp_path: Path, content: bytes, name: str = "x.fa.gz") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def alone(path: Path) -> list[tuple[str, ...]]:
    """What pyfastx says by itself."""
    return list(pyfastx.Fastx(str(path)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.fa", TEXT),
        ("x.fa.gz", COMPRESSED),
        ("misnamed.fa", COMPRESSED),
        ("members.fa.gz", gzip.compress(TEXT[:777], mtime=0) + gzip.compress(TEXT[777:], mtime=0)),
        ("crlf.fa", TEXT.replace(b"\n", b"\r\n")),
        ("blank.fa", b"\n\n" + TEXT),
        ("no_end.fa", TEXT[:-1]),
        ("padded.fa.gz", COMPRESSED + b"\0" * 512),
    ],
)
def test_good_files_give_every_record(tmp_path: Path, name: str, content: bytes) -> None:
    path = saved(tmp_path, content, name)
    assert list(read_records(path)) == TRUTH
    assert is_gzip(path) is (content[:2] == b"\x1f\x8b")


def test_crlf_split_between_chunks(tmp_path: Path) -> None:
    line = b"A" * 61 + b"\r\n"
    path = saved(tmp_path, b">a\r\n" + line * ((3 << 20) // len(line)), "x.fa")
    (record,) = read_records(path)
    assert set(record.sequence) == {"A"}


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_truncated_gz_is_refused_and_pyfastx_says_nothing(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path, COMPRESSED[: int(len(COMPRESSED) * kept)])
    assert alone(path) != alone(saved(tmp_path, COMPRESSED, "whole.gz")) or kept > 0.9
    with pytest.raises(FastaError, match="truncated"):
        list(read_records(path))


def test_a_missing_trailer_is_refused_and_pyfastx_says_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, COMPRESSED[:-8])
    assert len(alone(path)) == 2
    with pytest.raises(FastaError, match="truncated"):
        list(read_records(path))


def test_a_wrong_checksum_is_refused_and_pyfastx_says_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, COMPRESSED[:-8] + b"\0\0\0\0" + COMPRESSED[-4:])
    alone(path)
    with pytest.raises(FastaError, match="damaged"):
        list(read_records(path))


def test_every_flipped_bit_of_a_gz_is_seen(tmp_path: Path) -> None:
    small = gzip.compress(b">a\nACGTNACGTN\n", mtime=0)
    wrong = 0
    for position in range(10, len(small)):
        flipped = bytearray(small)
        flipped[position] ^= 4
        path = saved(tmp_path, bytes(flipped))
        with pytest.raises(FastaError):
            list(read_records(path))
        wrong += 1
    assert wrong == len(small) - 10


def test_a_second_member_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, gzip.compress(TEXT[:777]) + gzip.compress(TEXT[777:])[:-9])
    with pytest.raises(FastaError, match="truncated"):
        list(read_records(path))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_nul_is_refused_and_pyfastx_cuts_there(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = saved(tmp_path, compress(b">a\nACGT\0ACGT\n>b\nGG\n"), "x.fa")
    assert len(alone(path)[0][1]) < 9
    with pytest.raises(FastaError, match="NUL"):
        list(read_records(path))


def test_a_nul_far_in_is_seen(tmp_path: Path) -> None:
    content = b">a\n" + b"A" * (3 << 20) + b"\0A\n"
    with pytest.raises(FastaError, match="NUL"):
        inspect_file(saved(tmp_path, gzip.compress(content, 1)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"<!DOCTYPE html><html>blocked</html>", "HTML"),
        (gzip.compress(b"<html></html>", mtime=0), "HTML"),
        (b"LOCUS       NC_000913\n", "GenBank"),
        (b"##gff-version 3\n", "GFF"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "zip"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"ACGT\n", "does not start with"),
        (b"\xef\xbb\xbf>a\nACGT\n", "does not start with"),
        (b">a\rACGT\r>b\rGG\r", "carriage return"),
        (b">a\nACGT\r", "carriage return"),
        (b">a\nACGT\n+\nIIII\n>b\nGG\n", "lines of FASTQ"),
        (b">a\nACGT\n@b\nGG\n", "lines of FASTQ"),
    ],
)
def test_what_is_no_fasta_is_refused_and_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = saved(tmp_path, content)
    for read in (inspect_file, lambda path: list(read_records(path))):
        with pytest.raises(FastaError, match=said) as caught:
            read(path)
        assert caught.value.hint
        assert str(path) in caught.value.message


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FastaError, match="does not exist"):
        inspect_file(tmp_path / "none.fa")
    with pytest.raises(FastaError, match="cannot be read"):
        inspect_file(tmp_path)
    with pytest.raises(FastaError, match="standard input"):
        list(read_records(tmp_path / "none.fa", shown="standard input"))


def test_empty_records_and_bare_headers_are_kept(tmp_path: Path) -> None:
    path = saved(tmp_path, b">a\n>b x\nGG\n>\nTT\n>c\n", "x.fa")
    expected = [("a", ""), ("b", "GG"), ("", "TT"), ("c", "")]
    assert [(r.id, r.sequence) for r in read_records(path)] == expected


def test_a_header_sign_within_a_line_is_no_header(tmp_path: Path) -> None:
    (record,) = read_records(saved(tmp_path, b">a >b\nAC\nGT\n", "x.fa"))
    assert record == Record("a", ">b", "ACGT")


def test_headers_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FastaError, match="cannot be read as FASTA"):
        list(read_records(saved(tmp_path, b">a \xe9\nACGT\n", "x.fa")))


FASTQ = b"@r1 first\nACGT\n+\nIIII\n@r2\nGG\n+r2\n@I\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_fastq(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = saved(tmp_path, compress(FASTQ), "x.fq")
    assert list(read_records(path)) == [Record("r1", "first", "ACGT"), Record("r2", "", "GG")]


@pytest.mark.parametrize(
    "content",
    [FASTQ[:-2], FASTQ[:-5], FASTQ[:-8], FASTQ.replace(b"IIII", b"III"), FASTQ + b"r3\n"],
)
def test_damaged_fastq_is_refused_and_pyfastx_ends_in_silence(
    tmp_path: Path, content: bytes
) -> None:
    path = saved(tmp_path, content, "x.fq")
    alone(path)
    with pytest.raises(FastaError, match="FASTQ"):
        list(read_records(path))


def test_no_index_is_written_so_none_can_be_stale(tmp_path: Path) -> None:
    path = saved(tmp_path, COMPRESSED)
    assert list(read_records(path)) == TRUTH
    assert [file.name for file in tmp_path.iterdir()] == ["x.fa.gz"]
    path.write_bytes(gzip.compress(b">other\nTTTT\n"))
    assert list(read_records(path)) == [Record("other", "", "TTTT")]
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        assert len(list(read_records(path))) == 1
    finally:
        tmp_path.chmod(0o700)


FORK = """
import os, sys
from pathlib import Path
from genomeformer_cli.core.formats.fasta import read_records
records = read_records(Path(sys.argv[1]))
next(records)
child = os.fork()
if not child:
    try:
        next(records)
    except AssertionError as refusal:
        os.write(1, str(refusal).encode())
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), next(records).sequence, flush=True)
"""


def test_a_reader_does_not_cross_a_fork(tmp_path: Path) -> None:
    done = run_python("-c", FORK, str(saved(tmp_path, COMPRESSED)))
    assert "must not cross a fork" in done.out
    assert "7 GGCC" in done.out


def test_inspection_gives_the_checksum_of_the_text(tmp_path: Path) -> None:
    plain, packed = saved(tmp_path, TEXT, "x.fa"), saved(tmp_path, COMPRESSED)
    assert inspect_file(plain) == inspect_file(packed)


def test_standard_input_is_spooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(COMPRESSED)))
    with local_copy("-") as (path, shown):
        assert list(read_records(path, shown=shown)) == TRUTH
    assert not path.exists()
    with local_copy("x.fa") as (path, shown):
        assert (path, shown) == (Path("x.fa"), "x.fa")


def test_a_terminal_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(InputError, match="terminal"), local_copy("-"):
        pass


@settings(deadline=None, max_examples=60)
@given(
    records=st.lists(
        st.tuples(
            st.text("abcXYZ019._|", min_size=1, max_size=12),
            st.text("acgtnACGTNryswkmRYSWKM", max_size=300),
        ),
        min_size=1,
        max_size=8,
    ),
    width=st.integers(1, 90),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, str]],
    width: int,
    end: str,
    packed: bool,
) -> None:
    text = "".join(
        f">{name}{end}"
        + "".join(sequence[i : i + width] + end for i in range(0, len(sequence), width))
        for name, sequence in records
    ).encode()
    path = tmp_path_factory.mktemp("fasta") / "x.fa"
    path.write_bytes(gzip.compress(text) if packed else text)
    assert [(r.id, r.sequence) for r in read_records(path)] == records
