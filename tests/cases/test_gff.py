"""Dialects of GFF3, and what is refused."""

from __future__ import annotations

import json

import pytest

from tests.annotations import gff
from tests.cut_windows import ALL, DNA, LENGTH, SMALL, Cut, Row, bases, span
from tests.failures import assert_failure

WITH_GENE = gff("ctg1 gene 300 620 + . ID=g1;Name=abc", "ctg1 CDS 300 620 + 0 ID=c1;Parent=g1")


def coding(rows: list[Row]) -> list[tuple[int, int, str]]:
    return [(int(row["start"]), int(row["end"]), row["phase"]) for row in rows]


@pytest.mark.parametrize(
    "heading",
    ["##FASTA\n", "##FASTA  \n", "##fasta\r\n", ""],
    ids=["case-50", "case-50-blanks", "case-50-crlf", "case-50-no-directive"],
)
def test_sequences_after_the_annotation_are_used(heading: str, cut: Cut) -> None:
    whole = f"{WITH_GENE}{heading}>ctg1 a\n{DNA[:600]}\n{DNA[600:]}\n"
    alone = cut.rows(whole, "coding")
    assert len(alone) == 5
    assert [one in DNA for one in cut.sequences] == [True] * 5
    assert all(int(row["phase"]) == (299 - int(row["start"])) % 3 for row in alone)
    other = f"{WITH_GENE}{heading}>ctg1 a\n{'A' * LENGTH}\n"
    overridden = cut.rows(other, "coding", fasta=True)
    assert len(overridden) == 5
    assert [one in DNA for one in cut.sequences] == [True] * 5


def test_gff_without_sequences_or_with_annotation_after_them_is_refused(cut: Cut) -> None:
    assert_failure(cut.finish(WITH_GENE, fasta=False), "no `##FASTA` section", hint="--fasta")
    joined = f"{WITH_GENE}##FASTA\n>ctg1\n{DNA}\n{WITH_GENE}"
    for fasta in (False, True):
        assert_failure(cut.finish(joined, fasta=fasta), "line 8 is annotation after the sequences")


READ: dict[str, str | bytes] = {
    "spaces": WITH_GENE.replace(";", " ; ").replace("ID=", "ID = "),
    "quoted": WITH_GENE.replace("ID=c1", 'ID="c1"').replace("Parent=g1", 'Parent="g1"'),
    "bom": "\ufeff" + WITH_GENE,
    "crlf": WITH_GENE.replace("\n", "\r\n"),
    "latin": WITH_GENE.encode() + b"ctg1\tx\tgene\t1000\t1100\t.\t+\t.\tID=g;Note=caf\xe9\n",
    "no-version": WITH_GENE.replace("##gff-version 3\n", ""),
    "escapes": WITH_GENE.replace("c1", "c%31").replace("abc", "a%3Bb%2Cc"),
    "lower-case": WITH_GENE.replace("CDS", "cds"),
    "accession": WITH_GENE.replace("CDS", "SO:0000316"),
    "trailing-tab": WITH_GENE.replace("Name=abc", "Name=abc\t"),
    "blank-lines": WITH_GENE.replace("\n", "\n\n"),
    "comments": WITH_GENE.replace("\n", "\n# by hand\n###\n"),
}


@pytest.mark.parametrize("name", READ, ids="case-51-{}".format)
def test_dialects_of_gff3_that_mean_the_same(name: str, cut: Cut) -> None:
    expected = coding(cut.rows(WITH_GENE, "coding", fasta=True))
    assert len(expected) == 5
    rows = cut.rows(READ[name], "coding", fasta=True)
    assert coding(rows) == expected
    assert {row["feature"] for row in rows} == {"c1"}
    assert cut.err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ctg1\tx\tCDS\t300\t620\t.\t+\t0\n", "line 2 has 8 columns"),
        ("ctg1 x CDS 300 620 . + 0 ID=c1\n", "line 2 has 1 columns"),
        ('ctg1\tx\tCDS\t300\t620\t.\t+\t0\tgene_id "g1"; note "a=b";\n', "line 2 is GTF"),
        ("ctg1\tx\tCDS\t0\t620\t.\t+\t0\tID=c1\n", "line 2 goes from `0` to `620`"),
        ("ctg1\tx\tCDS\t300\t1300\t.\t+\t0\tID=c1\n", "line 2: `c1` ends at base 1,300"),
        ("ctg1\tx\tCDS\t620\t300\t.\t-\t0\tID=c1\n", "line 2 goes from `620` to `300`"),
        ("ctg1\tx\tCDS\t300\t6e2\t.\t+\t0\tID=c1\n", "line 2 goes from `300` to `6e2`"),
        ("ctg1\tx\tCDS\t300\t620\t.\t*\t0\tID=c1\n", "line 2 has strand `*`"),
        ("ctg1.1\tx\tCDS\t300\t620\t.\t+\t0\tID=c1\n", "`ctg1` against `ctg1.1`"),
        ("##gff-version 2\n", "line 2 states GFF version 2"),
    ],
    ids=[
        *("case-51-columns", "case-51-blanks", "case-51-gtf", "case-51-zero", "case-51-beyond"),
        *("case-51-backwards", "case-51-number", "case-51-strand", "case-51-version"),
        "case-51-gff2",
    ],
)
def test_what_is_not_gff3_is_refused_with_its_line(text: str, words: str, cut: Cut) -> None:
    assert_failure(cut.finish(f"##gff-version 3\n{text}", fasta=True), words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("ctg1 CDS 300 620 + . ID=c1", "1 CDS no phase"),
        ("ctg1 CDS 300 620 ? 0 ID=c1", "1 CDS no strand"),
        ("ctg1 CDS 300 620 . . ID=c1", "1 CDS no strand"),
    ],
    ids=["case-51-phase", "case-51-strand-question", "case-51-strand-dot"],
)
def test_a_cds_that_cannot_be_read_in_frame_blocks_and_is_counted(
    row: str, words: str, cut: Cut
) -> None:
    rows = cut.rows(gff(row), "coding,intergenic", "--margin", "5", fasta=True)
    assert {row["label"] for row in rows} == {"intergenic"}
    assert not bases(rows, "intergenic") & span(295, 625)
    assert words in cut.err


