"""Query files of every packing."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import FormatError, MissingExtraError
from genomeformer_cli.core.formats.sequences import Query, read_sequences
from genomeformer_cli.core.sequence import decode_bases

FASTA = b"\n>a first\nACGT\nacgn\n>b\n\n>\nGG\n>a\nRYU\n"
TRUTH = [("a", "ACGTACGN"), ("b", ""), ("record_3", "GG"), ("a", "NNT")]
FASTQ = b"@a x\nACGT\n+\n@@@@\n\n@b\n\n+\n\n@c\tdescribed\nGG\n+c\n>>\n"
READS = [("a", "ACGT"), ("b", ""), ("c", "GG")]


def zstd(content: bytes) -> bytes:
    packed: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(content)
    return packed


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}
every_packing = pytest.mark.parametrize("packing", list(PACKINGS))


def saved(folder: Path, content: bytes, name: str = "q") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def shown(queries: list[Query]) -> list[tuple[str, str]]:
    return [(query.id, decode_bases(query.codes)) for query in queries]


@every_packing
def test_every_record_of_every_packing(packing: str, tmp_path: Path) -> None:
    pack = PACKINGS[packing]
    assert shown(list(read_sequences(saved(tmp_path, pack(FASTA))))) == TRUTH
    assert shown(list(read_sequences(saved(tmp_path, pack(FASTQ))))) == READS
    joined = pack(FASTA) + pack(b">c\nTT\n")
    assert shown(list(read_sequences(saved(tmp_path, joined)))) == [*TRUTH, ("c", "TT")]


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_what_is_cut_short_or_damaged_is_refused(packing: str, tmp_path: Path) -> None:
    whole = PACKINGS[packing](b">a\n" + b"ACGGTCA" * 5000 + b"\n")
    name = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}.get(packing, packing)
    for kept in (len(whole) - 1, len(whole) // 2, 9):
        with pytest.raises(FormatError, match=f"truncated {name} file"):
            list(read_sequences(saved(tmp_path, whole[:kept])))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x41
    with pytest.raises(FormatError):
        list(read_sequences(saved(tmp_path, bytes(flipped))))


def test_a_record_that_spans_many_blocks_is_whole(tmp_path: Path) -> None:
    path = saved(tmp_path, b">a\n" + b"ACGT\n" * 700_000 + b">b\nA\n")
    first, second = read_sequences(path)
    assert (first.id, first.codes.size, second.codes.size) == ("a", 2_800_000, 1)
    assert decode_bases(first.codes[-8:]) == "ACGTACGT"


def test_zstd_without_its_package_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, b"\x28\xb5\x2f\xfd....")

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtraError, match="zstandard"):
        list(read_sequences(path))
