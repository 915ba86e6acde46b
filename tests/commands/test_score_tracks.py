"""`score --per-base` as a track: bits along a genome."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pybigtools
import pytest

from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")
RECORDS = {"one": random_dna(230, 1), "two": random_dna(40, 2) + "N" * 20 + random_dna(33, 3)}
CPU = ("--model", RELEASED, "--workers", "1", "--device", "cpu")


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name} x\n{bases}\n" for name, bases in RECORDS.items()))
    return path


def score(run_cli: RunCommand, genome: Path, *more: str) -> str:
    done = run_cli("score", str(genome), *CPU, *more)
    assert done.exit_code == 0, done.err
    return done.out


def bits_of(path: Path) -> dict[str, list[float]]:
    header, *lines = path.read_text().splitlines()
    columns = header.split("\t")
    place = columns.index("bits")
    bits: dict[str, list[float]] = {}
    for line in lines:
        cells = line.split("\t")
        name = cells[columns.index("chrom")] if "chrom" in columns else cells[0]
        bits.setdefault(name, []).append(float("nan" if cells[place] == "NA" else cells[place]))
    return bits


def test_a_track_equals_the_table(run_cli: RunCommand, genome: Path, tmp_path: Path) -> None:
    table, wig, graph = tmp_path / "t.tsv", tmp_path / "t.bw", tmp_path / "t.bedgraph"
    outputs = [score(run_cli, genome, "--per-base", str(path)) for path in (table, wig, graph)]
    assert outputs[0] == outputs[1] == outputs[2]
    reader = pybigtools.open(str(wig))
    assert reader.chroms() == {name: len(bases) for name, bases in RECORDS.items()}
    for name, bits in bits_of(table).items():
        found = np.asarray(reader.values(name, fillna=None))
        assert np.allclose(found, bits, atol=2e-5, equal_nan=True)
        assert np.isnan(found).any() == ("N" in RECORDS[name])
    values = [(name, *row) for name in RECORDS for row in reader.records(name)]
    rows = [line.split("\t") for line in graph.read_text().splitlines()[1:]]
    assert [(cells[0], int(cells[1]), int(cells[2])) for cells in rows] == [
        value[:3] for value in values
    ]


def test_bins_are_means(run_cli: RunCommand, genome: Path, tmp_path: Path) -> None:
    table, wig = tmp_path / "t.tsv", tmp_path / "t.bw"
    score(run_cli, genome, "--per-base", str(table))
    score(run_cli, genome, "--per-base", str(wig), "--bin", "25")
    for name, bits in bits_of(table).items():
        for start, end, value in pybigtools.open(str(wig)).records(name):
            assert (start % 25, end) == (0, min(start + 25, len(bits)))
            assert abs(value - np.nanmean(bits[start:end])) < 1e-4


def test_tiles_join_at_the_nearest_centre(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    apart, table, overlapping = (tmp_path / name for name in ("a.bw", "a.tsv", "o.bw"))
    score(run_cli, genome, "--tile", "46", "--per-base", str(apart))
    score(run_cli, genome, "--tile", "46", "--per-base", str(table))
    score(run_cli, genome, "--tile", "46", "--step", "10", "--per-base", str(overlapping))
    found = np.asarray(pybigtools.open(str(apart)).values("one", fillna=None))
    assert np.allclose(found, bits_of(table)["one"], atol=2e-5, equal_nan=True)
    joined = np.asarray(pybigtools.open(str(overlapping)).values("one", fillna=None))
    assert joined.shape == found.shape


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("--per-base x.bed", "writes no file of the name `x.bed`", "`.bw`"),
        ("--per-base x.npy", "writes no file of the name `x.npy`", "`.tsv`"),
        ("--per-base x.tsv --bin 5", "`--bin 5` with the table", "`.bedgraph`"),
        ("--bin 5", "`--bin` needs a track", "--per-base"),
    ],
)
def test_a_file_of_bases_that_cannot_be_written_is_refused(
    run_cli: RunCommand, genome: Path, line: str, message: str, hint: str
) -> None:
    done = run_cli("score", str(genome), *CPU, *line.split())
    assert_failure(done, message, hint=hint, exit_code=2)


def test_regions_are_no_track(run_cli: RunCommand, genome: Path, tmp_path: Path) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text("one\t3\t90\n")
    line = ("--genome", str(genome), "--bed", str(bed), "--per-base", "x.bw")
    done = run_cli("score", *CPU, *line)
    assert_failure(done, "runs along a genome", hint="--tile", exit_code=2)


@pytest.mark.parametrize("kind", ["records", "tiles", "regions"])
def test_a_picture_shows_the_bits_and_genes(
    run_cli: RunCommand, genome: Path, tmp_path: Path, kind: str
) -> None:
    bed, table, page = (tmp_path / name for name in ("r.bed", "bits.tsv", "bits.html"))
    # On both strands, and on one record only.
    bed.write_text("one\t20\t50\tfirst\t0\t+\none\t60\t90\tsecond\t0\t-\n")
    sources = {
        "records": (str(genome),),
        "tiles": (str(genome), "--tile", "30"),
        "regions": ("--genome", str(genome), "--bed", str(bed)),
    }[kind]
    options = [*CPU, "--per-base", str(table), "--plot", str(page)]
    if has_genes := kind == "tiles":
        genes = tmp_path / "genes.gff3"
        genes.write_text("##gff-version 3\none\tx\tgene\t11\t40\t.\t-\t.\tID=g1;Name=rep\n")
        options += ["--gff", str(genes)]
    done = run_cli("score", *sources, *options)
    assert done.exit_code == 0, done.err
    assert ("the picture has no genes: name an annotation with `--gff`" in done.err) != has_genes
    text = page.read_text().partition('id="view-data">')[2].partition("</script>")[0]
    data = json.loads(text)
    assert (data["binWidth"], data["showsMeans"], data["hits"]) == (1, True, [])
    assert [gene[-1] for gene in data["genes"]] == (["rep"] if has_genes else [])
    (lane,) = data["lanes"]
    shown = dict(zip([row["name"] for row in data["records"]], lane["values"], strict=True))
    assert set(shown) == ({"one"} if kind == "regions" else set(RECORDS))
    sums: dict[tuple[str, int], list[float]] = {}
    header, *lines = table.read_text().splitlines()
    for line in lines:
        row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
        place = int(row["position"]) - 1
        if "start" in row:
            last = int(row["end"]) - 1 - place
            place = last if row["strand"] == "-" else int(row["start"]) + place
        if row["bits"] != "NA":
            sums.setdefault((row.get("chrom", row["id"]), place), []).append(float(row["bits"]))
    drawn = {
        (name, place): value
        for name, values in shown.items()
        for place, value in enumerate(values)
        if value is not None
    }
    assert drawn.keys() == sums.keys()
    expected = [sum(sums[key]) / len(sums[key]) for key in drawn]
    assert list(drawn.values()) == pytest.approx(expected, abs=2e-4)
