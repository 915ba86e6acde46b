"""Each hole of plain readers, shown by a file: pyfastx alone, and our reader."""

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

from genomeformer_cli.core.errors import AlphabetError, FastaError, FormatError, InputError
from genomeformer_cli.core.formats import packing
from genomeformer_cli.core.formats.fasta import (
    FastaReader,
    Record,
    inspect_file,
    read_records,
    record_lengths,
)
from genomeformer_cli.core.formats.packing import is_gzip
from genomeformer_cli.core.formats.text import local_copy

TEXT = b">chr1 a chromosome\n" + b"ACGTTGCAAC\n" * 4000 + b">plasmid\nGGCC\n"
TRUTH = [Record("chr1", "a chromosome", "ACGTTGCAAC" * 4000), Record("plasmid", "", "GGCC")]
COMPRESSED = gzip.compress(TEXT, mtime=0)


def saved(tmp_path: Path, content: bytes, name: str = "x.fa.gz") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def alone(path: Path) -> list[tuple[str, ...]]:
    """Return the records that pyfastx reads."""
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
def test_a_truncated_gz_is_refused_though_pyfastx_accepts_it(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path, COMPRESSED[: int(len(COMPRESSED) * kept)])
    assert alone(path) != alone(saved(tmp_path, COMPRESSED, "whole.gz")) or kept > 0.9
    with pytest.raises(FormatError, match="truncated"):
        list(read_records(path))


def test_a_missing_trailer_is_refused_though_pyfastx_accepts_it(tmp_path: Path) -> None:
    path = saved(tmp_path, COMPRESSED[:-8])
    assert len(alone(path)) == 2
    with pytest.raises(FormatError, match="truncated"):
        list(read_records(path))


def test_a_wrong_checksum_is_refused_though_pyfastx_accepts_it(tmp_path: Path) -> None:
    path = saved(tmp_path, COMPRESSED[:-8] + b"\0\0\0\0" + COMPRESSED[-4:])
    alone(path)
    with pytest.raises(FormatError, match="damaged"):
        list(read_records(path))


def test_every_flipped_bit_of_a_gz_is_seen(tmp_path: Path) -> None:
    small = gzip.compress(b">a\nACGTNACGTN\n", mtime=0)
    wrong = 0
    for position in range(10, len(small)):
        flipped = bytearray(small)
        flipped[position] ^= 4
        path = saved(tmp_path, bytes(flipped))
        with pytest.raises(FormatError):
            list(read_records(path))
        wrong += 1
    assert wrong == len(small) - 10


def test_a_second_member_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, gzip.compress(TEXT[:777]) + gzip.compress(TEXT[777:])[:-9])
    with pytest.raises(FormatError, match="truncated"):
        list(read_records(path))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_nul_is_refused_and_pyfastx_cuts_there(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = saved(tmp_path, compress(b">a\nACGT\0ACGT\n>b\nGG\n"), "x.fa")
    assert len(alone(path)[0][1]) < 9
    with pytest.raises(FormatError, match="NUL"):
        list(read_records(path))


def test_a_nul_far_in_is_seen(tmp_path: Path) -> None:
    content = b">a\n" + b"A" * (3 << 20) + b"\0A\n"
    with pytest.raises(FormatError, match="NUL"):
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
        (b"BZh91AY", "truncated bzip2"),
        (b"\xfd7zXZ\x00", "truncated xz"),
        (b"ACGT\n", "does not start with"),
        (b">a\rACGT\r>b\rGG\r", "carriage return"),
        (b">a\nACGT\r", "carriage return"),
        (b";LCBO\nACGT1\n", "does not start with"),
        (b"##fileformat=VCFv4.2\n", "VCF"),
        (b"ID   X; SV 1;\n", "EMBL"),
    ],
)
def test_other_formats_than_fasta_are_refused_and_named(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = saved(tmp_path, content)
    for read in (inspect_file, lambda path: list(read_records(path))):
        with pytest.raises(FormatError, match=said) as caught:
            read(path)
        assert caught.value.hint
        assert str(path) in caught.value.message


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        inspect_file(tmp_path / "none.fa")
    with pytest.raises(FormatError, match="cannot be read"):
        inspect_file(tmp_path)
    with pytest.raises(FormatError, match="standard input"):
        list(read_records(tmp_path / "none.fa", display_name="standard input"))


def test_empty_records_and_bare_headers_are_kept(tmp_path: Path) -> None:
    path = saved(tmp_path, b">a\n>b x\nGG\n>\nTT\n>c\n", "x.fa")
    expected = [("a", ""), ("b", "GG"), ("record_3", "TT"), ("c", "")]
    assert [(r.id, r.sequence) for r in read_records(path)] == expected


def test_a_header_sign_within_a_line_does_not_start_a_record(tmp_path: Path) -> None:
    (record,) = read_records(saved(tmp_path, b">a >b\nAC\nGT\n", "x.fa"))
    assert record == Record("a", ">b", "ACGT")


def test_bytes_that_are_not_utf8_matter_in_ids_alone(tmp_path: Path) -> None:
    (record,) = read_records(saved(tmp_path, b">a caf\xe9\nACGT\n", "x.fa"))
    assert record == Record("a", "caf\ufffd", "ACGT")
    with pytest.raises(FormatError, match="id of record 2: `caf\ufffd` is not UTF-8") as caught:
        list(read_records(saved(tmp_path, b">a\nAC\n>caf\xe9 x\nACGT\n", "x.fa")))
    assert "iconv" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "letter", "hint"),
    [
        (b">a\nACGT\n+\nIIII\n", r"`\+` at position 5", "FASTQ"),
        (b">a\nACGT\n@b\nGG\n", "`@` at position 5", "FASTQ"),
        (b">a\nACGT*\n", r"`\*` at position 5", "protein"),
        (b">a\n   1 acgt acgt\n   9 ac\n", "`1` at position 1", "numbers and blanks"),
        (b">a\nACGT ACGT\n", "` ` at position 5", "numbers and blanks"),
        (b">a\nAC--GT\n", "`-` at position 3", "alignment"),
        (b">a\nAC;GT\n", "`;` at position 3", "nucleotide codes"),
        (b">a\nAC\n >b\nAC\n", "`>` at position 3", "start of its line"),
    ],
)
def test_what_is_not_a_base_is_named_with_its_place(
    tmp_path: Path, content: bytes, letter: str, hint: str
) -> None:
    with pytest.raises(AlphabetError, match=f"record `a`: {letter} is not") as caught:
        list(read_records(saved(tmp_path, content, "x.fa")))
    assert hint in str(caught.value.hint)


