"""Query files of every packing, and regions of a genome."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import FastaError, InputError, MissingExtraError
from genomeformer_cli.core.formats.sequences import Query, read_queries
from genomeformer_cli.core.genomes.regions import read_bed, read_vcf, region_queries
from genomeformer_cli.core.sequence import decode_bases

FASTA = b"\n>a first\nACGT\nacgn\n>b\n\n>\nGG\n>a\nRYU\n"
TRUTH = [("a", "ACGTACGN"), ("b", ""), ("", "GG"), ("a", "NNT")]
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
    assert shown(list(read_queries(saved(tmp_path, pack(FASTA))))) == TRUTH
    assert shown(list(read_queries(saved(tmp_path, pack(FASTQ))))) == READS
    joined = pack(FASTA) + pack(b">c\nTT\n")
    assert shown(list(read_queries(saved(tmp_path, joined)))) == [*TRUTH, ("c", "TT")]


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_what_is_cut_short_or_damaged_is_refused(packing: str, tmp_path: Path) -> None:
    whole = PACKINGS[packing](b">a\n" + b"ACGGTCA" * 5000 + b"\n")
    name = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}.get(packing, packing)
    for kept in (len(whole) - 1, len(whole) // 2, 9):
        with pytest.raises(FastaError, match=f"truncated {name} file"):
            list(read_queries(saved(tmp_path, whole[:kept])))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x41
    with pytest.raises(FastaError):
        list(read_queries(saved(tmp_path, bytes(flipped))))


def test_a_record_that_spans_many_blocks_is_whole(tmp_path: Path) -> None:
    path = saved(tmp_path, b">a\n" + b"ACGT\n" * 700_000 + b">b\nA\n")
    first, second = read_queries(path)
    assert (first.id, first.codes.size, second.codes.size) == ("a", 2_800_000, 1)
    assert decode_bases(first.codes[-8:]) == "ACGTACGT"


def test_zstd_without_its_package_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, b"\x28\xb5\x2f\xfd....")

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtraError, match="zstandard"):
        list(read_queries(path))


def test_bed_regions_come_in_their_order_and_on_their_strand(tmp_path: Path) -> None:
    genome = saved(tmp_path, b">one\nAACCGGTTAC\n>two words\nTTTTGA\n", "g.fa")
    bed = b"track x\n#c\ntwo\t1\t6\tlast\t0\t-\none\t0\t4\none\t4\t8\t.\t0\t+\none\t3\t3\tnone\n"
    bed += b"one\t8\t11\tfar\nthree\t0\t1\tgone\none\t5\t2\tback\n"
    regions = read_bed(saved(tmp_path, gzip.compress(bed), "r.bed.gz"))
    found = list(region_queries(regions, genome))
    assert shown(found) == [
        ("last", "TCAAA"),
        ("one:0-4", "AACC"),
        ("one:4-8", "GGTT"),
        ("none", ""),
        ("far", ""),
        ("gone", ""),
        ("back", ""),
    ]
    assert [query.problem for query in found[4:]] == [
        "reaches beyond `one`, which has 10 bases",
        "is of `three`, which the genome does not have",
        "is no interval",
    ]


def test_a_variant_is_a_pair_of_windows(tmp_path: Path) -> None:
    genome = saved(tmp_path, b">c\nAACCGGTTAC\n", "g.fa")
    vcf = b"##x\n#CHROM\tPOS\tID\tREF\tALT\nc\t5\t.\tG\tT,GAA\nc\t1\t.\tAA\tA\tq\n"
    vcf += b"c\t5\t.\tA\tT\nc\t5\t.\tG\t<DEL>\nc\t99\t.\tG\tT\n"
    found = list(region_queries(read_vcf(saved(tmp_path, vcf, "v.vcf"), 2), genome))
    assert shown(found[:6]) == [
        ("c:5:G>T:ref", "CCGGT"),
        ("c:5:G>T:alt", "CCTGT"),
        ("c:5:G>GAA:ref", "CCGGT"),
        ("c:5:G>GAA:alt", "CCGAAGT"),
        ("c:1:AA>A:ref", "AACC"),
        ("c:1:AA>A:alt", "ACC"),
    ]
    assert [query.problem.split(" where")[0] for query in found[6::2]] == [
        "says `A`",
        "has an allele without bases, `<DEL>`",
        "reaches beyond `c`, which has 10 bases",
    ]


@pytest.mark.parametrize("line", [b"one\t2", b"one\ta\tb", b"\xff\t1\t2"])
def test_a_line_that_is_no_interval_is_named(line: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: (not a BED|no text)"):
        read_bed(saved(tmp_path, b"one\t1\t2\n" + line + b"\n"))


@pytest.mark.parametrize("line", [b"one\t2\t.\tA", b"one\tx\t.\tA\tC"])
def test_a_line_that_is_no_variant_is_named(line: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: not a VCF"):
        read_vcf(saved(tmp_path, line), 5)


def test_regions_of_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_bed(tmp_path / "none.bed")
