"""`explain`: pairs, maps and pictures of any source, and refused options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")
CPU = ("--model", RELEASED, "--workers", "1", "--device", "cpu")
FASTA = f">one x\n{random_dna(23, 1)}\n>none\nNNNN\n>two\n{random_dna(6, 2)}N{random_dna(5, 3)}\n"


def test_every_output_holds_the_same_maps(run_cli: RunCommand, tmp_path: Path) -> None:
    names = ("p.tsv", "p.json", "m.npz", "m.svg", "m.html")
    outputs = [argument for name in names for argument in ("-o", str(tmp_path / name))]
    done = run_cli("explain", "-", "--dependencies", *CPU, *outputs, stdin=FASTA.encode())
    assert done.exit_code == 0, done.err
    assert done.out == ""
    assert "record `none` is without a map" in done.err
    printed = run_cli("explain", "-", "--dependencies", *CPU, stdin=FASTA.encode())
    assert printed.out == (tmp_path / "p.tsv").read_text()
    maps = np.load(tmp_path / "m.npz")
    assert maps["ids"].tolist() == ["one", "none", "two"]
    header, *lines = printed.out.splitlines()
    for line in lines:
        row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
        strengths = maps[f"map_{maps['ids'].tolist().index(row['id'])}"]
        i, j = int(row["first"]) - 1, int(row["second"]) - 1
        mean = (strengths[i, j] + strengths[j, i]) / 2
        assert float(row["strength"]) == pytest.approx(mean, abs=1e-5)
    records = json.loads((tmp_path / "p.json").read_text())
    assert [len(record["pairs"]) for record in records] == [
        sum(line.startswith(name + "\t") for line in lines) for name in ("one", "none", "two")
    ]
    assert "<svg" in (tmp_path / "m.svg").read_text()
    assert "data:image/png" in (tmp_path / "m.html").read_text()


def test_regions_have_genome_coordinates(run_cli: RunCommand, tmp_path: Path) -> None:
    genome, bed = tmp_path / "g.fa", tmp_path / "r.bed"
    genome.write_text(f">chr\n{random_dna(60, 4)}\n")
    bed.write_text("chr\t10\t30\ta\t0\t-\n")
    region = ("--genome", str(genome), "--bed", str(bed))
    done = run_cli("explain", *region, "--dependencies", *CPU)
    header, *lines = done.out.splitlines()
    assert lines
    for line in lines:
        row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
        assert (row["chrom"], row["start"]) == ("chr", "10")
        assert int(row["genome_first"]) == 31 - int(row["first"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to explain"),
        (("--dependencies", "--attribution", "ism"), "two things to explain"),
        (("--attribution", "shap"), "unknown method `shap`"),
        (("--dependencies", "--answer", "3"), "`--answer` needs `--attribution`"),
        (("--attribution", "ism"), "`--answer` names no base"),
        (("--attribution", "ig", "-o", "x.html"), "unknown format of `x.html`"),
        (("--dependencies", "-o", "x.gif"), "unknown format of `x.gif`"),
        (("--dependencies", "-o", "x.png", "-o", "./x.png"), "names a file twice"),
    ],
)
def test_bad_outputs_are_refused(
    run_cli: RunCommand, arguments: tuple[str, ...], message: str
) -> None:
    done = run_cli("explain", "-", *CPU, *arguments, stdin=b">a\nACGT\n")
    assert_failure(done, message, exit_code=2)


def test_attributions_as_a_table_and_a_track(run_cli: RunCommand, tmp_path: Path) -> None:
    fasta = tmp_path / "a.fa"
    fasta.write_text(f">one x\n{random_dna(23, 1)}\n")
    names = ("a.tsv", "a.json", "a.npz", "a.svg", "a.bedgraph")
    outputs = [argument for name in names for argument in ("-o", str(tmp_path / name))]
    chosen = ("--attribution", "grad", "--answer", "9")
    done = run_cli("explain", str(fasta), *chosen, *CPU, *outputs)
    assert done.exit_code == 0, done.err
    header, *lines = (tmp_path / "a.tsv").read_text().splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    values = [float(row["attribution"]) for row in rows]
    assert "".join(row["base"] for row in rows) == random_dna(23, 1)
    assert max(map(abs, values)) > 0
    (record,) = json.loads((tmp_path / "a.json").read_text())
    assert record["attributions"] == pytest.approx(values, abs=1e-5)
    track = [line.split() for line in (tmp_path / "a.bedgraph").read_text().splitlines()]
    spans = [line for line in track if line[0] == "one"]
    read = [float(span[3]) for span in spans for _ in range(int(span[1]), int(span[2]))]
    assert read == pytest.approx(values, abs=1e-4)
    assert np.load(tmp_path / "a.npz")["base_0"] == pytest.approx(values, abs=1e-5)
    assert "<svg" in (tmp_path / "a.svg").read_text()
    late = run_cli("explain", str(fasta), "--attribution", "ism", "--answer", "99", *CPU)
    assert_failure(late, "`one` has no base at position 99", exit_code=2)
