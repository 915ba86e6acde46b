"""VCF files as people have them: every allele has a line in `score` and two rows in `embed`."""

from __future__ import annotations

import bz2
import io
import math
from pathlib import Path

import numpy as np
import pytest

from tests.cli import Finished, RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
BASES = random_dna(120, 20)
Row = dict[str, str]


def other(letter: str) -> str:
    """Return another base."""
    return "ACGT"[("ACGT".index(letter) + 1) % 4]


class Case:
    """A genome and a VCF file, given to both commands."""

    def __init__(self, folder: Path, run_cli: RunCommand) -> None:
        self._folder = folder
        self._run = run_cli
        self.genome(f">c\n{BASES}\n")

    def genome(self, fasta: str) -> None:
        (self._folder / "g.fa").write_text(fasta, encoding="utf-8")

    def run(self, command: str, vcf: bytes | str, *options: str) -> Finished:
        path = self._folder / "v.vcf"
        path.write_bytes(vcf.encode() if isinstance(vcf, str) else vcf)
        line = (command, "--vcf", str(path), "--genome", str(self._folder / "g.fa"))
        return self._run(*line, "--model", RELEASED, *options)

    def score(self, vcf: bytes | str) -> list[Row]:
        """Return the lines of `score`."""
        done = self.run("score", vcf)
        assert done.exit_code == 0, done.err
        head, *lines = [line.split("\t") for line in done.out.splitlines()]
        return [dict(zip(head, line, strict=True)) for line in lines]

    def embed(self, vcf: bytes | str) -> list[bool]:
        """Return, per row of `embed`, whether it has a vector."""
        done = self.run("embed", vcf, "--set", "flank=5")
        assert done.exit_code == 0, done.err
        return [bool(one) for one in np.isfinite(np.load(io.BytesIO(done.stdout))).all(axis=1)]

    def reasons(self, vcf: str) -> dict[str, str]:
        """Return the note of every row by id, checked to agree with the rows of `embed`."""
        rows = self.score(vcf)
        have = self.embed(vcf)
        assert len(have) == 2 * len(rows)
        for row, ref, alt in zip(rows, have[::2], have[1::2], strict=True):
            assert (
                ref == alt == (row["embedding_distance"] != "NA" or "unknown base" in row["note"])
            )
        return {row["id"]: row["note"] for row in rows}


@pytest.fixture
def case(tmp_path: Path, run_cli: RunCommand) -> Case:
    return Case(tmp_path, run_cli)


def row(position: int, identifier: str, ref: str, alt: str, record: str = "c") -> str:
    return f"{record}\t{position}\t{identifier}\t{ref}\t{alt}\t.\tPASS\t.\n"


def snv(position: int, identifier: str = ".") -> str:
    letter = BASES[position - 1]
    return row(position, identifier, letter, other(letter))


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(b"CLNDN=Sj\xf6gren", id="case-20"),
        pytest.param(b"M\xfcller", id="case-attack-06"),
    ],
)
def test_bytes_of_another_encoding_in_info_do_not_matter(case: Case, info: bytes) -> None:
    plain = HEADER + snv(50, "rs1") + snv(60, "rs2")
    odd = (HEADER + snv(50, "rs1")).encode() + snv(60, "rs2").encode().replace(b"PASS\t.", info)
    assert case.score(odd) == case.score(plain)
    assert case.embed(odd) == [True] * 4


@pytest.mark.parametrize("position", [0, 121], ids=["case-22-first", "case-22-last"])
def test_a_telomere_has_a_reason_and_other_rows_are_scored(case: Case, position: int) -> None:
    vcf = HEADER + row(position, "end", "N", "A") + snv(50, "ok")
    assert case.reasons(vcf)["end"].startswith(f"telomere: position {position} is")
    assert case.score(vcf)[1]["log_odds"] != "NA"


