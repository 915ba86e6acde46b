"""`predict --tile`: tracks, pictures, and resuming a scan."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pybigtools
import pytest

from genomeformer_cli.core.workflows import prediction_parts
from tests.cli import Finished, RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.genome_page import OpenPage
from tests.models import RELEASED

CPU = ("--workers", "1", "--device", "cpu")
RECORDS = {"one": random_dna(700, 1), "two": random_dna(70, 2) + "N" * 90 + random_dna(75, 3)}
TILES = ("--tile", "40", "--step", "15")


def write_table(path: Path, column: str, labels: list[str]) -> Path:
    rows = [f"s{n}\t{random_dna(30, n)}\t{label}" for n, label in enumerate(labels)]
    path.write_text(f"id\tsequence\t{column}\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def tuned_cache(trained_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the models `gc` (two classes), `height` (a quantity) and `bases` (per base)."""
    folder = tmp_path_factory.mktemp("tuned")
    home = Path(shutil.copytree(trained_cache, folder / "cache"))
    sequences = [random_dna(30, number) for number in range(40)]
    shares = [sum(letter in "GC" for letter in letters) / 30 for letters in sequences]
    tables = {
        "gc": ["1" if share > 0.5 else "0" for share in shares],
        "height": [f"{share:.3f}" for share in shares],
        "bases": ["".join("ab"[letter in "GC"] for letter in letters) for letters in sequences],
        "kinds": ["xyz"[number % 3] for number in range(40)],
    }
    from genomeformer_cli.app import main

    options = (
        "--model",
        RELEASED,
        "--epochs",
        "1",
        "--set",
        "training.batch_size=16",
        "--threads",
        "1",
        "--device",
        "cpu",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENOMEFORMER_HOME", str(home))
        for name, labels in tables.items():
            table = write_table(folder / f"{name}.tsv", "label", labels)
            line = ["genomeformer", "finetune", str(table), "--name", name, *options]
            patch.setattr("sys.argv", line)
            patch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO()))
            patch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO()))
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return home


@pytest.fixture
def genome(tuned_cache: Path, cache_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(tuned_cache, cache_home)
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name} x\n{bases}\n" for name, bases in RECORDS.items()))
    return path


def predict(run_cli: RunCommand, genome: Path, *more: str, model: str = "gc") -> Finished:
    return run_cli("predict", str(genome), "--model", model, *CPU, *more)


def scan(run_cli: RunCommand, genome: Path, *more: str, model: str = "gc") -> Finished:
    done = predict(run_cli, genome, *TILES, *more, model=model)
    assert done.exit_code == 0, done.err
    return done


