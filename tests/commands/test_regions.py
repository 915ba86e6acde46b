"""Regions of a genome in `embed`, `score` and `predict`: the same rows, with coordinates."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.formats.region import COLUMNS
from tests.annotations import PHIX, PHIX_FASTA, genbank, gff
from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED, WIDTH

h5py: Any = import_module("h5py")
pq: Any = import_module("pyarrow.parquet")

pytestmark = pytest.mark.usefixtures("trained", "short_networks")

PHAGE = "NC_001422.1"
MODEL = ("--model", RELEASED)
DNA = "ACGTTGCATCGAGGCTAAGC" * 10
SEQUENCE = f">X.1\n{DNA}\n"
RECORD = genbank(DNA, "gene 11..40 /locus_tag=A", "gene complement(190..200) /locus_tag=B")
ROWS = [
    ["A", "X.1", "5", "40", "+", "gene"],
    ["B", "X.1", "189", "200", "-", "gene"],
]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "x.gbk"
    path.write_text(RECORD)
    return path


def cells(done: Finished, columns: int = 6) -> list[list[str]]:
    assert done.exit_code == 0, done.err
    header, *lines = [line.split("\t") for line in done.out.splitlines()]
    assert header[:6] == ["id", *COLUMNS]
    return [line[:columns] for line in lines]


def genes(path: Path, *more: str) -> tuple[str, ...]:
    return ("--genome", str(path), "--feature", "gene", "--upstream", "5", *more)


def test_features_have_coordinates_in_every_table(
    run_cli: RunCommand, record: Path, tmp_path: Path
) -> None:
    out = tmp_path / "v.tsv"
    assert run_cli("embed", *genes(record), *MODEL, "-o", str(out)).exit_code == 0
    header, *rows = [line.split("\t") for line in out.read_text().splitlines()]
    assert header == ["id", *COLUMNS, *(f"e{n}" for n in range(WIDTH))]
    assert [row[:6] for row in rows] == ROWS
    # The same vectors as those of the sequences by themselves.
    (tmp_path / "x.fa").write_text(f">A\n{DNA[5:40]}\n")
    assert run_cli("embed", str(tmp_path / "x.fa"), *MODEL, "-o", str(out)).exit_code == 0
    alone = out.read_text().splitlines()[1].split("\t")[1:]
    assert [*map(float, alone)] == pytest.approx([*map(float, rows[0][6:])], abs=1e-5)
    bases = tmp_path / "bases.tsv"
    scored = run_cli("score", *genes(record), *MODEL, "--per-base", str(bases))
    assert cells(scored) == ROWS
    lines = [line.split("\t") for line in bases.read_text().splitlines()]
    assert lines[0][:8] == ["id", *COLUMNS, "position", "base"]
    assert [line[:6] for line in lines[1:]] == [ROWS[0]] * 35 + [ROWS[1]] * 11
    assert "".join(line[7] for line in lines[1:36]) == DNA[5:40]
    assert cells(run_cli("score", *genes(record), *MODEL, "--ism"))[0] == ROWS[0]


def test_predictions_of_regions_have_coordinates(
    run_cli: RunCommand, record: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.tsv"
    lines = [f"{'AC' * 10 if n % 2 else 'GT' * 10}\t{n % 2}\n" for n in range(40)]
    table.write_text("sequence\tlabel\n" + "".join(lines))
    line = ["--threads", "1", "--device", "cpu", "--epochs", "1"]
    done = run_cli("finetune", str(table), *MODEL, "--name", "tuned", *line)
    assert done.exit_code == 0, done.err
    predict = ("predict", "--model", "tuned")
    assert cells(run_cli(*predict, *genes(record))) == ROWS
    (tmp_path / "x.fa").write_text(SEQUENCE)
    tiled = run_cli(*predict, str(tmp_path / "x.fa"), "--tile", "80")
    places = [["X.1", str(start), str(start + 80)] for start in (0, 80, 120)]
    assert [row[1:4] for row in cells(tiled)] == places
    first = json.loads(run_cli(*predict, *genes(record), "--json").out)["records"][0]
    assert [str(first[name]) for name in COLUMNS] == ROWS[0][1:]
    bed = tmp_path / "r.bed"
    bed.write_text("X.1\t0\t9\ta\nX.1\t190\t300\tb\n")
    line = ["--genome", str(tmp_path / "x.fa"), "--bed", str(bed)]
    done = run_cli(*predict, *line)
    assert cells(done) == [["a", "X.1", "0", "9", ".", ""], ["b", "X.1", "190", "300", ".", ""]]
    assert "beyond the record: it reaches to base 300" in done.out.splitlines()[2]
    assert "2 regions read, 1 used, 1 left out (1 beyond the record)" in done.err


def test_files_of_vectors_hold_coordinates_and_provenance(
    run_cli: RunCommand, record: Path, tmp_path: Path
) -> None:
    out = tmp_path / "v.h5ad"
    assert run_cli("embed", *genes(record), *MODEL, "-o", str(out)).exit_code == 0
    with h5py.File(out) as file:
        obs = file["obs"]
        assert list(obs.attrs["column-order"]) == ["id", *COLUMNS]
        assert obs["start"][:].tolist() == [5, 189]
        assert obs["end"][:].tolist() == [40, 200]
        for name, words in (
            ("chrom", ["X.1"] * 2),
            ("strand", ["+", "-"]),
            ("feature", ["gene"] * 2),
        ):
            column = obs[name]
            assert column.attrs["encoding-type"] == "categorical"
            categories = column["categories"].asstr()[:]
            assert categories.tolist() == sorted(categories)
            assert categories[column["codes"][:]].tolist() == words
        provenance = file["uns"]["genomeformer"]
        assert provenance["model"].asstr()[()] == RELEASED
        assert json.loads(provenance["regions"].asstr()[()])["features"] == ["gene"]
    out = tmp_path / "v.parquet"
    assert run_cli("embed", *genes(record), *MODEL, "-o", str(out), "--pool", "none").exit_code == 0
    found = pq.read_table(out)
    assert found.column_names[:7] == ["id", *COLUMNS, "position"]
    assert found.column("start").to_pylist() == [5] * 35 + [189] * 11
    assert json.loads(found.schema.metadata[b"genomeformer"])["regions"]["upstream"] == 5
    ids = tmp_path / "ids.tsv"
    line = ("--tile", "150", *MODEL, "--ids", str(ids), "-o", str(tmp_path / "v.npy"))
    assert run_cli("embed", str(record), *line).exit_code == 0
    assert [line.split("\t") for line in ids.read_text().splitlines()] == [
        ["id", "length", "first_row", "rows", *COLUMNS],
        ["X.1:0-150", "150", "0", "1", "X.1", "0", "150", "+", "tile"],
        ["X.1:50-200", "150", "1", "1", "X.1", "50", "200", "+", "tile"],
    ]


@pytest.mark.parametrize("form", ["cache", "imported", "genbank", "gff"])
def test_the_annotation_is_that_of_the_cache_the_genome_or_a_file(
    form: str, run_cli: RunCommand, tmp_path: Path
) -> None:
    if form == "cache":
        place = ["--genome", PHAGE]
        run_cli("fetch", "--sample")
    elif form == "imported":
        place = ["--genome", "phix"]
        done = run_cli("fetch", "--file", str(PHIX), "--name", "phix")
        assert done.exit_code == 0, done.err
    elif form == "genbank":
        place = [str(PHIX)]
    else:
        place = ["--genome", str(PHIX_FASTA), "--gff", str(PHIX)]
    out = tmp_path / "v.tsv"
    done = run_cli("embed", *place, "--feature", "CDS", *MODEL, "-o", str(out))
    if form == "cache":
        assert_failure(done, "has no annotation in the cache", hint="--gff", exit_code=2)
        return
    rows = [line.split("\t")[:6] for line in out.read_text().splitlines()[1:]]
    assert len(rows) == 11
    # Across the origin of the circle of 5,386 bases.
    assert ["3980", "5522", "+", "CDS"] in [row[2:] for row in rows]


@pytest.mark.parametrize(
    ("line", "words", "exit_code"),
    [
        (
            "--genome x.gbk --feature gene --tile 9",
            "`--feature` and `--tile` exclude each other",
            2,
        ),
        ("--genome x.gbk --gff x.gbk", "`--gff` without `--feature`", 2),
        ("--genome x.gbk --upstream 3", "`--upstream` without `--feature`", 2),
        ("x.gbk --step 3", "`--step` without `--tile`", 2),
        ("x.gbk --tile 10 --step 11", "`--step 11` with tiles of 10", 2),
        ("x.gbk --feature gene --gff x.gbk", "`--gff` needs a genome", 2),
        ("x.fa --feature gene", "`x.fa` has no annotation", 2),
        ("x.gbk --feature tRNA", "no features for `--feature trna`", 1),
        ("n.fa --tile 3", "no tile of 3 bases has a base other than N", 1),
        ("--genome x.fa --gff y.gff --feature gene", "no sequence of `x.fa` is annotated", 1),
    ],
)
def test_invalid_regions_are_refused(
    line: str,
    words: str,
    exit_code: int,
    run_cli: RunCommand,
    record: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.fa").write_text(SEQUENCE)
    Path("n.fa").write_text(">n\nNNNNNNN\n")
    Path("y.gff").write_text(gff("other gene 1 9 + . ID=a"))
    assert record.exists()
    assert_failure(run_cli("score", *line.split(), *MODEL), words, exit_code=exit_code)


def test_shards_of_tiles_are_every_nth_row(
    run_cli: RunCommand, record: Path, tmp_path: Path
) -> None:
    line = ("embed", str(record), "--tile", "30", "--step", "10", *MODEL)
    whole = tmp_path / "w.npy"
    run_cli(*line, "-o", str(whole))
    for first in (1, 2, 3):
        part = tmp_path / f"{first}.npy"
        run_cli(*line, "--shard", f"{first}/3", "-o", str(part))
        assert (np.load(whole)[first - 1 :: 3] == np.load(part)).all()


def test_tiles_with_too_many_n_name_the_setting(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("n.fa").write_text(">n\nNNNANNNA\n")
    done = run_cli("embed", "n.fa", "--tile", "4", "--set", "regions.max_n=0.5", *MODEL)
    assert_failure(done, "no more N than `regions.max_n=0.5`", hint="raise `regions.max_n`")
