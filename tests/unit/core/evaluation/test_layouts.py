"""Bases, labels and refusals of the published layouts whose sequences are cut out of genomes."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import FormatError, InputError, MissingExtraError
from genomeformer_cli.core.evaluation.tasks import TaskFile, read_folder
from genomeformer_cli.core.formats.labelled import LabelColumns, read_labelled
from genomeformer_cli.core.sequence import reverse_complement
from tests.reporters import Listening
from tests.suite_samples import FOLDER, write, write_parquet

GENOME = "".join("ACGT"[(7 * place * place + place // 3) % 4] for place in range(900))


def genes(**changed: Any) -> dict[str, Any]:
    row = {
        "genome_name": "g",
        "dna_seq": GENOME,
        "start": [11, 300, 301],
        "end": [40, 360, 360],
        "strand": [1.0, -1.0, None],
        "protein_id": ["a", "b", "c"],
        "essential": ["Yes", "No", None],
    }
    return {name: [value] for name, value in {**row, **changed}.items()}


def read(folder: Path) -> TaskFile:
    (named,) = read_folder(folder)
    return named


def test_genes_have_their_upstream_bases_on_their_strand(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", genes())
    first, second, third = read(tmp_path).file.examples
    assert (first.id, first.sequence, first.label) == ("g:a", GENOME[0:40], "Yes")
    assert second.sequence == reverse_complement(GENOME[299 : 360 + 128])
    assert (third.sequence, third.label) == (GENOME[300 - 128 : 360 + 128], "")
    assert {example.group for example in (first, second, third)} == {"g"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dna_seq": GENOME + " " + GENOME}, "2 contigs, and one list of genes"),
        ({"start": [1]}, "the lists of its genes differ in length"),
        ({"strand": [0.5, 1.0, 1.0]}, "`0.5` is not a strand"),
        ({"start": [None, 1, 2]}, "`None` is not a position"),
    ],
)
def test_damaged_genes_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    write_parquet(tmp_path / "train.parquet", genes(**changed))
    with pytest.raises(FormatError, match=said):
        read(tmp_path)


def test_neighbours_within_an_operon(tmp_path: Path) -> None:
    columns = {
        "strain_name": ["s"],
        "dna_sequence": [[GENOME]],
        "start": [[[11, 100, 300, 500]]],
        "end": [[[90, 290, 400, 600]]],
        "strand": [[[-1, -1, -1, 1]]],
        "locus_tag": [[["a", "b", "c", "d"]]],
        "operon_prot_indices": [[[[0, 1]]]],
    }
    write_parquet(tmp_path / "train.parquet", columns)
    file = read(tmp_path).file
    labels = [(example.id, example.label) for example in file.examples]
    assert labels == [("s:a-b", "1"), ("s:b-c", "0")]
    assert file.examples[0].sequence == reverse_complement(GENOME[10:290])
    assert file.count.left_out == {"of neighbours on opposite strands": 1}


def bed(folder: Path, rows: str) -> Path:
    text = "chromosome\tstart\tend\tsplit\tlabel\tstrand\n" + rows
    write(folder / "data" / "x" / "x.bed", text)
    return folder


def test_intervals_are_half_open_and_stranded(tmp_path: Path) -> None:
    write(tmp_path / "genomes" / "g.fa", f">1\n{GENOME}\n")
    rows = "1\t0\t10\ttrain\ta\t+\n1\t5\t25\tvalid\tb\t-\n1\t890\t901\ttest\ta\t+\n"
    file = read(bed(tmp_path, rows)).file
    first, second = file.examples
    assert (first.sequence, first.split, first.label) == (GENOME[:10], "train", "a")
    assert (second.sequence, second.split) == (reverse_complement(GENOME[5:25]), "val")
    assert file.count.left_out == {"without bases in the genome": 1}
    assert "row 3 (line 4): beyond the record" in file.notes[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1\t0\tx\ttrain\ta\t+\n", "`0` and `x` are not positions"),
        ("1\t0\t9\tlater\ta\t+\n", "split `later`"),
        ("chr1\t0\t9\ttrain\ta\t+\n", "no row of .* is on a record"),
    ],
)
def test_invalid_intervals_are_refused(tmp_path: Path, rows: str, said: str) -> None:
    write(tmp_path / "g.fa", f">1\n{GENOME}\n")
    with pytest.raises(InputError, match=said):
        read(bed(tmp_path, rows))


def test_a_suite_without_its_genome_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no FASTA file") as caught:
        read(bed(tmp_path, "1\t0\t9\ttrain\ta\t+\n"))
    assert "`genomes/`" in str(caught.value.hint)


def test_a_record_of_two_genomes_is_refused(tmp_path: Path) -> None:
    for name in ("hg19", "hg38"):
        write(tmp_path / "genomes" / f"{name}.fa", f">1\n{GENOME}\n")
    with pytest.raises(InputError, match=r"`1` is in `.*hg19.fa` and in `.*hg38.fa`"):
        read(bed(tmp_path, "1\t0\t9\ttrain\ta\t+\n"))


def test_an_unread_task_is_reported_beside_the_others(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "gue", tmp_path / "gue")
    shutil.copytree(FOLDER / "traitgym", tmp_path / "traitgym")
    reporter = Listening()
    (named,) = read_folder(tmp_path, reporter=reporter)
    assert named.name == "gue_tf_0"
    (warning,) = reporter.warnings
    assert "`traitgym_mendelian_traits_matched_9` is not evaluated" in warning


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(FOLDER / "nt" / "H3" / "train.parquet", tmp_path)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match="needs `pyarrow`") as caught:
        read(tmp_path)
    assert "genomeformer[parquet]" in str(caught.value.hint)


def test_parquet_with_invalid_text_is_refused(tmp_path: Path) -> None:
    arrow = importlib.import_module("pyarrow")
    bases = arrow.array([b"ACGT", b"AC\xffT"], arrow.binary()).view(arrow.string())
    write_parquet(tmp_path / "train.parquet", {"sequence": bases, "label": [0, 1]})
    with pytest.raises(FormatError, match="cannot be read as parquet: 'utf-8' codec"):
        read(tmp_path)


def test_one_task_of_parquet_is_read_like_its_table(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "nt" / "H3" / "test.parquet", tmp_path / "h3.parquet")
    write(tmp_path / "INDEX.tsv", "task\nh3\n")
    examples = read(tmp_path).file.examples
    assert [example.label for example in examples] == ["0", "1"] * 4
    assert [example.id for example in examples] == [str(row) for row in range(1, 9)]
    with pytest.raises(FormatError, match="no column `kind`") as caught:
        read_labelled(tmp_path / "h3.parquet", LabelColumns(labels=("kind",)))
    assert str(caught.value.hint).startswith("its columns are `sequence`, `name`, `label`")
