"""BED files as people have them: every row of the file is a row of the output or an error."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.cli import Finished, RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

BASES = random_dna(120, 21)
MODEL = ("--model", RELEASED)
Vectors = npt.NDArray[np.float32]


class Case:
    """A genome and a BED file, given to `embed`."""

    def __init__(self, folder: Path, run_cli: RunCommand) -> None:
        self._folder = folder
        self._run = run_cli
        self.bed = folder / "r.bed"
        self.err = ""

    def run(self, bed: str, genome: str = f">c\n{BASES}\n>d\n{BASES[::-1]}\n") -> Finished:
        (self._folder / "g.fa").write_text(genome, encoding="utf-8")
        self.bed.write_bytes(bed.encode())
        ids = ("--ids", str(self._folder / "ids.txt"))
        line = ("--bed", str(self.bed), "--genome", str(self._folder / "g.fa"))
        return self._run("embed", *line, *MODEL, *ids)

    def embed(self, bed: str, genome: str = f">c\n{BASES}\n>d\n{BASES[::-1]}\n") -> Vectors:
        done = self.run(bed, genome)
        assert done.exit_code == 0, done.err
        self.err = done.err
        found: Vectors = np.load(io.BytesIO(done.stdout))
        return found

    @property
    def ids(self) -> list[str]:
        return (self._folder / "ids.txt").read_text(encoding="utf-8").splitlines()

    def truth(self, *sequences: str) -> Vectors:
        """Return the vectors of sequences given by themselves."""
        fasta = "".join(f">{n}\n{one}\n" for n, one in enumerate(sequences))
        done = self._run("embed", "-", *MODEL, stdin=fasta.encode())
        found: Vectors = np.load(io.BytesIO(done.stdout))
        return found


@pytest.fixture
def case(tmp_path: Path, run_cli: RunCommand) -> Case:
    return Case(tmp_path, run_cli)


def turned(sequence: str) -> str:
    return sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]


PART = BASES[10:90]
ROWS = "c\t10\t90\tfirst\t0\t+\nc\t10\t90\tminus\t0\t-\nd\t0\t50\n"


@pytest.mark.parametrize(
    "bed",
    [
        pytest.param(
            f'browser position c:1-9\ntrack name="a b"\n#chrom\tstart\tend\n\n{ROWS}',
            id="case-26-x",
        ),
        pytest.param(ROWS.replace("\n", "\r\n"), id="case-26-z"),
        pytest.param("\ufeff" + ROWS, id="byte-order-mark"),
        pytest.param(ROWS.replace("\t", " ").replace("\n", "  \n"), id="blanks"),
        pytest.param(ROWS.replace("d\t0\t50", "d\t0\t50\t\t\t"), id="empty-cells"),
        pytest.param(ROWS.replace("\t-\n", "\t\N{MINUS SIGN}\n"), id="minus-sign"),
    ],
)
def test_headers_are_skipped_and_rows_are_read(case: Case, bed: str) -> None:
    found = case.embed(bed)
    np.testing.assert_allclose(found, case.truth(PART, turned(PART), BASES[::-1][:50]), atol=1e-5)
    assert case.ids == ["first", "minus", "d:0-50"]
    assert "r.bed`: 3 rows, 3 sequences" in case.err
    assert "warning" not in case.err


def test_case_26_y_a_line_of_column_names_without_a_hash_is_refused(case: Case) -> None:
    done = case.run("chrom\tchromStart\tchromEnd\n" + ROWS)
    assert_failure(
        done, "line 1", "`chromStart` is not a whole number", hint="begin a line of column"
    )


@pytest.mark.parametrize("name", ["track1", "track", "browser_x", "browser", "tracks.2"])
def test_case_27_records_named_like_headers_are_rows(case: Case, name: str) -> None:
    genome = f">{name}\n{BASES}\n>c\n{BASES}\n"
    found = case.embed(f"{name}\t10\t90\tt\nc\t10\t90\tu\n{name} \t0\t40\tv\n", genome)
    assert case.ids == ["t", "u", "v"]
    np.testing.assert_allclose(found, case.truth(PART, PART, BASES[:40]), atol=1e-5)


@pytest.mark.parametrize(
    ("row", "sequence", "words"),
    [
        pytest.param("c\t10\t90\tA\t-", turned(PART), "taken from column 5", id="case-28"),
        pytest.param("c\t10\t90\tA\t+", PART, "taken from column 5", id="plus-in-5"),
        pytest.param("c\t10\t90\t-", turned(PART), "taken from column 4", id="minus-in-4"),
        pytest.param("c\t10\t90\tA\t-\t.", PART, "`.` in column 6", id="minus-in-5-dot-in-6"),
        pytest.param("c\t10\t90\tA\t0\t-1", PART, "column 6 is neither", id="number-in-6"),
        pytest.param(
            "c\t10\t90\tA\t0\t-\t10\t90\t0\t2\t20,30,\t0,50,",
            turned(PART),
            "blocks (BED12): the whole interval",
            id="case-29-b12",
        ),
    ],
)
def test_what_is_not_read_as_written_is_in_a_warning(
    case: Case, row: str, sequence: str, words: str
) -> None:
    found = case.embed(f"{row}\n{row}\n")
    assert f"warning: `{case.bed}`: 2 rows (the first in line 1): " in case.err
    assert words in case.err
    np.testing.assert_allclose(found, case.truth(sequence, sequence), atol=1e-5)


@pytest.mark.parametrize("row", ["c\t10\t90\t-\t0\t.", "c\t10\t90\t.\t.\t.", "c\t10\t90\t\t1\t*"])
def test_a_placeholder_is_not_a_strand(case: Case, row: str) -> None:
    np.testing.assert_allclose(case.embed(row), case.truth(PART), atol=1e-5)
    assert "warning" not in case.err


def test_case_29_x_every_row_has_a_row_and_the_reason(case: Case) -> None:
    bed = (
        "c\t10\t10\tempty\nc\t90\t10\tturned\nc\t100\t121\tbeyond\nc\t-5\t20\tnegative\n"
        "chrc\t10\t90\tprefix\nchrUn\t1\t2\tabsent\nc\t10\t90\tok\n"
    )
    found = case.embed(bed)
    assert np.isnan(found).all(axis=1).tolist() == [True] * 6 + [False]
    for name, reason in (
        ("empty", "empty interval: start and end are both 10"),
        ("turned", "invalid interval: the start 90 is after the end 10"),
        ("beyond", "beyond the record: it reaches to base 121 of `c`, which has 120"),
        ("negative", "invalid interval: the start -5 is negative"),
        ("prefix", "unknown record: the genome has no `chrc`, but `c`"),
        ("absent", "unknown record: the genome has no `chrUn`"),
    ):
        assert f"region `{name}`: {reason}: row" in case.err
    assert "7 rows, 1 sequence; 6 without (" in case.err


@pytest.mark.parametrize(
    ("row", "words"),
    [
        pytest.param("c\t1e+02\t200", "start `1e+02`", id="case-29-sci"),
        pytest.param("c\t1,0\t200", "start `1,0`", id="case-29-comma"),
        pytest.param("c\t10.0\t90.0", "start `10.0`", id="case-29-float"),
        pytest.param("c:11-90", "1 of 3 columns", id="case-29-ucsc"),
        pytest.param("c\t10\t9_0", "end `9_0`", id="underscore"),
        pytest.param("c\t10\t\N{THAI DIGIT NINE}", "is not a whole number", id="digits"),
        pytest.param("c 10\t90", "tabs and blanks mixed", id="mixed"),
        pytest.param("\t10\t90", "the record is empty", id="no-record"),
        pytest.param("c\t\t90", "start ``", id="no-start"),
        pytest.param("\ttrack\t10\t90", "the record is empty", id="track-in-column-2"),
        pytest.param("track\tten\t90\nc\tx\ty", "start `x`", id="after-a-header"),
    ],
)
def test_a_line_that_is_not_a_row_is_named(case: Case, row: str, words: str) -> None:
    done = case.run(f"c\t1\t50\n{row}\n")
    assert_failure(done, f"line {2 + row.count(chr(10))}", words)


def test_case_25_two_records_of_one_id_are_refused(case: Case) -> None:
    done = case.run("c\t10\t90\n", f">c\n{BASES}\n>c\nACGT\n")
    assert_failure(done, "several records of the id `c`")


def test_case_31_records_named_with_chr_alone_are_refused(case: Case) -> None:
    done = case.run("chr1\t10\t90\nchr2\t1\t2\n", f">1\n{BASES}\n>2\nACGT\n")
    assert_failure(done, "names `chr1`, `chr2`, the genome `1`, `2`", hint="differ by `chr`")


def test_a_name_with_blanks_is_one_name(case: Case) -> None:
    case.embed("c\t10\t90\tmy gene 1\t0\t+\nc\t10\t90\t  padded  \n")
    assert case.ids == ["my gene 1", "padded"]