def test_case_51_a_pseudogene_in_any_spelling_gives_no_windows_and_is_reported(cut: Cut) -> None:
    """`pseudo=true` among blanks, in quotation marks or in capitals."""
    for spelling in (" pseudo=true", 'pseudo="true"', "pseudo=TRUE", "pseudogene=unknown"):
        done = cut.finish(
            WITH_GENE.replace("Name=abc", spelling), "--classes", "coding", fasta=True
        )
        assert_failure(done, "no window fits", hint="2 of pseudogenes")
    done = cut.finish(WITH_GENE.replace("Name=abc", "gene_biotype=pseudogene"), fasta=True)
    assert {row for row in json.loads(done.out)["counts"].items() if row[1]} == {
        ("intergenic", json.loads(done.out)["counts"]["intergenic"])
    }


CIRCLE = ("ctg1", LENGTH)


def test_case_52_two_spellings_of_a_feature_across_the_origin_in_gff(cut: Cut) -> None:
    """An end past the length, two lines of one ID, or a start after its end."""
    spellings = (
        ("ctg1 CDS 1100 1320 + 0 ID=c1",),
        ("ctg1 CDS 1100 1200 + 0 ID=c1", "ctg1 CDS 1 120 + 1 ID=c1"),
        ("ctg1 CDS 1 120 + 1 ID=c1", "ctg1 CDS 1100 1200 + 0 ID=c1"),
        ("ctg1 CDS 1100 120 + 0 ID=c1",),
    )
    found = []
    for rows in spellings:
        text = gff(*rows, "ctg1 CDS 400 700 - 0 ID=c2", circular=CIRCLE)
        cutting = cut.rows(text, ALL, *SMALL, fasta=True)
        found.append((cutting, cut.sequences))
    assert all(one == found[0] for one in found)
    rows_found = found[0][0]
    assert bases(rows_found, "intergenic") <= span(126, 394) | span(706, 1094)
    assert len([row for row in rows_found if row["label"] == "coding"]) == 8
    done = cut.finish(gff("ctg1 CDS 1100 1320 + 0 ID=c1"), fasta=True)
    assert_failure(done, "line 2", "`c1` ends at base 1,320", "not marked as a circle")


def test_case_52_a_circle_of_another_length_than_its_sequence_is_refused(cut: Cut) -> None:
    """The origin would be elsewhere."""
    text = gff("ctg1 CDS 1100 20 + 0 ID=c1", circular=("ctg1", 1300))
    done = cut.finish(text, fasta=True)
    assert_failure(done, "`ctg1` has 1,300 bases", "1,200 in its sequence")


def test_case_53_the_order_of_lines_of_a_spliced_feature_does_not_matter(cut: Cut) -> None:
    rows = ("ctg1 CDS 300 400 - 1 ID=c1", "ctg1 CDS 500 620 - 0 ID=c1")
    first = cut.rows(gff(*rows), "coding", length=30, fasta=True)
    sequences = cut.sequences
    assert cut.rows(gff(*rows[::-1]), "coding", length=30, fasta=True) == first
    assert cut.sequences == sequences
    assert len(first) == 3 + 4
    slipped = gff("ctg1 CDS 300 400 + 0 ID=c1", "ctg1 CDS 400 620 + 0 ID=c1")
    found = cut.rows(slipped, "coding", length=30, fasta=True)
    frames = {(int(row["phase"]) + int(row["start"])) % 3 for row in found if int(row["end"]) < 400}
    after = {(int(row["phase"]) + int(row["start"])) % 3 for row in found if int(row["end"]) > 400}
    assert (frames, after) == ({299 % 3}, {399 % 3})
    assert all(int(row["end"]) <= 399 or int(row["start"]) >= 400 for row in found)
