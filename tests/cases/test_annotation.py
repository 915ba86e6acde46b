"""Annotation as people have it: plasmid editors, Prokka."""

from __future__ import annotations

import pytest

from genomeformer_cli.core.sequence import reverse_complement
from tests.annotations import genbank, gff
from tests.cut_windows import ALL, DNA, LENGTH, SMALL, Cut, bases, span
from tests.failures import assert_failure


def plasmid(*features: str, circular: bool = False) -> str:
    return genbank(DNA, "source 1..1200", *features, circular=circular)


@pytest.mark.parametrize("strand", ["", "complement"], ids=["case-40", "case-40-minus"])
def test_a_gene_written_backwards_crosses_the_origin(strand: str, cut: Cut) -> None:
    both = []
    for place in ("1100..120", "join(1100..1200,1..120)"):
        place = f"complement({place})" if strand else place
        text = plasmid(
            f"gene {place} /locus_tag=G1",
            f"CDS {place} /locus_tag=G1 /codon_start=1",
            "gene 400..700 /locus_tag=G2",
            "CDS 400..700 /locus_tag=G2 /codon_start=1",
            circular=True,
        )
        both.append((cut.rows(text, ALL, *SMALL), cut.sequences))
        assert cut.result["features"]["used"] == 4
    assert both[0] == both[1]
    rows = both[0][0]
    assert bases(rows, "intergenic") <= span(126, 394) | span(706, 1094)
    assert len([row for row in rows if row["label"] == "intergenic"]) >= 8
    assert {
        (row["label"], row["start"], row["end"]) for row in rows if row["locus_tag"] == "G1"
    } >= (
        {("promoter", "110", "140"), ("terminator", "1079", "1109")}
        if strand
        else {("promoter", "1079", "1109"), ("terminator", "110", "140")}
    )


def test_a_gene_written_backwards_on_a_linear_record_is_refused(cut: Cut) -> None:
    text = plasmid("gene 400..700 /locus_tag=G2", "CDS 1100..120 /locus_tag=G1")
    done = cut.finish(text, fasta=False)
    assert_failure(
        done, "line 8", "`X.1`", "CDS `G1`", "base 1,100 to 120", "not marked as a circle"
    )
    rows = gff("ctg1 gene 400 700 + . ID=g2", "ctg1 CDS 1100 120 + 0 ID=c1")
    done = cut.finish(rows, fasta=True)
    assert_failure(done, "line 3", "`c1` runs backwards", "`ctg1` is not marked as a circle")


@pytest.mark.parametrize(
    ("first", "second", "circular", "start"),
    [
        (
            "complement(join(300..400,500..620))",
            "join(complement(500..620),complement(300..400))",
            False,
            620,
        ),
        (
            "complement(join(1100..1200,1..120))",
            "join(complement(1..120),complement(1100..1200))",
            True,
            120,
        ),
    ],
    ids=["case-42", "case-42-origin"],
)
def test_two_spellings_of_one_place(
    first: str, second: str, circular: bool, start: int, cut: Cut
) -> None:
    both = []
    for place in (first, second):
        text = plasmid(f"CDS {place} /locus_tag=G1 /codon_start=2", circular=circular)
        rows = cut.rows(text, "coding,promoter,terminator", *SMALL, length=30)
        both.append((rows, cut.sequences))
    assert both[0] == both[1]
    rows, sequences = both[0]
    frame = coding_frame(first, circular, codon_start=2)
    for row, sequence in zip(rows, sequences, strict=True):
        if row["label"] == "coding":
            phase = int(row["phase"])
            at = [base % LENGTH for base in range(int(row["start"]), int(row["end"]))][::-1]
            assert [frame[base] for base in at] == [(n - phase) % 3 for n in range(30)]
            assert sequence == reverse_complement((DNA + DNA)[int(row["start"]) : int(row["end"])])
        if row["label"] == "promoter":
            assert int(row["start"]) == start - 10


def coding_frame(location: str, circular: bool, codon_start: int) -> dict[int, int]:
    """Codon position of every base of a minus-strand CDS, counted base by base."""
    inner = location.removeprefix("complement(join(").removesuffix("))")
    order: list[int] = []
    for piece in inner.split(","):
        first, last = map(int, piece.split(".."))
        order += range(first - 1, last)
    assert circular or order == sorted(order)
    return {base: (n - codon_start + 1) % 3 for n, base in enumerate(reversed(order))}


