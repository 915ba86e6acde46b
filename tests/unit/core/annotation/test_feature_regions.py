"""Sequences of features: equal to those that Biopython cuts, on both strands, across the origin."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from Bio import SeqIO

from genomeformer_cli.core.annotation.feature_regions import FeatureRules, feature_queries
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.errors import AnnotationError, UsageError
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import decode_bases, reverse_complement
from tests.annotations import MYCOPLASMA_FASTA, MYCOPLASMA_GENBANK, MYCOPLASMA_GFF, genbank, gff

NUM_FEATURES = 1_000
_parse: Callable[..., Iterator[Any]] = SeqIO.parse
LENGTH = 20_000


@dataclass(frozen=True)
class Drawn:
    """Feature as drawn: exons ascend, past the length where they cross the origin."""

    exons: tuple[tuple[int, int], ...]
    minus: bool

    def location(self) -> str:
        """Location as GenBank writes it: ranges that end at the origin and begin after it."""
        ranges = []
        for start, end in self.exons:
            if start < LENGTH < end:
                ranges += [(start, LENGTH), (0, end - LENGTH)]
            else:
                ranges.append((start % LENGTH, start % LENGTH + end - start))
        words = ",".join(f"{start + 1}..{end}" for start, end in ranges)
        words = f"join({words})" if len(ranges) > 1 else words
        return f"complement({words})" if self.minus else words

    def rows(self, number: int) -> list[str]:
        """Lines of GFF3, one per exon; an end past the length crosses the origin."""
        sign = "-" if self.minus else "+"
        on_record = [(start % LENGTH, start % LENGTH + end - start) for start, end in self.exons]
        return [
            f"X.1 CDS {start + 1} {end} {sign} 0 ID=c{number};locus_tag=T{number}"
            for start, end in on_record
        ]


def draw_features(draw: random.Random, *, circular: bool) -> list[Drawn]:
    """Draw features of one to three exons anywhere on a record."""
    drawn = []
    for _ in range(NUM_FEATURES // 2):
        cuts = sorted(draw.sample(range(1, 400), 2 * draw.choice((1, 1, 2, 3))))
        origin = draw.random() < 0.1
        start = draw.randrange(LENGTH if circular else LENGTH - 400)
        if circular and origin:
            start = LENGTH - draw.randrange(1, 400)
        exons = [
            (start + low, start + high) for low, high in zip(cuts[::2], cuts[1::2], strict=True)
        ]
        drawn.append(Drawn(tuple(exons), draw.random() < 0.5))
    return drawn


def cut(path: Path, *types: str, fasta: Path | None = None, **flanks: int) -> list[Query]:
    """Return the sequences of the features of an annotation."""
    records = annotated_records(fasta, path, reporter=SilentReporter(), needs_genes=False)
    rules = FeatureRules(types=types, **flanks)
    return list(feature_queries(records, rules, display_name=path.name))


@pytest.mark.parametrize("circular", [False, True], ids=["linear", "circular"])
@pytest.mark.parametrize("form", ["genbank", "gff"])
def test_random_features_are_those_of_biopython(circular: bool, form: str, tmp_path: Path) -> None:
    draw = random.Random(f"features {circular}")
    dna = "".join(draw.choices("ACGT", k=LENGTH))
    drawn = draw_features(draw, circular=circular)
    text = genbank(
        dna,
        *(f"CDS {one.location()} /locus_tag=T{number}" for number, one in enumerate(drawn)),
        circular=circular,
    )
    expected = next(_parse(StringIO(text), "genbank"))
    path, fasta = tmp_path / "annotation", tmp_path / "x.fa"
    fasta.write_text(f">X.1\n{dna}\n")
    path.write_text(text)
    if form == "gff":
        rows = [row for number, one in enumerate(drawn) for row in one.rows(number)]
        path.write_text(gff(*rows, circular=("X.1", LENGTH) if circular else None))
    queries = cut(path, "cds", fasta=fasta if form == "gff" else None)
    assert [query.id for query in queries] == [f"T{number}" for number in range(len(drawn))]
    crossing = 0
    for query, feature, one in zip(queries, expected.features, drawn, strict=True):
        assert not query.problem, (query.id, one)
        assert decode_bases(query.codes) == str(feature.extract(expected.seq)), (query.id, one)
        region = query.region
        assert region is not None
        start = one.exons[0][0]
        assert (region.start, region.end - region.start) == (
            start % LENGTH,
            one.exons[-1][1] - start,
        )
        assert region.strand == ("-" if one.minus else "+")
        crossing += region.end > LENGTH
    assert bool(crossing) == circular


@pytest.mark.parametrize("path", [MYCOPLASMA_GFF, MYCOPLASMA_GENBANK], ids=["gff", "genbank"])
def test_a_real_genome_has_the_sequences_of_biopython(path: Path) -> None:
    with gzip.open(MYCOPLASMA_FASTA, "rt") as file:
        dna = next(_parse(file, "fasta")).seq
    with gzip.open(MYCOPLASMA_GENBANK, "rt") as file:
        record = next(_parse(file, "genbank"))
    expected = {
        feature.qualifiers["locus_tag"][0]: str(feature.extract(dna))
        for feature in record.features
        if feature.type == "gene"
    }
    found = {
        query.id: decode_bases(query.codes) for query in cut(path, "gene", fasta=MYCOPLASMA_FASTA)
    }
    assert found == expected
    assert len(found) > 500


def test_flanks_are_on_the_strand_and_end_with_a_linear_record(tmp_path: Path) -> None:
    dna = "".join(random.Random(3).choices("ACGT", k=300))
    path = tmp_path / "x.gb"
    path.write_text(
        genbank(
            dna,
            "gene 101..150 /locus_tag=P",
            "gene complement(101..150) /locus_tag=M",
            "gene 1..30 /locus_tag=E",
        )
    )
    extended = cut(path, "gene", upstream=20, downstream=5)
    assert [decode_bases(query.codes) for query in extended] == [
        dna[80:155],
        reverse_complement(dna[95:170]),
        dna[:35],
    ]
    around = cut(path, "promoter", upstream=20, downstream=5)
    assert [decode_bases(query.codes) for query in around] == [
        dna[80:105],
        reverse_complement(dna[145:170]),
        dna[:5],
    ]
    after = cut(path, "terminator", upstream=5, downstream=20)
    assert [decode_bases(query.codes) for query in after] == [
        dna[145:170],
        reverse_complement(dna[80:105]),
        dna[25:50],
    ]
    assert [query.region.feature for query in after if query.region] == ["terminator"] * 3
    assert [query.region.strand for query in around if query.region] == ["+", "-", "+"]


def test_flanks_cross_the_origin_of_a_circle_at_most_once(tmp_path: Path) -> None:
    dna = "".join(random.Random(4).choices("ACGT", k=100))
    path = tmp_path / "x.gb"
    path.write_text(genbank(dna, "gene 6..20 /locus_tag=A", circular=True))
    (query,) = cut(path, "gene", upstream=10, downstream=3)
    assert decode_bases(query.codes) == dna[95:] + dna[:23]
    assert query.region is not None
    assert (query.region.start, query.region.end) == (95, 123)
    (whole,) = cut(path, "gene", upstream=10, downstream=500)
    assert decode_bases(whole.codes) == dna[95:] + dna[:95]


def test_a_feature_without_a_sequence_keeps_its_row_with_the_reason(tmp_path: Path) -> None:
    dna = "ACGTTGCA" * 10
    path = tmp_path / "x.gb"
    path.write_text(
        genbank(
            dna,
            "gene one-of(3,5)..20 /locus_tag=U",
            "gene <1..20 /locus_tag=O",
            "gene complement(61..>80) /locus_tag=R",
        )
    )
    reasons = [query.problem.partition(":")[0] for query in cut(path, "promoter")]
    assert reasons == ["unclear location", "open end", "open end"]
    assert [query.codes.size for query in cut(path, "gene")] == [0, 20, 20]
    beyond = tmp_path / "b.gb"
    beyond.write_text(genbank(dna, "gene complement(61..80) /locus_tag=R"))
    (query,) = cut(beyond, "promoter", upstream=9, downstream=0)
    assert query.problem.startswith("beyond the record")


def test_ids_of_several_types_differ(tmp_path: Path) -> None:
    path = tmp_path / "x.gb"
    path.write_text(genbank("ACGT" * 20, "gene 3..20 /locus_tag=A", "CDS 3..20 /locus_tag=A"))
    assert [query.id for query in cut(path, "gene", "CDS")] == ["A:gene", "A:CDS"]
    assert [query.id for query in cut(path, "CDS")] == ["A"]


def test_an_unknown_type_names_those_of_the_annotation(tmp_path: Path) -> None:
    path = tmp_path / "x.gb"
    path.write_text(genbank("ACGT" * 20, "gene 3..20 /locus_tag=A", "CDS 3..20 /locus_tag=A"))
    with pytest.raises(AnnotationError, match="no features for `--feature trna`") as failure:
        cut(path, "tRNA")
    assert failure.value.hint is not None
    assert "`gene` (1), `CDS` (1)" in failure.value.hint
    with pytest.raises(UsageError, match="no type"):
        FeatureRules(types=())
    with pytest.raises(UsageError, match="--upstream -1"):
        FeatureRules(types=("gene",), upstream=-1)


def test_exons_on_both_strands_need_an_order(tmp_path: Path) -> None:
    dna = "".join(random.Random(5).choices("ACGT", k=100))
    path, fasta = tmp_path / "x", tmp_path / "x.fa"
    path.write_text(genbank(dna, "CDS join(complement(50..61),11..20) /locus_tag=A"))
    (query,) = cut(path, "CDS")
    record = next(_parse(StringIO(path.read_text()), "genbank"))
    assert decode_bases(query.codes) == str(record.features[0].extract(record.seq))
    assert query.region is not None
    assert query.region.strand == "."
    fasta.write_text(f">X.1\n{dna}\n")
    path.write_text(gff("X.1 CDS 50 61 - 0 ID=a", "X.1 CDS 11 20 + 0 ID=a"))
    (query,) = cut(path, "CDS", fasta=fasta)
    assert query.problem.startswith("order of parts unknown")


def test_drawn_exons_ascend() -> None:
    for one in draw_features(random.Random(1), circular=True):
        assert all(low[1] < high[0] for low, high in pairwise(one.exons))


def test_parts_of_a_cds_without_an_id_share_their_parent(tmp_path: Path) -> None:
    dna = "".join(random.Random(6).choices("ACGT", k=100))
    path, fasta = tmp_path / "x.gff", tmp_path / "x.fa"
    fasta.write_text(f">X.1\n{dna}\n")
    path.write_text(
        gff(
            "X.1 mRNA 11 60 - . ID=m1",
            "X.1 CDS 11 20 - 0 Parent=m1",
            "X.1 CDS 41 60 - 0 Parent=m1",
            "X.1 CDS 71 79 + 0 Parent=m2",
            "X.1 exon 81 85 + . Parent=m2",
            "X.1 exon 91 95 + . Parent=m2",
        )
    )
    found = [(query.id, decode_bases(query.codes)) for query in cut(path, "CDS", fasta=fasta)]
    assert found == [("m1", reverse_complement(dna[10:20] + dna[40:60])), ("m2", dna[70:79])]
    assert len(cut(path, "exon", fasta=fasta)) == 2
