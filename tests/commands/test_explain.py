"""`explain`: pairs, maps and pictures of any source, and refused options."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.explanation.dependencies import DependencyMap
from genomeformer_cli.core.explanation.pairs import strongest_pairs
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, write_finetuned
from genomeformer_cli.core.finetuning.head import attach_head
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.workflows.explain import ExplainedRecord, write_maps
from genomeformer_cli.render import dependencies
from genomeformer_cli.render.rows import write_documents, write_table
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED
from tests.unit.core.explanation.test_dependencies import load

trained = pytest.mark.usefixtures("trained")
CPU = ("--model", RELEASED, "--workers", "1", "--device", "cpu")
FASTA = f">one x\n{random_dna(9, 1)}\n>none\nNNNN\n>two\n{random_dna(4, 2)}N{random_dna(3, 3)}\n"


def test_the_default_model_is_explained(run_cli: RunCommand) -> None:
    done = run_cli("explain", "-", "--dependencies", "--workers", "1", stdin=b">a\nACGTTGCATT\n")
    assert done.exit_code == 0, done.err
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows
    assert {row[0] for row in rows} == {"a"}
    assert np.isfinite([float(row[header.index("strength")]) for row in rows]).all()


@trained
def test_every_output_holds_the_same_maps(run_cli: RunCommand, tmp_path: Path) -> None:
    names = ("p.tsv", "p.json", "m.npz", "m.svg", "m.html")
    outputs = [argument for name in names for argument in ("-o", str(tmp_path / name))]
    done = run_cli("explain", "-", "--dependencies", *CPU, *outputs, stdin=FASTA.encode())
    assert done.exit_code == 0, done.err
    assert done.out == ""
    assert "record `none` is without a map" in done.err
    maps = np.load(tmp_path / "m.npz")
    assert maps["ids"].tolist() == ["one", "none", "two"]
    header, *lines = (tmp_path / "p.tsv").read_text().splitlines()
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


@trained
def test_regions_have_genome_coordinates(run_cli: RunCommand, tmp_path: Path) -> None:
    genome, bed = tmp_path / "g.fa", tmp_path / "r.bed"
    genome.write_text(f">chr\n{random_dna(40, 4)}\n")
    bed.write_text("chr\t10\t22\ta\t0\t-\n")
    region = ("--genome", str(genome), "--bed", str(bed))
    done = run_cli("explain", *region, "--dependencies", *CPU)
    header, *lines = done.out.splitlines()
    assert lines
    for line in lines:
        row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
        assert (row["chrom"], row["start"]) == ("chr", "10")
        assert int(row["genome_first"]) == 23 - int(row["first"])


@trained
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


@trained
def test_attributions_as_a_table_and_a_track(run_cli: RunCommand, tmp_path: Path) -> None:
    fasta = tmp_path / "a.fa"
    fasta.write_text(f">one x\n{random_dna(15, 1)}\n")
    names = ("a.tsv", "a.json", "a.npz", "a.svg", "a.bedgraph")
    outputs = [argument for name in names for argument in ("-o", str(tmp_path / name))]
    chosen = ("--attribution", "grad", "--answer", "9")
    done = run_cli("explain", str(fasta), *chosen, *CPU, *outputs)
    assert done.exit_code == 0, done.err
    header, *lines = (tmp_path / "a.tsv").read_text().splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    values = [float(row["attribution"]) for row in rows]
    assert "".join(row["base"] for row in rows) == random_dna(15, 1)
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


def test_motifs_of_a_fine_tuned_model_match_themselves(run_cli: RunCommand, tmp_path: Path) -> None:
    folder, fasta = tmp_path / "model", tmp_path / "a.fa"
    write_classifier(folder)
    bases = random_dna(40, 7)
    fasta.write_text("".join(f">s{number}\n{bases}\n" for number in range(24)))
    line = ("explain", str(fasta), "--motifs", "--attribution", "grad", "--model", str(folder))
    paths = [tmp_path / name for name in ("m.tsv", "m.json", "m.meme")]
    outputs = [argument for path in paths for argument in ("-o", str(path))]
    done = run_cli(*line, "--device", "cpu", "--workers", "1", *outputs)
    assert done.exit_code == 0, done.err
    table, document = paths[0].read_text(), json.loads(paths[1].read_text())
    matched = run_cli(*line, "--device", "cpu", "--workers", "2", "--match", str(paths[2]))
    header, *lines = matched.out.splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert {row["source"] for row in rows} == {"model", "random twin"}
    columns = ("source", "motif", "consensus", "seqlets")
    assert [[row[name] for name in columns] for row in rows] == [
        line.split("\t")[:4] for line in table.splitlines()[1:]
    ]
    assert [row["seqlets"] for row in document] == [int(row["seqlets"]) for row in rows]
    for row in rows:
        assert row["consensus"] in bases
        if row["source"] == "model":
            assert row["match"].split()[0] == row["motif"]
            assert float(row["similarity"]) == pytest.approx(1, abs=1e-3)


def test_no_motif_is_said_and_drawn_by_nothing(run_cli: RunCommand, tmp_path: Path) -> None:
    folder, fasta = tmp_path / "model", tmp_path / "a.fa"
    write_classifier(folder)
    fasta.write_text("".join(f">s{number}\n{random_dna(40, 7)}\n" for number in range(5)))
    paths = [tmp_path / name for name in ("m.tsv", "m.json", "m.meme", "m.png")]
    outputs = [argument for path in paths for argument in ("-o", str(path))]
    line = ("explain", str(fasta), "--motifs", "--attribution", "grad", "--model", str(folder))
    done = run_cli(*line, "--device", "cpu", "--workers", "1", *outputs)
    assert done.exit_code == 0, done.err
    assert "the model has no motif of 20 seqlets or more in 5 records" in done.err
    for path in paths[2:]:
        assert not path.exists()
        assert f"nothing to show: `{path}` was not written" in done.err.replace("\n", " ")
    assert len(paths[0].read_text().splitlines()) == 1
    assert json.loads(paths[1].read_text()) == []


@trained
def test_a_failure_leaves_no_output(run_cli: RunCommand, tmp_path: Path) -> None:
    names = ("a.tsv", "a.json", "a.npz", "a.svg", "a.bedgraph")
    outputs = [argument for name in names for argument in ("-o", str(tmp_path / name))]
    selected = ("--attribution", "grad", "--answer", "9")
    fasta = f">one\n{random_dna(15, 1)}\n>short\nACGT\n".encode()
    done = run_cli("explain", "-", *selected, *CPU, *outputs, stdin=fasta)
    assert_failure(done, "`short` has no base at position 9", exit_code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_no_output_holds_all_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "_MAX_MAPS", 1)
    references: list[weakref.ref[ExplainedRecord]] = []

    def records() -> Iterator[ExplainedRecord]:
        for number in range(12):
            codes = encode_bases(random_dna(30, number))
            strengths_LL = np.random.default_rng(number).random((30, 30), dtype=np.float32)
            found = DependencyMap(strengths_LL=strengths_LL, pairing_LL=strengths_LL)
            record = ExplainedRecord(
                id=f"r{number}",
                codes=codes,
                strengths_LL=strengths_LL,
                pairing_LL=strengths_LL,
                pairs=strongest_pairs(found, codes),
                codon_periodicity=1.0,
            )
            references.append(weakref.ref(record))
            yield record
            del record, found, strengths_LL

    stream: Iterator[ExplainedRecord] = records()
    with (tmp_path / "m.tsv").open("wb") as table, (tmp_path / "m.json").open("wb") as document:
        stream = write_maps(stream, tmp_path / "m.npz")
        stream = dependencies.draw_maps(stream, tmp_path / "m.svg", title="x")
        stream = write_documents(stream, document, dependencies.record_json)
        stream = write_table(stream, table, dependencies.COLUMNS, dependencies.pair_rows)
        for _ in stream:
            alive = sum(reference() is not None for reference in references)
            assert alive <= 4
    assert len(references) == 12
    assert np.load(tmp_path / "m.npz")["map_11"].shape == (30, 30)
    assert len(json.loads((tmp_path / "m.json").read_text())) == 12


def write_classifier(folder: Path) -> None:
    """Write a small model with random weights and a head."""
    loaded = load("char", "two-stack")
    space = LabelSpace(kind=TaskKind.CLASSIFICATION, names=("a", "b"))
    task = SavedTask(name="x", targets=space, pool="mean", window=64)
    attach_head(loaded.model, task.build_head(loaded.model, seed=3))
    folder.mkdir()
    loaded.model.float()
    write_finetuned(loaded, task, folder)
    seal(folder)