def test_case_23_one_line_per_allele_in_order(case: Case) -> None:
    case.genome(f">c\n{BASES[:99]}N{BASES[100:]}\n")
    many = [one for one in "ACGT" if one != BASES[19]]
    four = BASES[94:98]
    vcf = HEADER + "".join(
        (
            row(20, "multi", BASES[19], ",".join(many)),
            row(30, "star", BASES[29], f"{other(BASES[29])},*"),
            row(40, "del", BASES[39], "<DEL>"),
            row(45, "breakend", BASES[44], f"{BASES[44]}[d:9["),
            row(46, "single", BASES[45], f"{BASES[45]}."),
            row(50, "dot", BASES[49], "."),
            row(60, "any", BASES[59], f"{other(BASES[59])},<NON_REF>"),
            row(70, "lower", BASES[69].lower(), other(BASES[69]).lower()),
            row(100, "unknown", "N", "A"),
            row(80, "mismatch", other(BASES[79]), "A"),
            row(1, "first", BASES[0], other(BASES[0])),
            row(120, "last", BASES[119], other(BASES[119])),
            row(90, "insertion", BASES[89], BASES[89] + "ACG"),
            row(95, "deletion", four, four[0]),
            row(95, "same", four[0], four[0]),
            row(50, "record", "A", "C", record="chrc"),
            row(50, "dash", BASES[49], "-"),
            row(119, "beyond", BASES[118:] + "A", "A"),
        )
    )
    rows = case.score(vcf)
    assert [(one["id"], one["alt"]) for one in rows[:5]] == [
        *[("multi", letter) for letter in many],
        ("star", other(BASES[29])),
        ("star", "*"),
    ]
    assert len(rows) == 22
    assert all(math.isfinite(float(one["log_odds"])) for one in rows[:4])
    notes = case.reasons(vcf)
    assert {name: note.partition(":")[0] for name, note in notes.items()} == {
        "multi": "",
        "star": "spanning deletion",
        "del": "symbolic allele",
        "breakend": "breakend",
        "single": "breakend",
        "dot": "no alternative allele",
        "any": "symbolic allele",
        "lower": "",
        "unknown": "unknown base",
        "mismatch": "reference mismatch",
        "first": "",
        "last": "",
        "insertion": "changes the length",
        "deletion": "changes the length",
        "same": "",
        "record": "unknown record",
        "dash": "invalid allele",
        "beyond": "beyond the record",
    }
    assert notes["mismatch"] == f"reference mismatch: the genome has `{BASES[79]}` there"
    assert notes["record"] == "unknown record: the genome has no `chrc`, but `c`"
    err = case.run("score", vcf).err
    assert "18 rows, 22 alleles, 9 scored, 13 without a score (" in err


def test_case_23_alleles_hold_the_letters_that_genomes_hold(case: Case) -> None:
    case.genome(f">c\n{BASES[:49]}X{BASES[50:]}\n")
    letters = "ACGTUNRYSWKMBDHVX"
    others = (
        "EFIJLOPQZ\N{KELVIN SIGN}\N{LATIN SMALL LETTER LONG S}\N{FULLWIDTH LATIN CAPITAL LETTER A}"
    )
    vcf = "".join(row(60, letter, BASES[59], letter) for letter in letters + letters.lower())
    vcf += row(50, "masked", "X", "A")
    vcf += "".join(row(60, letter, BASES[59], letter) for letter in others)
    notes = case.reasons(vcf)
    assert len(notes) == 2 * len(letters) + 1 + len(others)
    are_invalid = {name for name, note in notes.items() if note.startswith("invalid allele")}
    assert are_invalid == set(others)
    assert "unknown base" in notes["X"]
    assert "unknown base" in notes["masked"]


@pytest.mark.parametrize("command", ["score", "embed"], ids="case-31-{}".format)
def test_records_named_with_and_without_chr_are_refused(command: str, case: Case) -> None:
    case.genome(f">1\n{BASES}\n>2\nACGT\n")
    vcf = HEADER + row(50, "a", "A", "C", record="chr1") + row(60, "b", "A", "C", record="chr1")
    done = case.run(command, vcf)
    assert_failure(done, "names `chr1`, the genome `1`, `2`", hint="differ by `chr`")


