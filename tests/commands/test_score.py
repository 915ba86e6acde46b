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
    assert "`a` has no base that can be scored" in done.err
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