def table_rows(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def bed_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


@pytest.mark.parametrize("strands", ["one", "both"])
def test_tracks_equal_the_table(
    run_cli: RunCommand, genome: Path, tmp_path: Path, strands: str
) -> None:
    more = ("--set", "regions.both_strands=true") if strands == "both" else ()
    names = ["t.tsv", "h.bed", "h.gff3", "s.bedgraph", "s.bw"]
    outputs = [word for name in names for word in ("-o", str(tmp_path / name))]
    scan(run_cli, genome, *more, *outputs, "--threshold", "0.4")
    rows = table_rows(tmp_path / "t.tsv")
    assert {row["strand"] for row in rows} == ({"+", "-"} if strands == "both" else {"+"})
    hits = [row for row in rows if float(row["p_1"]) >= 0.4]
    assert len(hits) > 0
    expected = sorted(
        (row["chrom"], int(row["start"]), int(row["end"]), row["strand"]) for row in hits
    )
    bed = bed_rows(tmp_path / "h.bed")
    assert [(c[0], int(c[1]), int(c[2]), c[5]) for c in bed] == expected
    by_place = {(r["chrom"], r["start"], r["end"], r["strand"]): float(r["p_1"]) for r in rows}
    for cells in bed:
        value = by_place[cells[0], cells[1], cells[2], cells[5]]
        assert abs(int(cells[4]) - 1000 * value) <= 0.51
    lines = (tmp_path / "h.gff3").read_text().splitlines()
    assert lines[1:3] == [f"##sequence-region {n} 1 {len(b)}" for n, b in RECORDS.items()]
    gff = [line.split("\t") for line in lines[3:]]
    assert [(c[0], int(c[3]) - 1, int(c[4]), c[6]) for c in gff] == expected
    graph = bed_rows(tmp_path / "s.bedgraph")
    reader = pybigtools.open(str(tmp_path / "s.bw"))
    assert reader.chroms() == {name: len(bases) for name, bases in RECORDS.items()}
    found = [(name, *row) for name in RECORDS for row in reader.records(name)]
    assert [(c[0], int(c[1]), int(c[2])) for c in graph] == [row[:3] for row in found]
    assert np.allclose([float(c[3]) for c in graph], [row[3] for row in found], rtol=1e-5)
    # Every base of a tile has the score of the tile with the nearest centre.
    covered: dict[tuple[str, int], float] = {}
    for chrom, start, end, value in found:
        for base in range(start, end):
            assert (chrom, base) not in covered
            covered[chrom, base] = value
    tiles: dict[tuple[str, int, int], float] = {}
    for row in rows:
        key = (row["chrom"], int(row["start"]), int(row["end"]))
        tiles[key] = max(tiles.get(key, 0.0), float(row["p_1"]))
    bases = {(c, base) for c, start, end in tiles for base in range(start, end)}
    assert bases == set(covered)
    for (chrom, base), value in covered.items():
        distances = {
            abs(start + end - 2 * base - 1): tiles[c, start, end]
            for c, start, end in tiles
            if c == chrom and start <= base < end
        }
        least = min(distances)
        near = [v for d, v in distances.items() if d <= least + 2]  # rounding of the middle
        assert any(abs(value - other) < 1e-4 for other in near)


def test_merged_hits_cover_the_bases_of_the_others(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    options = ("--class", "0", "--class", "1", "--threshold", "0.3")
    apart, merged = tmp_path / "a.bed", tmp_path / "m.bed"
    scan(run_cli, genome, *options, "-o", str(apart))
    scan(run_cli, genome, *options, "--merge-within", "0", "-o", str(merged))
    assert len(bed_rows(merged)) < len(bed_rows(apart))

    def covered(path: Path) -> set[tuple[str, str, int]]:
        rows = bed_rows(path)
        return {(c[0], c[3], base) for c in rows for base in range(int(c[1]), int(c[2]))}

    assert covered(merged) == covered(apart)


def test_an_interrupted_scan_resumes_with_equal_bytes(
    run_cli: RunCommand, genome: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genomeformer_cli.core.workflows.predict._BASES_OF_PART", 400)
    whole, resumed = tmp_path / "whole.bed", tmp_path / "resumed.bed"
    scan(run_cli, genome, "--threshold", "0.3", "-o", str(whole))
    write = prediction_parts.PredictionParts.write
    written: list[int] = []

    def stop(self: prediction_parts.PredictionParts, number: int, rows: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, rows)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(prediction_parts.PredictionParts, "write", stop)
        stopped = predict(run_cli, genome, *TILES, "--threshold", "0.3", "-o", str(resumed))
    assert stopped.exit_code != 0
    assert not resumed.exists()
    folder = prediction_parts.parts_folder(resumed)
    assert sorted(path.name for path in folder.glob("*.npy")) == ["00000000.npy", "00000001.npy"]
    first = folder / "00000000.npy"
    first.write_bytes(first.read_bytes()[:-1] + b"x")  # a damaged part is computed again
    rerun: list[int] = []

    def count(self: prediction_parts.PredictionParts, number: int, rows: object) -> None:
        rerun.append(number)
        write(self, number, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(prediction_parts.PredictionParts, "write", count)
    done = scan(run_cli, genome, "--threshold", "0.3", "-o", str(resumed), "--resume")
    assert "2 parts already computed" in done.err
    assert 0 in rerun
    assert 1 not in rerun
    assert resumed.read_bytes() == whole.read_bytes()
    assert not folder.exists()


def test_parts_of_another_job_are_not_used(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.bed"
    prediction_parts.PredictionParts(
        prediction_parts.parts_folder(output), job="another", resume=False
    )
    done = scan(run_cli, genome, "-o", str(output), "--resume")
    assert "starting over" in done.err


def test_the_suffix_of_json_is_its_format(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    scan(run_cli, genome, "-o", str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text())["records"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("-o x.bb --tile 40", "writes no file of the name `x.bb`", "`.bed`"),
        ("-o x.csv", "writes no file of the name `x.csv`", "`.tsv`"),
        ("-o x.bed", "needs predictions along the records", "--tile"),
        ("-o x.bed --tile 40 --class 7", "the model has no class `7`", "`0`, `1`"),
        ("-o x.bed --tile 40 --threshold nan", "invalid `--threshold nan`", "number"),
        ("-o x.bed --tile 40 --threshold 1.1", "scores are probabilities", "from 0 to 1"),
        ("-o x.bed --tile 40 --threshold -0.1", "scores are probabilities", "from 0 to 1"),
        ("-o x.bw --tile 40 --class 0 --class 1", "a track of scores holds one class", "--class"),
        ("-o x.tsv --tile 40 --class 1", "`--class` has no effect", "hits.bed"),
        ("--tile 40 --threshold 0.4", "`--threshold` has no effect", "hits.bed"),
        ("-o x.bw --tile 40 --class 1 --merge-within 3", "`--merge-within` has no", "hits.bed"),
        ("--plot x.bmp --tile 40", "unknown picture format", "`.html`"),
        ("--tile 40 --resume", "`--resume` needs an output file", "-o"),
        ("-o x.bed --tile 40 --model height", "need a threshold", "--threshold"),
        ("-o x.bw --tile 40 --model kinds", "a track of scores holds one class, and 3", "`x`"),
    ],
)
def test_an_output_that_cannot_be_served_is_refused(
    run_cli: RunCommand,
    genome: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    message: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    model = () if "--model" in line else ("--model", "gc")
    done = run_cli("predict", str(genome), *model, *CPU, *line.split())
    assert_failure(done, message, hint=hint, exit_code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_two_records_of_one_id_are_refused(run_cli: RunCommand, genome: Path) -> None:
    genome.write_text(genome.read_text() + ">one\nACGT\n")
    done = predict(run_cli, genome, *TILES, "-o", str(genome.with_name("x.bw")))
    assert done.exit_code == 1
    assert "2 records of" in done.err
    assert "hint: a track needs distinct ids" in done.err
    assert sorted(path.name for path in genome.parent.iterdir()) == ["cache", "genome.fa"]


def test_a_long_record_names_tiles(run_cli: RunCommand, genome: Path, tmp_path: Path) -> None:
    done = predict(run_cli, genome)
    assert "`one` has 700 bases, the longest training sequence 30" in done.err
    assert "`--tile 30`" in done.err
    short = tmp_path / "short.fa"
    short.write_text(f">s\n{RECORDS['one'][:110]}\n")
    assert "longest" not in predict(run_cli, short).err
    assert "longest" not in predict(run_cli, genome, model="bases").err


def test_labels_of_bases_are_a_track_without_tiles(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    table, wig, bed = tmp_path / "t.tsv", tmp_path / "s.bw", tmp_path / "h.bed"
    predict(run_cli, genome, "-o", str(table), "--base-labels", "rows", model="bases")
    options = ("--class", "b", "-o", str(wig))
    done = predict(run_cli, genome, *options, "-o", str(bed), model="bases")
    assert done.exit_code == 0, done.err
    assert done.err.count("records read, ") == 1  # Once, for two outputs.
    reader = pybigtools.open(str(wig))
    rows = table_rows(table)
    for name in RECORDS:
        expected = [float(row["p_b"]) for row in rows if row["id"] == name]
        found = np.asarray(reader.values(name, fillna=None))
        assert np.allclose(found, expected, rtol=1e-5, equal_nan=True)
    covered = [(c[0], base) for c in bed_rows(bed) for base in range(int(c[1]), int(c[2]))]
    called = [(r["id"], int(r["position"]) - 1) for r in rows if float(r["p_b"]) >= 0.5]
    assert covered == called


def test_tiles_of_labelled_bases_join_where_the_next_tile_is_nearer(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    wig = tmp_path / "s.bw"
    scan(run_cli, genome, "--class", "b", "-o", str(wig), model="bases")
    values = np.asarray(pybigtools.open(str(wig)).values("one", fillna=None))
    assert np.isfinite(values).all()


def test_quantities_are_tracks(run_cli: RunCommand, genome: Path, tmp_path: Path) -> None:
    table, graph = tmp_path / "t.tsv", tmp_path / "s.bedgraph"
    scan(run_cli, genome, "-o", str(table), "-o", str(graph), model="height")
    assert len(table_rows(table)) == len(bed_rows(graph))


def test_hits_of_several_classes_are_the_most_probable_ones(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    table, bed = tmp_path / "t.tsv", tmp_path / "h.bed"
    options = ("-o", str(table), "-o", str(bed), "--threshold", "0")
    scan(run_cli, genome, *options, model="kinds")
    rows = {(r["chrom"], r["start"], r["label"]) for r in table_rows(table)}
    assert {(c[0], c[1], c[3]) for c in bed_rows(bed)} == rows


@pytest.mark.parametrize("suffix", ["png", "svg", "html"])
def test_pictures_of_a_scan(run_cli: RunCommand, genome: Path, tmp_path: Path, suffix: str) -> None:
    picture, annotation = tmp_path / f"scan.{suffix}", tmp_path / "genes.gff3"
    annotation.write_text(
        "##gff-version 3\none\tx\tgene\t101\t400\t.\t-\t.\tID=g1;Name=rep</script>A\n"
    )
    genes = ("--gff", str(annotation))
    done = scan(run_cli, genome, "--threshold", "0.3", *genes, "--plot", str(picture))
    assert done.out == ""
    assert picture.stat().st_size > 1_000
    if suffix != "html":
        return
    page = OpenPage(picture.read_text())
    assert page.text("title") == "gc"
    assert not re.search(r"(?:src|href)\s*=", picture.read_text())
    assert page.number_of("bar") > 3
    assert page.number_of("score") >= 1
    before = page.text("range")
    assert before == "one: 1 to 700"
    page.point(600, 150)
    assert "position" in page.text("readout")
    assert "1 0." in page.text("readout")
    page.point(620, 50)
    assert "gene rep</script>A 101-400 (-)" in page.text("readout")
    page.wheel(600, -1)
    assert page.text("range") != before
    page.click("whole")
    assert page.text("range") == before
    page.choose("record", "1")
    assert page.text("range") == "two: 1 to 235"


def test_json_of_tiles_is_unchanged(run_cli: RunCommand, genome: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.json"
    scan(run_cli, genome, "--json", "-o", str(output))
    assert json.loads(output.read_text()) == json.loads(scan(run_cli, genome, "--json").out)


def test_tiles_read_in_a_context_keep_their_rows(
    run_cli: RunCommand, genome: Path, tmp_path: Path
) -> None:
    alone, shared = tmp_path / "alone.tsv", tmp_path / "shared.tsv"
    scan(run_cli, genome, "-o", str(alone))
    setting = ("--set", "regions.context=160", "--set", "regions.both_strands=true")
    scan(run_cli, genome, *setting, "-o", str(shared))
    rows = {row["id"]: row for row in table_rows(shared)}
    assert len(rows) == 2 * len(table_rows(alone))
    for row in table_rows(alone):
        for strand in "+-":
            other = rows[f"{row['id']}:{strand}"]
            assert [other[name] for name in ("start", "end")] == [row["start"], row["end"]]
    places = [name.rpartition(":")[0] for name in rows]
    assert places[::2] == places[1::2]
    assert {row["p_1"] for row in table_rows(alone)} != {row["p_1"] for row in rows.values()}
    done = predict(run_cli, genome, "--set", "regions.context=160")
    assert_failure(done, "`--set regions.context` without `--tile`", exit_code=2)
    done = predict(run_cli, genome, *TILES, "--set", "regions.context=60")
    sentence = "invalid `regions.context=60` of tiles of 40 bases"
    assert_failure(done, sentence, hint="80", exit_code=2)
