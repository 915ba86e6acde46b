"""Regions of a genome as sequences: order, strand, alleles, and reasons for rows without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import FastaError, InputError
from genomeformer_cli.core.formats.bed import read_bed
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.vcf import read_variants
from genomeformer_cli.core.genomes.regions import bed_regions, region_queries, vcf_regions
from genomeformer_cli.core.sequence import decode_bases


def from_bed(folder: Path, genome: str, rows: str) -> list[Query]:
    """Return the sequences of the rows of a BED file."""
    (folder / "g.fa").write_text(genome)
    (folder / "r.bed").write_text(rows)
    regions = bed_regions(read_bed(folder / "r.bed"))
    return region_queries(regions, folder / "g.fa", source="r.bed", display_name="g.fa")


def from_vcf(folder: Path, genome: str, rows: str, flank: int) -> list[Query]:
    """Return the sequences of the alleles of a VCF file."""
    (folder / "g.fa").write_text(genome)
    (folder / "v.vcf").write_text(rows)
    regions = vcf_regions(read_variants(folder / "v.vcf"), flank)
    return region_queries(regions, folder / "g.fa", source="v.vcf", display_name="g.fa")


def shown(queries: list[Query]) -> list[tuple[str, str]]:
    return [(query.id, decode_bases(query.codes)) for query in queries]


def test_intervals_come_in_their_order_and_on_their_strand(tmp_path: Path) -> None:
    genome = ">one\nAACCGGTTAC\n>two words\nTTTTGA\n"
    rows = "two\t1\t6\tlast\t0\t-\none\t0\t4\none\t4\t8\t.\t0\t+\none\t3\t3\tnone\n"
    rows += "one\t8\t11\tfar\nthree\t0\t1\tgone\none\t5\t2\tback\none\t0\t10\tall\n"
    found = from_bed(tmp_path, genome, rows)
    assert shown(found) == [
        ("last", "TCAAA"),
        ("one:0-4", "AACC"),
        ("one:4-8", "GGTT"),
        ("none", ""),
        ("far", ""),
        ("gone", ""),
        ("back", ""),
        ("all", "AACCGGTTAC"),
    ]
    assert [query.problem for query in found[3:7]] == [
        "empty interval: start and end are both 3",
        "beyond the record: it reaches to base 11 of `one`, which has 10",
        "unknown record: the genome has no `three`",
        "invalid interval: the start 5 is after the end 2",
    ]


def test_a_variant_is_a_pair_of_windows(tmp_path: Path) -> None:
    rows = "##x\n#CHROM\tPOS\tID\tREF\tALT\nc\t5\t.\tG\tT,GAA\nc\t1\t.\tAA\tA\tq\n"
    rows += "c\t5\t.\tA\tT\nc\t5\t.\tG\t<DEL>\nc\t99\t.\tG\tT\nc\t11\t.\tN\tA\nc\t10\t.\tc\tg\n"
    found = from_vcf(tmp_path, ">c\nAACCGGTTAC\n", rows, 2)
    assert shown(found[:6]) == [
        ("c:5:G>T:ref", "CCGGT"),
        ("c:5:G>T:alt", "CCTGT"),
        ("c:5:G>GAA:ref", "CCGGT"),
        ("c:5:G>GAA:alt", "CCGAAGT"),
        ("c:1:AA>A:ref", "AACC"),
        ("c:1:AA>A:alt", "ACC"),
    ]
    assert [query.problem for query in found[6:-2:2]] == [
        "reference mismatch: the genome has `G` there",
        "symbolic allele: `<DEL>` names no sequence",
        "beyond the record: it reaches to base 99 of `c`, which has 10",
        "telomere: position 11 is behind the last base",
    ]
    assert shown(found[-2:]) == [("c:10:c>g:ref", "TAC"), ("c:10:c>g:alt", "TAG")]


@pytest.mark.parametrize(
    ("known", "named", "hint"),
    [
        ("1", "chr1", "differ by `chr`.*`chr1` to `1`"),
        ("chr1", "1", "differ by `chr`.*`1` to `chr1`"),
        ("MT", "chrM", "`chrM` is probably `MT`"),
        ("NC_000913.3", "NC_000913.2", "`NC_000913.2` is probably `NC_000913.3`"),
        ("Chr01", "chr1", "`chr1` is probably `Chr01`"),
        ("one", "two", "coordinates"),
    ],
)
def test_rows_on_unknown_records_alone_are_refused(
    known: str, named: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"`{named}`, the genome `{known}`") as failure:
        from_bed(tmp_path, f">{known}\nACGT\n", f"{named}\t0\t2\n{named}\t3\t2\n")
    assert failure.value.hint is not None
    assert re.search(hint, failure.value.hint)


def test_a_record_that_occurs_twice_is_refused_only_where_it_is_named(tmp_path: Path) -> None:
    genome = ">a\nAC\n>b\nGT\n>b\nTT\n"
    assert shown(from_bed(tmp_path, genome, "a\t0\t2\n")) == [("a:0-2", "AC")]
    with pytest.raises(FastaError, match="several records of the id `b`"):
        from_bed(tmp_path, genome, "a\t0\t2\nb\t0\t1\n")


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    assert from_bed(tmp_path, ">a\nAC\n", "#chrom\tstart\tend\n") == []
