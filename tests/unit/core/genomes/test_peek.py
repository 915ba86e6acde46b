"""The head of a file, with no more of it read than is shown."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.genomes.peek import peek_records
from tests.corpora import random_dna
from tests.files import truncated_gzip


def put(folder: Path, content: bytes, name: str = "x.fa") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_small_file_is_whole(tmp_path: Path) -> None:
    path = put(tmp_path, b">a first one\nACgt\nRY\n>b\n>c\nA\n")
    found = peek_records(path, 100, display_name="x")
    rows = [(r.id, r.description, r.sequence) for r in found.records]
    assert rows == [("a", "first one", "ACgtRY"), ("b", "", ""), ("c", "", "A")]
    assert (found.whole, found.last_is_whole) == (True, True)


@pytest.mark.parametrize(
    ("num_letters", "lengths", "last_is_whole"),
    [(5, [5], False), (6, [6], True), (7, [6, 0], True), (8, [6, 0, 1], False)],
)
def test_the_last_record_is_cut(
    num_letters: int, lengths: list[int], last_is_whole: bool, tmp_path: Path
) -> None:
    path = put(tmp_path, b">a\nACGTAC\n>b\n>c\nAC\n")
    found = peek_records(path, num_letters, display_name="x")
    assert [len(record.sequence) for record in found.records] == lengths
    assert (found.whole, found.last_is_whole) == (False, last_is_whole)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1)


@pytest.mark.parametrize("line", [60, 10**7])
@pytest.mark.parametrize("pack", [bytes, packed], ids=["plain", "gzip"])
def test_a_large_file_is_not_read_to_its_end(line: int, pack: object, tmp_path: Path) -> None:
    sequence = random_dna(3_000_000)
    rows = "\n".join(sequence[i : i + line] for i in range(0, len(sequence), line))
    assert callable(pack)
    path = put(tmp_path, pack(f">a\n{rows}\n>b\nAC-GT\n".encode()))
    found = peek_records(path, 1000, display_name="x")
    assert [record.sequence for record in found.records] == [sequence[:1000]]
    assert not found.whole


def test_a_header_at_the_end_of_a_chunk_is_not_cut(tmp_path: Path) -> None:
    for extra in range(12):
        body = b"A" * ((1 << 20) - 10 - extra)
        path = put(tmp_path, b">a\n" + body + b"\n>bcdefgh ij\n" + b"C" * 100 + b"\n")
        found = peek_records(path, len(body) - 1, display_name="x")
        assert [record.id for record in found.records] == ["a"]
        found = peek_records(path, len(body) + 5, display_name="x")
        assert [(record.id, record.description) for record in found.records] == [
            ("a", ""),
            ("bcdefgh", "ij"),
        ]


def test_reads_are_cut_between_records(tmp_path: Path) -> None:
    read = random_dna(150)
    content = "".join(f"@r{i}\n{read}\n+\n{'@' * 150}\n" for i in range(9000)).encode()
    found = peek_records(put(tmp_path, content, "x.fq"), 400, display_name="x")
    assert [(r.id, len(r.sequence)) for r in found.records] == [
        ("r0", 150),
        ("r1", 150),
        ("r2", 100),
    ]


def test_damage_is_an_error(tmp_path: Path) -> None:
    path = put(tmp_path, truncated_gzip(b">a\n" + b"ACGT" * 100 + b"\n"), "x.fa.gz")
    with pytest.raises(FormatError, match="truncated"):
        peek_records(path, 10, display_name="x")