def test_comments_and_blanks_at_line_ends(tmp_path: Path) -> None:
    content = b" \n;old style\n;\n>a x \t\n;within\nAC \t\n\t GT\n;end\n>b\n;none\n>c\nA  "
    path = saved(tmp_path, content, "x.fa")
    expected = [Record("a", "x", "ACGT"), Record("b", "", ""), Record("c", "", "A")]
    assert list(read_records(path)) == expected
    reader = FastaReader(path)
    assert sum(block.marked.size for block in reader.blocks()) == 5
    assert reader.changes.num_comments == 5


@pytest.mark.parametrize("chunk", range(1, 40))
def test_the_place_of_a_cut_between_chunks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    content = b"\xef\xbb\xbf;head\r\n> a  b\r\nAC \r\n;say >c\r\n  gtu\r\n>\r\nNX\r\n>z"
    path = saved(tmp_path, content, "x.fa")
    monkeypatch.setattr(packing, "_RAW_CHUNK", chunk)
    monkeypatch.setattr(packing, "TEXT_CHUNK", chunk)
    expected = [Record("a", "b", "ACgtu"), Record("record_2", "", "NX"), Record("z", "", "")]
    assert list(read_records(path)) == expected
    reader = FastaReader(path)
    blocks = list(reader.blocks())
    codes = [code for block in blocks for code in block.marked.tolist()]
    assert codes == [0, 1, 2 | 8, 3 | 8, 3 | 8, 4, 4]
    found = reader.changes
    assert (found.num_records, found.num_bases, found.num_comments) == (3, 7, 2)
    assert (found.num_uracil, found.num_masked, found.num_unnamed) == (1, 1, 1)
    assert (found.num_mostly_unknown, found.first_mostly_unknown) == (1, "record_2")


def test_lengths_by_pyfastx_are_those_of_the_reader(tmp_path: Path) -> None:
    path = saved(tmp_path, COMPRESSED)
    assert record_lengths(path) == [len(record.sequence) for record in TRUTH]


FASTQ = b"@r1 first\nACGT\n+\nIIII\n@r2\nGG\n+r2\n@I\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_fastq(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = saved(tmp_path, compress(FASTQ), "x.fq")
    assert list(read_records(path)) == [Record("r1", "first", "ACGT"), Record("r2", "", "GG")]


def test_wrapped_fastq(tmp_path: Path) -> None:
    content = b"@a x\nAC\nGT\n+a\n@@\n+I\n\n@b\nAC\nG\n+\nIII\n@c\n+\n\n@d\nA\n+\n@\n"
    path = saved(tmp_path, content, "x.fq")
    expected = [("a", "ACGT"), ("b", "ACG"), ("c", ""), ("d", "A")]
    assert [(r.id, r.sequence) for r in read_records(path)] == expected


def test_sam_is_named(tmp_path: Path) -> None:
    with pytest.raises(FastaError, match="SAM"):
        list(read_records(saved(tmp_path, b"@HD\tVN:1.6\n@SQ\tSN:a\n", "x.fq")))


@pytest.mark.parametrize(
    "content",
    [FASTQ[:-2], FASTQ[:-5], FASTQ[:-8], FASTQ.replace(b"IIII", b"III"), FASTQ + b"r3\n"],
)
def test_damaged_fastq_is_refused_and_pyfastx_ends_silently(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path, content, "x.fq")
    alone(path)
    with pytest.raises(FastaError, match="FASTQ"):
        list(read_records(path))


@pytest.mark.parametrize("quality", [b"\x0b", b"\x1f", b"\x7f", "é".encode()])
def test_a_quality_is_printable_ascii(tmp_path: Path, quality: bytes) -> None:
    letters = b"ACGT" + b"A" * (len(quality) - 1)
    content = b"@a\nAC\n\n" + letters[2:] + b"\n+\nII\n\nI" + quality + b"\n"
    with pytest.raises(FastaError, match="FASTQ"):
        list(read_records(saved(tmp_path, content, "x.fq")))


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


def test_inspection_gives_the_checksum_of_the_text(tmp_path: Path) -> None:
    plain, packed = saved(tmp_path, TEXT, "x.fa"), saved(tmp_path, COMPRESSED)
    assert inspect_file(plain) == inspect_file(packed)


def test_standard_input_is_spooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(COMPRESSED)))
    with local_copy("-") as (path, shown):
        assert list(read_records(path, display_name=shown)) == TRUTH
    assert not path.exists()
    with local_copy("x.fa") as (path, shown):
        assert (path, shown) == (Path("x.fa"), "x.fa")


def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
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
