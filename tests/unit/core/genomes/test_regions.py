"""Regions of a genome as sequences: order, strand, alleles, and reasons for rows without one."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import FastaError, InputError
from genomeformer_cli.core.formats.bed import read_bed
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.formats.vcf import read_variants
from genomeformer_cli.core.genomes.regions import (
    RegionReader,
    bed_regions,
    region_queries,
    vcf_regions,
)
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


def test_rows_in_the_order_of_the_genome_are_cut_when_their_turn_comes(tmp_path: Path) -> None:
    (tmp_path / "g.fa").write_text(">a\nAACC\n>b\nGGTT\n>c\nACGT\n")
    (tmp_path / "r.bed").write_text("a\t0\t2\nb\t0\t2\na\t2\t4\nx\t0\t1\nc\t1\t3\n")
    rows = bed_regions(read_bed(tmp_path / "r.bed"))
    reader = RegionReader(rows, NamedFile(tmp_path / "g.fa", "g.fa"), "r.bed")
    expected = [("a:0-2", "AA"), ("b:0-2", "GG"), ("a:2-4", "CC"), ("x:0-1", ""), ("c:1-3", "CG")]
    first = reader.read()
    assert shown([next(first)]) == expected[:1]
    assert shown(list(first)) == expected[1:]
    # The second reading knows that the genome has no `x`, and waits for nothing.
    again = reader.read()
    assert shown([next(again) for _ in rows]) == expected
    assert [query.problem.partition(":")[0] for query in reader.read()][3] == "unknown record"


@given(st.data())
def test_any_order_of_rows_is_kept(data: st.DataObject) -> None:
    names = ["a", "b", "c", "x"]
    order = data.draw(st.lists(st.sampled_from(names), max_size=12))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.fa"
        path.write_text(">a\nAACC\n>b\nGGTT\n>c\nACGT\n")
        (Path(folder) / "r.bed").write_text("".join(f"{name}\t0\t2\n" for name in [*order, "a"]))
        rows = bed_regions(read_bed(Path(folder) / "r.bed"))
        reader = RegionReader(rows, NamedFile(path, "g.fa"), "r.bed")
        bases = {"a": "AA", "b": "GG", "c": "AC", "x": ""}
        expected = [(f"{name}:0-2", bases[name]) for name in [*order, "a"]]
        assert shown(list(reader.read())) == expected
        assert shown(list(reader.read())) == expected
