"""Annotation as people have it: plasmid editors, Prokka, GFF3 dialects."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.sequence import reverse_complement
from tests.annotations import genbank, gff
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure

LENGTH = 1200
DNA = random_dna(LENGTH, seed=4)
SMALL = ("--promoter", "20,10", "--terminator", "10,20", "--margin", "5")

Row = dict[str, str]


class Cut:
    """Runs `windows` on texts, and reads what it wrote."""

    def __init__(self, run: RunCommand, folder: Path) -> None:
        self._run = run
        self._folder = folder
        (folder / "ctg.fa").write_text(f">ctg1 a\n{DNA}\n", encoding="utf-8")
        self.err = ""
        self.result: dict[str, Any] = {}
        self.sequences: list[str] = []

    def finish(self, text: str | bytes, *options: str, fasta: bool) -> Any:
        path = self._folder / "annotation"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        line = ["windows", "--gff", str(path), "-o", str(self._folder / "x"), "--force"]
        if fasta:
            line += ["--fasta", str(self._folder / "ctg.fa")]
        return self._run(*line, *options, "--json")

    def rows(
        self, text: str | bytes, classes: str, *options: str, length: int = 60, fasta: bool = False
    ) -> list[Row]:
        choice = ("--classes", classes, "--length", str(length), *options)
        done = self.finish(text, *choice, fasta=fasta)
        assert done.exit_code == 0, done.err
        self.err = done.err
        (self.result,) = json.loads(done.out)["genomes"]
        letters = (self._folder / "x.fa").read_text(encoding="utf-8").splitlines()
        self.sequences = letters[1::2]
        with (self._folder / "x.tsv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def cut(run_cli: RunCommand, tmp_path: Path) -> Cut:
    return Cut(run_cli, tmp_path)


def plasmid(*features: str, circular: bool = False) -> str:
    return genbank(DNA, "source 1..1200", *features, circular=circular)


def bases(rows: list[Row], label: str) -> set[int]:
    found = [row for row in rows if row["label"] == label]
    return {at % LENGTH for row in found for at in range(int(row["start"]), int(row["end"]))}


def span(first: int, last: int) -> set[int]:
    """Bases as 1-based coordinates, both included, give them."""
    return set(range(first - 1, last))


ALL = "coding,promoter,terminator,intergenic"


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