@pytest.mark.parametrize("option", [(), ("-o", "out.vcf"), ("-o", "out.tsv")])
def test_case_walk_02_a_run_without_a_score_fails_and_shows_both_names(
    case: Case, option: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vcf = HEADER + row(99_999, "past", "G", "A") + row(5, "name", "A", "C", "chrc")
    done = case.run("score", vcf, *option)
    assert done.exit_code == 1
    both = "(1 beyond the record, 1 unknown record): the file names `c`, `chrc`, the genome"
    assert both in done.err
    assert "hint: the first, in line 3: beyond the record: it reaches to base 99,999" in done.err
    written = (tmp_path / option[1]).read_text() if option else done.out
    assert "beyond" in written
    assert "unknown" in written


def test_a_file_without_rows_is_scored(case: Case) -> None:
    assert case.score(HEADER) == []


@pytest.mark.parametrize("size", [40, 65, 119], ids="case-32-{}".format)
def test_a_long_deletion_is_scored_or_has_a_reason(case: Case, size: int) -> None:
    vcf = HEADER + row(1, "long", BASES[:size], BASES[0]) + row(1, "swap", BASES[:size], "A" * size)
    rows = case.score(vcf + snv(120))[:2]
    if size > 64:
        reason = f"too long: an allele of {size} bases, and the window holds 64"
        assert [one["note"] for one in rows] == [reason] * 2
        return
    assert [one["note"] for one in rows] == ["changes the length", ""]
    assert all(float(one["embedding_distance"]) > 0 for one in rows)


def test_case_33_scores_agree_between_strands_and_change_sign_with_the_alleles(case: Case) -> None:
    places = (1, 2, 50, 119, 120)
    turn = str.maketrans("ACGT", "TGCA")
    ahead = case.score(HEADER + "".join(snv(place) for place in places))
    case.genome(f">c\n{BASES.translate(turn)[::-1]}\n")
    rows = []
    for place in places:
        ref = BASES[place - 1]
        rows.append(row(121 - place, ".", ref.translate(turn), other(ref).translate(turn)))
    back = case.score(HEADER + "".join(rows))
    assert [one["log_odds"] for one in ahead] == [one["log_odds"] for one in back]
    swapped, rows = [], []
    for place in places:
        ref = BASES[place - 1]
        swapped.append(f">g{place}\n{BASES[: place - 1]}{other(ref)}{BASES[place:]}\n")
        rows.append(row(place, ".", other(ref), ref, record=f"g{place}"))
    case.genome("".join(swapped))
    for one, two in zip(ahead, case.score(HEADER + "".join(rows)), strict=True):
        assert float(one["log_odds"]) == pytest.approx(-float(two["log_odds"]), abs=2e-5)
        assert float(one["embedding_distance"]) == pytest.approx(
            float(two["embedding_distance"]), abs=2e-5
        )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("chr", "1 of 5 columns", id="case-attack-05"),
        pytest.param("c\t5\t.\tA", "4 of 5 columns", id="short"),
        pytest.param("c 5\t.\tA\tC", "tabs and blanks mixed", id="mixed"),
        pytest.param("c\t5.0\t.\tA\tC", "invalid position `5.0`", id="point"),
        pytest.param("c\t1e3\t.\tA\tC", "invalid position `1e3`", id="exponent"),
        pytest.param("c\t1,000\t.\tA\tC", "invalid position `1,000`", id="comma"),
        pytest.param("c\t-1\t.\tA\tC", "invalid position `-1`", id="negative"),
        pytest.param(
            "c\t\N{ARABIC-INDIC DIGIT ONE}\t.\tA\tC", "invalid position", id="other-digits"
        ),
        pytest.param("\t5\t.\tA\tC", "CHROM is empty", id="no-record"),
    ],
)
@pytest.mark.parametrize("command", ["score", "embed"])
def test_a_line_that_is_not_a_row_is_named(command: str, line: str, words: str, case: Case) -> None:
    done = case.run(command, f"{HEADER}{snv(9)}{line}\n")
    assert_failure(done, "line 4", words)


def test_case_walk_02_rows_beyond_and_on_other_records_have_different_reasons(case: Case) -> None:
    rows = row(99_999, "past", "G", "A") + row(5, "name", "A", "C", "chrc")
    notes = case.reasons(HEADER + rows + snv(50, "ok"))
    assert notes == {
        "ok": "",
        "past": "beyond the record: it reaches to base 99,999 of `c`, which has 120",
        "name": "unknown record: the genome has no `chrc`, but `c`",
    }


def test_blanks_divide_a_row_without_tabs(case: Case) -> None:
    vcf = HEADER + snv(50, "rs1") + snv(60, "rs2")
    assert case.score(vcf.replace("\t", "  ")) == case.score(vcf)


@pytest.mark.parametrize("command", ["score", "embed"], ids="case-25-{}".format)
def test_two_records_of_one_id_are_refused_by_both(command: str, case: Case) -> None:
    case.genome(f">c\n{BASES}\n>d\nACGT\n>c second\nTTTT\n")
    assert_failure(case.run(command, HEADER + snv(50)), "several records of the id `c`")


@pytest.mark.parametrize("command", ["score", "embed"])
def test_rows_come_from_a_pipe_too(
    command: str, case: Case, tmp_path: Path, run_cli: RunCommand
) -> None:
    vcf = HEADER + snv(50) + snv(60)
    wanted = case.run(command, vcf)
    line = (command, "--vcf", "-", "--genome", str(tmp_path / "g.fa"), "--model", RELEASED)
    done = run_cli(*line, stdin=bz2.compress(vcf.encode()))
    assert (done.exit_code, done.stdout) == (0, wanted.stdout), done.err
    assert "`standard input`: 2 rows" in done.err
    assert_failure(run_cli(*line, stdin=b"chr"), "`standard input`, line 1")
    if command == "embed":
        out = ("-o", str(tmp_path / "x.npy"), "--resume")
        done = run_cli(*line, *out, stdin=vcf.encode())
        assert "cannot be compared" in done.err
        done = run_cli(*line[:4], "-", *line[5:], stdin=vcf.encode())
        assert "only once" in done.err
