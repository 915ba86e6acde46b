"""FASTA and FASTQ files as people have them: the rows of the clean file, or a clear sentence."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest

from tests.cli import Finished, RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

A, B, C = (random_dna(size, seed) for seed, size in enumerate((180, 150, 90)))
CLEAN = f">a\n{A}\n>b\n{B}\n>c\n{C}\n"


def fastq(name: str, bases: str, quality: str) -> str:
    return f"@{name}\n{bases}\n+\n{quality}\n"


class Embedded:
    """Rows, ids and messages of `embed`."""

    def __init__(self, done: Finished, ids: Path) -> None:
        assert done.exit_code == 0, done.err
        self.rows = np.load(io.BytesIO(done.stdout))
        self.ids = ids.read_text(encoding="utf-8").split("\n")[:-1]
        self.messages = done.err


class Case:
    """A file that is given to commands."""

    def __init__(self, folder: Path, run_cli: RunCommand) -> None:
        self._folder = folder
        self._run = run_cli

    def run(self, content: bytes | str, command: str = "embed", *options: str) -> Finished:
        path = self._folder / "x.fa"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self._run(command, str(path), "--model", RELEASED, *options)

    def embed(self, content: bytes | str) -> Embedded:
        ids = self._folder / "ids.txt"
        return Embedded(self.run(content, "embed", "--ids", str(ids)), ids)


@pytest.fixture
def case(tmp_path: Path, run_cli: RunCommand) -> Case:
    return Case(tmp_path, run_cli)


CRLF = CLEAN.replace("\n", "\r\n")
PACKED = gzip.compress(CLEAN.encode(), mtime=0)
MEMBERS = gzip.compress(CLEAN[:250].encode()) + gzip.compress(CLEAN[250:].encode())
SAME_ROWS: dict[str, bytes | str] = {
    "case-03-gt-inside-header": f">a >x\n{A}\n>b 5'->3'\n{B}\n>c>\n{C}\n".replace(">c>", ">c >"),
    "case-04-fastq-quality-at": fastq("a", A, "@" * 180) + fastq("b", B, "@+" * 75)
    + fastq("c", C, ">" * 90),
    "case-05-fastq-wrapped": f"@a\n{A[:60]}\n{A[60:]}\n+\n{'@' * 60}\n{'+' * 120}\n"
    + fastq("b", B, "I" * 150) + fastq("c", C, "I" * 90),
    "case-06-bom": "\ufeff" + CLEAN,
    "case-07-trailing-blanks": CLEAN.replace("\n", " \t\n"),
    "case-11-multi-member-gz": MEMBERS,
    "case-12-gz-trailing-zeros": PACKED + b"\0" * 512,
    "case-13-comment-semicolon": f";LCBO\n;\n>a\n;within\n{A}\n;between\n>b\n{B}\n>c\n{C}\n;end",
    "case-15-crlf": CRLF,
    "case-16-tabs-in-header": f">a\tone two\n{A}\n>b \t\n{B}\n>c\t\n{C}\n",
}  # fmt: skip


@pytest.mark.parametrize("content", SAME_ROWS.values(), ids=SAME_ROWS)
def test_rows_and_ids_are_those_of_the_clean_file(case: Case, content: bytes | str) -> None:
    expected, found = case.embed(CLEAN), case.embed(content)
    assert found.ids == ["a", "b", "c"]
    assert (found.rows == expected.rows).all()
    assert "warning" not in found.messages


@pytest.mark.parametrize("form", ["> {}", "> {} rest", ">\t{}"], ids=lambda _: "case-01-space")
def test_a_blank_after_the_sign_is_read_and_reported(case: Case, form: str) -> None:
    content = "".join(
        f"{form.format(name)}\n{bases}\n" for name, bases in (("a", A), ("b", B), ("c", C))
    )
    found = case.embed(content)
    assert found.ids == ["a", "b", "c"]
    assert (found.rows == case.embed(CLEAN).rows).all()
    assert "3 of 3 headers have a blank between `>` and the id" in found.messages


def test_case_02_a_record_without_id_is_named_and_reported(case: Case) -> None:
    found = case.embed(CLEAN.replace(">b", ">"))
    assert found.ids == ["a", "record_2", "c"]
    assert (found.rows == case.embed(CLEAN).rows).all()
    assert "1 of 3 records have no id" in found.messages


REFUSED: dict[str, tuple[bytes | str, tuple[str, ...], str]] = {
    "case-08-numbered-blocks": (
        ">a\n        1 cagattttca tattatgcag\n       21 ac\n",
        ("record `a`", "`1` at position 1"),
        "numbers and blanks",
    ),
    "case-08-blanks": (">a\nACGT ACGT\n", ("` ` at position 5",), "numbers and blanks"),
    "case-09-star-end": (f">a\n{A}*\n", ("record `a`", "`*` at position 181"), "protein"),
    "case-12-garbage": (PACKED + b"more", ("other data after the end of its gzip",), "gzip -dc"),
    "case-14-protein": (">p\nMAIDENKQKAL\n", ("record `p`", "`I` at position 3"), "protein"),
    "case-15-cr-only": (CLEAN.replace("\n", "\r"), ("lone carriage return",), "tr "),
    "case-17-truncated": (PACKED[:-20], ("damaged or truncated gzip",), "again"),
    "case-06-utf16": (CLEAN.encode("utf-16"), ("UTF-16",), "iconv"),
    "case-05-fastq-blanks": (
        fastq("a", A, "I" * (len(A) - 3) + "   "),
        ("truncated",),
        "qualities",
    ),
    "case-05-fastq-truncated": (fastq("a", A, "I" * 179), ("truncated FASTQ",), "qualities"),
}


@pytest.mark.parametrize("command", ["embed", "score"])
@pytest.mark.parametrize(("content", "words", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_a_sentence_with_a_way_out(
    case: Case, command: str, content: bytes | str, words: tuple[str, ...], hint: str
) -> None:
    assert_failure(case.run(content, command), *words, hint=hint)


def test_case_10_letters_that_masking_left_are_n_and_counted(case: Case) -> None:
    masked = case.embed(f">a\n{A[:100]}{'X' * 30}{A[130:]}\n>b\nACGURYacgu\n")
    expected = case.embed(f">a\n{A[:100]}{'N' * 30}{A[130:]}\n>b\nACGTNNACGT\n")
    assert (masked.rows == expected.rows).all()
    assert "read 2 U as T, 2 IUPAC ambiguity codes as N, 30 X as N" in masked.messages
    assert "warning" not in masked.messages


def test_case_14_protein_of_iupac_letters_is_warned_of(case: Case) -> None:
    found = case.embed(f">p\nMKTAYVAKGRGSVKSHSRGWNDSGAKAVTHYWGG\n>b\n{B}\n")
    assert "more than a third of 1 of 2 records becomes N, the first is `p`" in found.messages
    assert "protein" in found.messages
    whole = case.run(f">g\n{A}RY\n").err
    assert "warning" not in whole


def test_case_18_records_without_bases_keep_their_rows(case: Case) -> None:
    content = f">a\n{A}\n>empty\n>n\n{'N' * 50}\n>c\n{C}\n"
    found = case.embed(content)
    assert np.isnan(found.rows).all(axis=1).tolist() == [False, True, True, False]
    assert "read 4 records, 320 bases: 2 used, 2 without a vector" in found.messages
    scored = case.run(content, "score")
    assert [line.split("\t")[0] for line in scored.out.splitlines()[1:]] == ["a", "empty", "n", "c"]
    assert "read 4 records, 320 bases: 2 used, 2 empty or of N alone" in scored.err


def test_case_25_two_records_of_one_id(case: Case, run_cli: RunCommand, tmp_path: Path) -> None:
    genome, bed, vcf = tmp_path / "g.fa", tmp_path / "r.bed", tmp_path / "v.vcf"
    genome.write_text(f">one\n{A}\n>two\n{B}\n>one\n{C}\n", encoding="utf-8")
    other = "ACGT"[("ACGT".index(B[9]) + 1) % 4]
    outcomes = []
    for record in ("one", "two"):
        bed.write_text(f"{record}\t0\t40\n", encoding="utf-8")
        vcf.write_text(f"{record}\t10\t.\t{B[9]}\t{other}\n", encoding="utf-8")
        for line in (("embed", "--bed", str(bed)), ("embed", "--vcf", str(vcf)),
                     ("score", "--vcf", str(vcf))):  # fmt: skip
            done = run_cli(*line, "--genome", str(genome), "--model", RELEASED)
            said = "several records of the id `one`" in done.err
            warned = "1 ids occur more than once, the first is `one`" in done.err
            outcomes.append((record, done.exit_code, said, warned))
    assert outcomes == [("one", 1, True, False)] * 3 + [("two", 0, False, True)] * 3


ODD_NAMES = (
    "name with blanks.fa", "-dash.fa", "ünïcödé 基因.fa", "a%b#c.fa", "new\nline.fa", "quote'.fa",
    "~tilde.fa", "g[1].fa",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: f"case-77-{name!a}")
def test_files_of_odd_names(
    name: str, run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(CLEAN, encoding="utf-8")
    output = f"{name}.npy"
    done = run_cli("embed", "--model", RELEASED, "-o", f"./{output}", "--", name)
    assert done.exit_code == 0, done.err
    assert np.load(output).shape[0] == 3
    done = run_cli("fetch", "--file", f".{os.sep}{name}")
    assert done.exit_code == 0, done.err


@pytest.mark.parametrize("suffix", ["npy", "npz", "tsv", "h5", "h5ad", "parquet"])
def test_case_91_float64_for_r(suffix: str, run_cli: RunCommand, tmp_path: Path) -> None:
    source, output = tmp_path / "x.fa", tmp_path / f"x.{suffix}"
    source.write_text(CLEAN, encoding="utf-8")
    line = ("embed", str(source), "--model", RELEASED, "--set", "dtype=float64", "-o", str(output))
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    single = np.load(io.BytesIO(run_cli("embed", str(source), "--model", RELEASED).stdout))
    if suffix in ("npy", "npz"):
        found = np.load(output)
        rows = found["vectors"] if suffix == "npz" else found
        assert rows.dtype == np.float64
        assert (rows == single).all()


def test_an_array_of_a_record_called_ids_is_kept(run_cli: RunCommand, tmp_path: Path) -> None:
    source, output = tmp_path / "x.fa", tmp_path / "x.npz"
    source.write_text(">ids\nACGTA\n>ids.2\nACG\n>ids\nAC\n", encoding="utf-8")
    line = ("embed", str(source), "--model", RELEASED, "--pool", "none", "-o", str(output))
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    with np.load(output) as found:
        assert found["ids"].tolist() == ["ids", "ids.2", "ids"]
        sizes = sorted(len(found[name]) for name in found.files if name != "ids")
        assert sizes == [2, 3, 5]
