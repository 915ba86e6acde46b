"""GenBank features: locations, phases, strands and circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import AnnotationError
from genomeformer_cli.core.formats.feature import MINUS, PLUS, UNSTRANDED, Feature, Kind, Part
from tests.annotations import genbank, genbank_records, read_text

DNA = "ACGTTGCAAC" * 10


def features(*texts: str, circular: bool = False) -> list[Feature]:
    text = genbank(DNA, *texts, circular=circular)
    (record,) = genbank_records(text)
    return record.features


@pytest.mark.parametrize(
    ("location", "parts"),
    [
        ("1..9", [(0, 9, PLUS, 0)]),
        ("complement(1..9)", [(0, 9, MINUS, 0)]),
        ("join(1..10,21..30)", [(0, 10, PLUS, 0), (20, 30, PLUS, 2)]),
        ("complement(join(1..10,21..30))", [(0, 10, MINUS, 2), (20, 30, MINUS, 0)]),
        ("join(complement(21..30),complement(1..10))", [(0, 10, MINUS, 2), (20, 30, MINUS, 0)]),
        ("order(1..9,21..30)", [(0, 9, PLUS, 0), (20, 30, PLUS, None)]),
        ("complement(order(1..9,21..30))", [(0, 9, MINUS, None), (20, 30, MINUS, 0)]),
        ("join(1..10,10..30)", [(0, 10, PLUS, 0), (9, 30, PLUS, 2)]),
    ],
)
def test_locations_become_parts_with_phases(
    location: str, parts: list[tuple[int, int, int, int | None]]
) -> None:
    (one,) = features(f"CDS {location}")
    assert one.parts == tuple(Part(*part) for part in parts)


def test_codon_start_is_a_phase() -> None:
    (one,) = features("CDS join(1..10,21..30) /codon_start=3")
    assert [part.phase for part in one.parts] == [2, 1]
    (odd,) = features("CDS 1..10 /codon_start=7")
    assert [part.phase for part in odd.parts] == [None]


def test_a_feature_on_both_strands_has_none() -> None:
    (one,) = features("gene join(complement(21..30),41..50)")
    assert one.strand == UNSTRANDED


@pytest.mark.parametrize(
    ("location", "open_5", "open_3"),
    [
        ("<1..9", True, False),
        ("1..>9", False, True),
        ("complement(<1..9)", False, True),
        ("complement(1..>9)", True, False),
        ("join(<1..9,21..30)", True, False),
        ("complement(join(<1..9,21..30))", False, True),
    ],
)
def test_open_ends_follow_the_strand(location: str, open_5: bool, open_3: bool) -> None:
    (one,) = features(f"gene {location}")
    assert (one.open_5, one.open_3) == (open_5, open_3)


def test_features_with_the_tag_of_a_pseudogene_are_pseudo() -> None:
    found = features(
        'gene 1..30 /locus_tag="a" /pseudo',
        'CDS 1..30 /locus_tag="a"',
        'CDS 41..49 /locus_tag="b" /pseudogene="unknown"',
        'CDS 51..59 /locus_tag="c"',
    )
    pseudo = {one.locus_tag: one.pseudo for one in found if one.kind is Kind.CDS}
    assert pseudo == {"a": True, "b": True, "c": False}


def test_locations_between_bases_or_on_other_records_are_unclear() -> None:
    text = genbank(DNA, "gene 5^6", "gene J00194.1:1..5", "gene 7..9", "source 1..9")
    (record,) = genbank_records(text)
    assert [(one.parts, one.unclear) for one in record.features] == [
        ((Part(4, 6, PLUS),), "5^6"),
        ((Part(6, 9, PLUS),), ""),
    ]
    assert (record.placeless, record.num_described, record.num_features) == (("gene",), 1, 4)


@pytest.mark.parametrize(
    ("location", "part"),
    [
        ("join(91..100,1..9)", Part(90, 109, PLUS, 0)),
        ("complement(join(91..100,1..9))", Part(90, 109, MINUS, 0)),
        ("join(complement(1..9),complement(91..100))", Part(90, 109, MINUS, 0)),
    ],
)
def test_across_the_origin_of_a_circle_two_parts_are_one(
    location: str, part: Part, tmp_path: Path
) -> None:
    text = genbank(DNA, f"CDS {location}", circular=True)
    (record,) = read_text(tmp_path, text)
    assert [one.parts for one in record.features] == [(part,)]


def test_an_intron_across_the_origin_stays_one(tmp_path: Path) -> None:
    text = genbank(DNA, "CDS join(81..90,11..19)", circular=True)
    (record,) = read_text(tmp_path, text)
    assert record.features[0].parts == (Part(80, 90, PLUS, 0), Part(110, 119, PLUS, 2))


def test_damage_is_an_error_with_its_line() -> None:
    text = genbank(DNA, "gene 1..9") + genbank(DNA, "gene 1..9")[:150]
    with pytest.raises(AnnotationError, match=r"`x\.gb` .* record 2"):
        genbank_records(text)
    text = genbank(DNA, "gene 1..9").replace("100 bp", "120 bp")
    with pytest.raises(AnnotationError, match="has 100 bases, but 120 in its LOCUS line"):
        genbank_records(text)
