"""GFF3 features: coordinates, parts, attributes and parents."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import AnnotationError
from genomeformer_cli.core.formats.feature import MINUS, PLUS, UNSTRANDED, Kind, Part
from tests.annotations import gff, gff_records, read_text


def features(text: str) -> list[object]:
    return [
        (one.kind, one.parts, one.id) for record in gff_records(text) for one in record.features
    ]


def test_coordinates_are_one_based_and_inclusive_there() -> None:
    (found,) = features(gff("c gene 1 9 + . ID=g"))
    assert found == (Kind.GENE, (Part(0, 9, PLUS),), "g")


def test_lines_of_one_id_are_one_feature_and_keep_their_phases() -> None:
    text = gff("c CDS 21 29 - 1 ID=p", "c CDS 1 10 - 0 ID=p", "c CDS 41 49 - 0 ID=q")
    assert [one[1] for one in features(text)] == [  # type: ignore[index]
        (Part(0, 10, MINUS, 0), Part(20, 29, MINUS, 1)),
        (Part(40, 49, MINUS, 0),),
    ]


def test_lines_without_an_id_are_features_of_their_own() -> None:
    text = gff("c tRNA 1 9 + . Name=a", "c tRNA 11 19 ? . Name=a")
    assert [one[1] for one in features(text)] == [  # type: ignore[index]
        (Part(0, 9, PLUS),),
        (Part(10, 19, UNSTRANDED),),
    ]


def test_types_that_describe_the_record_are_counted_and_unknown_ones_are_places() -> None:
    (record,) = gff_records(gff("c region 1 9 + . ID=r", "c mystery 1 9 + . ID=s"))
    assert record.num_described == 1
    assert [(one.kind, one.id) for one in record.features] == [(Kind.PLACE, "s")]
    assert not record.has_genes


def test_escapes_are_decoded() -> None:
    text = gff("c%20d gene 1 9 + . ID=a%3Bb;gene=x%2Cy")
    (record,) = gff_records(text)
    assert (record.id, record.features[0].id, record.features[0].gene) == ("c d", "a;b", "x,y")


@pytest.mark.parametrize(
    ("row", "gene"),
    [
        ("c gene 1 9 + . gene=dnaA;Name=x", "dnaA"),
        ("c gene 1 9 + . Name=dnaA;locus_tag=b1", "dnaA"),
        ("c gene 1 9 + . Name=b1;locus_tag=b1", ""),
        ("c CDS 1 9 + 0 Name=WP_1.1", ""),
    ],
)
def test_a_symbol_is_neither_a_tag_nor_a_protein(row: str, gene: str) -> None:
    (record,) = gff_records(gff(row))
    assert record.features[0].gene == gene


def test_children_of_a_pseudogene_are_pseudo() -> None:
    text = gff(
        "c pseudogene 1 30 + . ID=g",
        "c mRNA 1 30 + . ID=m;Parent=g",
        "c CDS 1 30 + 0 ID=p;Parent=m",
        "c CDS 41 49 + 0 ID=q;pseudo=true",
        "c CDS 51 59 + 0 ID=r",
    )
    (record,) = gff_records(text)
    assert {one.id: one.pseudo for one in record.features if one.kind is Kind.CDS} == {
        "p": True,
        "q": True,
        "r": False,
    }


@pytest.mark.parametrize(
    ("attributes", "plus", "minus"),
    [
        ("partial=true;start_range=.,1", (True, False), (False, True)),
        ("partial=true;end_range=9,.", (False, True), (True, False)),
        ("partial=true", (True, True), (True, True)),
        ("Name=whole", (False, False), (False, False)),
    ],
)
def test_open_ends_follow_the_strand(
    attributes: str, plus: tuple[bool, bool], minus: tuple[bool, bool]
) -> None:
    for sign, expected in (("+", plus), ("-", minus)):
        text = gff(f"c gene 1 9 {sign} . ID=g;{attributes}")
        (record,) = gff_records(text)
        assert (record.features[0].open_5, record.features[0].open_3) == expected


def test_sequence_after_the_annotation_is_not_read_as_lines() -> None:
    text = gff("c gene 1 9 + . ID=g") + "##FASTA\n>c\nACGT\n"
    assert len(features(text)) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("c test gene 1 9", "line 2 has 1 columns"),
        ("c\tt\tgene\t9\t1\t.\t+\t.\tID=g", "from `9` to `1`"),
        ("c\tt\tgene\t0\t9\t.\t+\t.\tID=g", "from `0` to `9`"),
        ("c\tt\tgene\tone\t9\t.\t+\t.\tID=g", "from `one` to `9`"),
        ("c\tt\tgene\t.\t9\t.\t+\t.\tID=g", "from `.` to `9`"),
        ("c\tt\tgene\t1\t9\t.\tx\t.\tID=g", "strand `x`"),
        ("c\tt\tCDS\t1\t9\t.\t+\t3\tID=g", "phase `3`"),
        ('c\tt\tgene\t1\t9\t.\t+\t.\tgene_id "g";', "GTF"),
    ],
)
def test_an_invalid_line_is_named(line: str, words: str) -> None:
    with pytest.raises(AnnotationError, match=r"x\.gff") as failure:
        gff_records(f"##gff-version 3\n{line}")
    assert words in failure.value.message


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (("c CDS 41 59 + 1 ID=p",), Part(40, 59, PLUS, 1)),
        (("c CDS 41 50 + 1 ID=p", "c CDS 1 9 + 0 ID=p"), Part(40, 59, PLUS, 1)),
        (("c CDS 41 50 - 2 ID=p", "c CDS 1 9 - 1 ID=p"), Part(40, 59, MINUS, 1)),
    ],
)
def test_a_feature_across_the_origin_goes_past_the_length(
    rows: tuple[str, ...], part: Part, tmp_path: Path
) -> None:
    """Written in either way; the phase is that of its own 5' end."""
    text = gff(*rows, circular=("c", 50))
    (record,) = read_text(tmp_path, text, ">c\n" + "A" * 50 + "\n")
    assert [one.parts for one in record.features] == [(part,)]