@pytest.mark.parametrize(
    "locus",
    [
        "LOCUS       NODE_1_length_1200_cov_27.667845001200 bp   DNA     linear       11-NOV-2020",
        "LOCUS       NODE_1_length_1200_cov_27.6678 1200 bp   DNA linear\n11-NOV-2020",
        "LOCUS       pUC_x 1200 bp ds-DNA circular 05-DEC-2023",
    ],
    ids=["case-44-glued", "case-44-wrapped", "case-44-free"],
)
def test_locus_lines_that_do_not_keep_to_columns(locus: str, cut: Cut) -> None:
    lines = plasmid("CDS 620..700 /locus_tag=OK /codon_start=1").split("\n")
    rows = cut.rows("\n".join([locus, *lines[1:]]), "coding", length=30)
    assert len(rows) == 2
    assert {row["record"] for row in rows} == {"X.1"}
    nameless = [line for line in lines[1:] if not line.startswith(("ACCESSION", "VERSION"))]
    rows = cut.rows("\n".join([locus, *nameless]), "coding", length=30)
    name = locus.split()[1].removesuffix("1200")
    assert {row["record"] for row in rows} == {name}


@pytest.mark.parametrize(
    ("location", "blocked"),
    [
        ("join(J00194.1:100..202,500..700)", span(500, 700)),
        ("one-of(490,500)..700", span(490, 700)),
        ("(490.500)..700", span(490, 700)),
        ("bond(500,700)", span(500, 700)),
        ("order(500..520,680..700)", span(500, 700)),
        ("500..one-of(690,700)", span(500, 700)),
        ("500..(690.700)", span(500, 700)),
        ("500.700", span(500, 700)),
        ("one-of(500..600,650..700)", span(500, 700)),
        ("500^700", span(500, 700)),
        ("group(500..520,680..700)", span(500, 700)),
        ("join(500..520,gap(10),680..700)", span(500, 700)),
        (">500..700", span(500, 700)),
        ("500..<700", span(500, 700)),
        ("<500..>700", span(500, 700)),
        ("500..600,650..700", span(500, 700)),
        ("join(500..600,650..700", span(500, 700)),
        ("complement((490.500)..700)", span(490, 700)),
        ("join(complement(one-of(490,500)..520),680..700)", span(490, 700)),
        ("join(680..700,500..520)", span(500, 700)),
        ("join(500..520,complement(J00194.1:1..5),complement(680..700))", span(500, 700)),
        ("join(500..520,\n                     680..700)", span(500, 700)),
    ],
    ids=lambda value: f"case-46-{value}" if isinstance(value, str) else "",
)
def test_what_is_not_understood_is_not_intergenic(
    location: str, blocked: set[int], cut: Cut
) -> None:
    kind = ("CDS", "gene", "mystery")[len(location) % 3]
    text = plasmid("gene 20..22 /locus_tag=PLACEHOLDER", "CDS 800..1000 /locus_tag=OK")
    text = text.replace("gene            20..22", f"{kind:<16}{location}")
    rows = cut.rows(text, "coding,intergenic", "--margin", "5", length=60)
    near = {at + shift for at in blocked for shift in (-5, 5)} | blocked
    intergenic = bases(rows, "intergenic")
    assert not intergenic & (near | span(795, 1005))
    assert intergenic & span(1, 300)
    assert intergenic & span(1010, 1200)
    counts = cut.result["features"]
    assert counts["read"] == 3 == counts["used"] + sum(counts["left_out"].values())
    understood = ("order", "<500", "join(500..520,\n")
    unclear = int(not location.startswith(understood))
    assert counts["left_out"].get("location not understood", 0) == unclear
    assert ("1 feature left out" in cut.err) == bool(unclear)
    if unclear:
        assert {row["locus_tag"] for row in rows if row["label"] == "coding"} == {"OK"}


@pytest.mark.parametrize(
    "location",
    [
        *("J00194.1:100..202", "gap(10)", "abc", "one-of(J1.1:5..9)"),
        *("500..abc", "..700", "500..", "join(500..520,abc)", "complement(join(5..9,500..x))"),
    ],
    ids="case-46-{}".format,
)
def test_a_place_of_which_nothing_is_known_may_be_anywhere(location: str, cut: Cut) -> None:
    text = plasmid(f"gene {location} /locus_tag=REM", "CDS 800..1000 /locus_tag=OK")
    rows = cut.rows(text, "coding,intergenic", "--margin", "5")
    assert {row["label"] for row in rows} == {"coding"}
    assert cut.result["features"]["left_out"] == {
        "type describes the record": 1,
        "location names no base of the record": 1,
    }
    assert "no intergenic windows from their records" in cut.err
