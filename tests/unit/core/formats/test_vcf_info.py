"""VCF files with more INFO: everything else stays as it was, byte for byte."""

from __future__ import annotations

import gzip
import importlib
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.bgzf import write_bgzf
from genomeformer_cli.core.formats.vcf import read_variants
from genomeformer_cli.core.formats.vcf_info import InfoField, annotate_lines

FIELD = InfoField(id="GF", number="A", type="Float", description='a "quoted" word')
DECLARATION = b'##INFO=<ID=GF,Number=A,Type=Float,Description="a \\"quoted\\" word">'
COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
CELL = st.binary(max_size=6).filter(lambda cell: not set(cell) & set(b"\t\n\r\0"))


def annotate(path: Path, content: bytes) -> bytes:
    """Give every row the entry `GF=` and its line number."""
    path.write_bytes(content)
    lines = content.split(b"\n")
    values = {
        number: f"GF={number}"
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith(b"#")
    }
    return b"".join(annotate_lines(path, "x.vcf", [FIELD], values))


@given(
    rows=st.lists(st.tuples(CELL, CELL, st.lists(CELL, max_size=3), CELL), max_size=5),
    end=st.sampled_from([b"\n", b"\r\n"]),
    is_ended=st.booleans(),
    has_header=st.booleans(),
)
def test_the_cells_of_rows_stay_as_they_are(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[bytes, bytes, list[bytes], bytes]],
    end: bytes,
    is_ended: bool,
    has_header: bool,
) -> None:
    cells = [
        b"\t".join((b"c", b"%d" % number, *row[:2], b"A", b".", b"PASS", info, *more))
        for number, (*row, more, info) in enumerate(rows, start=1)
    ]
    cells = [line for line in cells if line.strip()]
    head = [b"##fileformat=VCFv4.2", COLUMNS] if has_header else []
    text = end.join((*head, *cells)) + (end if is_ended else b"")
    path = tmp_path_factory.mktemp("vcf") / "x.vcf"
    annotated = annotate(path, text)
    lines = [line.removesuffix(b"\r") for line in annotated.split(b"\n")]
    kept = [line for line in lines if line and not line.startswith(b"#")]
    assert len(kept) == len(cells)
    for before, after in zip(cells, kept, strict=True):
        old, new = before.split(b"\t"), after.split(b"\t")
        assert old[:7] + old[8:] == new[:7] + new[8:]
        info, _, added = new[7].rpartition(b"GF=")
        assert added.isdigit()
        assert info.removesuffix(b";") == (
            b"" if old[7].strip() in (b"", b".") else old[7].removesuffix(b";")
        )
    if text and is_ended:
        assert annotated.count(end) == annotated.count(b"\n")
    if cells:
        assert lines.count(DECLARATION) == 1
        assert lines.index(DECLARATION) + 1 == next(
            number for number, line in enumerate(lines) if line.startswith(b"#CHROM")
        )


def test_short_rows_are_filled_up_to_info(tmp_path: Path) -> None:
    text = b"#CHROM\tPOS\tID\tREF\tALT\nc\t1\t.\tA\tC\n"
    filled = b"\n".join(
        (
            b"##fileformat=VCFv4.2",
            DECLARATION,
            COLUMNS,
            b"c\t1\t.\tA\tC\t.\t.\tGF=2\n",
        )
    )
    assert annotate(tmp_path / "x.vcf", text) == filled


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"c 1 . A C\n", "line 1: blanks separate"),
        (b"c\t1\t.\tA\tC\t.\t.\tX;GF=1\n", "line 1 has the INFO field `GF` already"),
        (DECLARATION + b"\n", "has the INFO field `GF` already"),
    ],
)
def test_what_would_be_lost_is_refused(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        annotate(tmp_path / "x.vcf", text)


@given(st.lists(st.binary(max_size=200_000), max_size=4))
def test_blocks_are_gzip_and_small(chunks: list[bytes]) -> None:
    out = io.BytesIO()
    write_bgzf(out, chunks)
    packed = out.getvalue()
    assert gzip.decompress(packed) == b"".join(chunks)
    place = 0
    while place < len(packed):
        assert packed[place : place + 4] == b"\x1f\x8b\x08\x04"
        assert packed[place + 12 : place + 16] == b"BC\x02\x00"
        place += int.from_bytes(packed[place + 16 : place + 18], "little") + 1
    assert place == len(packed)


def test_another_reader_opens_the_blocks(tmp_path: Path) -> None:
    bgzf: Any = importlib.import_module("Bio.bgzf")
    path = tmp_path / "x.vcf.gz"
    text = b"".join(b"c\t%d\t.\tA\tC\n" % number for number in range(1, 20_000))
    with path.open("wb") as file:
        write_bgzf(file, [text])
    with path.open("rb") as file:
        blocks = list(bgzf.BgzfBlocks(file))
    assert [first for _, _, first, _ in blocks[:2]] == [0, 65_280]
    assert sum(size for _, _, _, size in blocks) == len(text)
    assert blocks[-1][3] == 0
    assert sum(1 for _ in read_variants(path)) == 19_999
