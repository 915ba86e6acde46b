"""`score`: records, variants and maps."""

from __future__ import annotations

import gzip
from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED

SEQUENCES = Path(str(files("genomeformer_cli"))) / "assets" / "sequences" / "ecoli_promoters.fa"

pytestmark = pytest.mark.usefixtures("trained")


def rows(done: Finished) -> list[dict[str, str]]:
    assert done.exit_code == 0, done.err
    return table(done.out)


def table(text: str) -> list[dict[str, str]]:
    head, *lines = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_records_keep_their_order_and_none_vanishes(run_cli: RunCommand, tmp_path: Path) -> None:
    bases = tmp_path / "bases.tsv"
    fasta = b">b\nACGTNACG\n>a\nNN\n>long\n" + b"ACGGT" * 40 + b"\n"
    done = run_cli("score", "-", "--model", RELEASED, "--per-base", str(bases), stdin=fasta)
    found = rows(done)
    assert [(row["id"], row["length"], row["scored"]) for row in found] == [
        ("b", "8", "7"),
        ("a", "2", "0"),
        ("long", "200", "200"),
    ]
    assert found[1]["bits_per_base"] == "NA"
    assert "`a` is without a score: no base that can be scored" in done.err
    perplexity = 2 ** float(found[2]["bits_per_base"])
    assert float(found[2]["perplexity"]) == pytest.approx(perplexity, abs=1e-4)
    each = table(bases.read_text())
    assert len(each) == 210
    assert each[4]["bits"] == "NA"
    mean = sum(float(row["bits"]) for row in each if row["id"] == "long") / 200
    assert mean == pytest.approx(float(found[2]["bits_per_base"]), abs=1e-4)
    chances = [float(each[0][f"p_{base}"]) for base in "acgt"]
    assert sum(chances) == pytest.approx(1, abs=1e-4)


def test_variants_of_a_phage(run_cli: RunCommand, trained: Path, tmp_path: Path) -> None:
    genome = next((trained / "genomes" / "NC_001422.1").glob("*.gz"))
    letters = "".join(gzip.decompress(genome.read_bytes()).decode().split("\n")[1:]).upper()
    vcf = tmp_path / "v.vcf"
    alt = "C" if letters[999] != "C" else "A"
    vcf.write_text(
        f"#CHROM\tPOS\tID\tREF\tALT\nNC_001422.1\t1000\tx\t{letters[999]}\t{alt},{letters[999]}TT\n"
    )
    command = ("score", "--vcf", str(vcf), "--genome", str(genome), "--model", RELEASED)
    done = run_cli(*command)
    one, other = rows(done)
    assert float(one["log_odds"]) != 0
    assert float(one["embedding_distance"]) > 0
    assert (other["log_odds"], other["note"]) == ("NA", "changes the length")
    assert "1 row, 2 alleles, 1 scored, 1 without a score (1 changes the length)" in done.err
    assert run_cli(*command).stdout == done.stdout


def test_a_map_and_its_picture(run_cli: RunCommand, tmp_path: Path) -> None:
    picture, out = tmp_path / "map.png", tmp_path / "map.tsv"
    fasta = b">a\nACGTNACG\n>b\nGGG\n"
    done = run_cli(
        *("score", "-", "--model", RELEASED, "--ism", "--plot", str(picture), "-o", str(out)),
        stdin=fasta,
    )
    assert done.exit_code == 0, done.err
    assert done.stdout == b""
    found = table(out.read_text())
    assert len(found) == 3 * (7 + 3)
    assert all(row["ref"] != row["alt"] for row in found)
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x.fa", "--vcf", "v.vcf"],
        ["--vcf", "v.vcf"],
        ["x.fa", "--plot", "x.png"],
        ["x.fa", "--ism", "--per-base", "b.tsv"],
        ["x.fa", "--ism", "--plot", "x.txt"],
    ],
)
def test_what_does_not_go_together(run_cli: RunCommand, arguments: list[str]) -> None:
    assert_failure(run_cli("score", *arguments, "--model", RELEASED), exit_code=2)


def test_real_promoters_are_scored(run_cli: RunCommand) -> None:
    found = rows(run_cli("score", str(SEQUENCES), "--model", RELEASED, "--both-strands"))
    assert len(found) == 106
    assert all(1 < float(row["bits_per_base"]) < 3 for row in found)


def test_without_a_model_the_one_of_the_package_answers(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENOMEFORMER_HOME", str(tmp_path / "nothing"))
    fasta = b">a\n" + b"ACGGT" * 8 + b"\n"
    here, named = (
        rows(run_cli("score", "-", *chosen, stdin=fasta)) for chosen in ((), ("--model", "default"))
    )
    assert here == named
    assert here[0]["scored"] == "40"


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz"])
def test_a_vcf_comes_back_with_its_scores(
    run_cli: RunCommand, trained: Path, tmp_path: Path, name: str
) -> None:
    genome = next((trained / "genomes" / "NC_001422.1").glob("*.gz"))
    letters = "".join(gzip.decompress(genome.read_bytes()).decode().split("\n")[1:]).upper()
    ref, alt = letters[99], "C" if letters[99] != "C" else "A"
    head = b"##fileformat=VCFv4.2\n##contig=<ID=NC_001422.1>\n"
    columns = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tm\xfcller\n"
    first = f"NC_001422.1\t100\trs1\t{ref.lower()}\t{alt},*\t9.0\tPASS\tDP=3\tGT\t0/1\n".encode()
    second = b"NC_001422.1\t99999\t.\tA\tC\t.\t.\t.\tGT\t./.\n"
    (tmp_path / "v.vcf").write_bytes(head + columns + first + second)
    command = ("score", "--vcf", str(tmp_path / "v.vcf"), "--genome", str(genome))
    done = run_cli(*command, "--model", RELEASED, "-o", str(tmp_path / name))
    assert (done.exit_code, done.stdout) == (0, b""), done.err
    written = (tmp_path / name).read_bytes()
    lines = (gzip.decompress(written) if name.endswith("gz") else written).splitlines(True)
    assert b"".join((*lines[:2], lines[5])) == head + columns
    assert [line[:17] for line in lines[2:5]] == [
        b"##INFO=<ID=GF_LOG",
        b"##INFO=<ID=GF_DIS",
        b"##INFO=<ID=GF_NOT",
    ]
    for before, after in zip((first, second), lines[6:], strict=True):
        old, new = before.split(b"\t"), after.split(b"\t")
        assert old[:7] + old[8:] == new[:7] + new[8:]
    (scored, *_) = rows(run_cli(*command, "--model", RELEASED))
    odds, distance = scored["log_odds"], scored["embedding_distance"]
    assert lines[6].split(b"\t")[7].decode() == (
        f"DP=3;GF_LOG_ODDS={odds},.;GF_DISTANCE={distance},.;GF_NOTE=.,spanning_deletion"
    )
    assert lines[7].split(b"\t")[7] == b"GF_NOTE=beyond_the_record"
    again = run_cli(*command[:2], str(tmp_path / name), *command[3:], "-o", str(tmp_path / "b.vcf"))
    assert_failure(again, "has the INFO field `GF_LOG_ODDS` already", hint="bcftools annotate -x")
