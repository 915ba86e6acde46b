"""`windows`: samples of annotated classes."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.genomes.genome import GENOME_FILE
from genomeformer_cli.core.store.seal import seal
from tests.annotations import (
    MYCOPLASMA_FASTA,
    MYCOPLASMA_GENBANK,
    MYCOPLASMA_GFF,
    PHIX,
    genbank,
    gff,
)
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.files import everything_in, fill_the_disk, names_in

OWN = ("--fasta", str(MYCOPLASMA_FASTA), "--gff", str(MYCOPLASMA_GFF))
COLUMNS = "id label genome record start end strand feature_strand feature gene locus_tag phase gc"


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def keep_annotation(home: Path, name: str, path: Path, kind: str) -> None:
    """Put annotation beside a cached genome, as a fetch does."""
    folder = home / "genomes" / name
    (folder / path.name).write_bytes(path.read_bytes())
    described = json.loads((folder / GENOME_FILE).read_text(encoding="utf-8"))
    file = {"format": kind, "file": path.name, "url": "https://x", "md5": "", "num_bytes": 1}
    described["files"] = [file]
    (folder / GENOME_FILE).write_text(json.dumps(described), encoding="utf-8")
    seal(folder)


def test_a_sample_of_each_class_as_fasta_and_table(run_cli: RunCommand, tmp_path: Path) -> None:
    prefix = tmp_path / "new" / "mine"
    line = ("windows", *OWN, "--length", "60", "--promoter", "45,15", "--terminator", "15,45")
    done = run_cli(*line, "--margin", "20", "--per-class", "50", "-o", str(prefix), "--json")
    assert (done.exit_code, done.err) == (0, "")
    result = json.loads(done.out)
    labels = ["coding", "intergenic", "promoter", "terminator"]
    assert result["counts"] == dict.fromkeys(labels, 50)
    assert names_in(tmp_path / "new") == ["mine.fa", "mine.tsv"]
    table, records = rows(prefix.with_suffix(".tsv")), list(read_records(Path(result["fasta"])))
    assert list(table[0]) == COLUMNS.split()
    assert [row["id"] for row in table] == [record.id for record in records]
    assert len({row["id"] for row in table}) == 200
    assert Counter(row["label"] for row in table) == dict.fromkeys(labels, 50)
    for row, record in zip(table, records, strict=True):
        where = f"{row['genome']}:{row['record']}:{row['start']}-{row['end']}:{row['strand']}"
        assert row["id"] == where
        assert int(row["end"]) - int(row["start"]) == len(record.sequence) == 60
        strong = sum(record.sequence.count(base) for base in "GC")
        assert row["gc"] == f"{strong / 60:.4f}"
        assert (row["phase"] in "012" and row["phase"] != "") == (row["label"] == "coding")
        assert (row["feature_strand"] == ".") == (row["label"] == "intergenic")


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    for folder, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        (tmp_path / folder).mkdir()
        line = ("--per-class", "20", "--classes", "coding,promoter", "--seed", seed)
        assert run_cli("windows", *OWN, *line, "-o", str(tmp_path / folder)).exit_code == 0
    first, again, other = (everything_in(tmp_path / name) for name in "abc")
    assert sorted(first) == ["windows.fa", "windows.tsv"]
    assert first == again
    assert first != other


@pytest.mark.parametrize(("path", "kind"), [(MYCOPLASMA_GFF, "gff"), (MYCOPLASMA_GENBANK, "gbff")])
def test_cached_genomes_bring_their_annotation(
    path: Path, kind: str, run_cli: RunCommand, cache_home: Path, tmp_path: Path
) -> None:
    run_cli("fetch", "--sample")
    keep_annotation(cache_home, "NC_000908.2", path, kind)
    done = run_cli("windows", "--all", "-o", str(tmp_path / "x"))
    assert done.exit_code == 0
    assert done.err.count("has no annotation in the cache: left out") == 2
    heading, numbers = done.out.splitlines()[:2]
    assert heading.split() == [
        *("genome", "records", "coding", "intergenic", "promoter", "terminator")
    ]
    assert numbers.split() == ["NC_000908.2", "1", "2,428", "4", "545", "545"]
    done = run_cli("windows", "--taxon", "mycoplasmoides", "-o", str(tmp_path / "y"), "--json")
    assert json.loads(done.out)["counts"]["coding"] == 2428


def test_a_genome_without_annotation_is_named(
    run_cli: RunCommand, cache_home: Path, tmp_path: Path
) -> None:
    run_cli("fetch", "--sample")
    out = ("-o", str(tmp_path / "x"))
    done = run_cli("windows", "--genome", "NC_001422.1", *out)
    assert_failure(done, "NC_001422.1", "no annotation", hint="--gff FILE", exit_code=2)
    done = run_cli("windows", "--all", *out)
    assert_failure(done, "none of the selected genomes", hint="fasta,gff", exit_code=2)
    assert_failure(run_cli("windows", *out), "no genomes to cut", hint="NC_0014", exit_code=2)
    genome = cache_home / "genomes" / "NC_001422.1" / GENOME_FILE
    described = json.loads(genome.read_text(encoding="utf-8"))
    genome.write_text(json.dumps({**described, "accession": "GCF_1.1"}), encoding="utf-8")
    seal(genome.parent)
    done = run_cli("windows", "--genome", "NC_001422.1", *out)
    assert_failure(done, "no annotation", hint="--accession GCF_1.1 --format", exit_code=2)
    described |= {"accession": "GCF_1.1", "absent": ["gff"]}
    genome.write_text(json.dumps(described), encoding="utf-8")
    seal(genome.parent)
    done = run_cli("windows", "--genome", "NC_001422.1", *out)
    assert_failure(done, "no annotation", hint="NCBI has none", exit_code=2)


def test_users_annotation_of_a_cached_genome(run_cli: RunCommand, tmp_path: Path) -> None:
    run_cli("fetch", "--sample")
    line = ("--genome", "NC_001422.1", "--gff", str(PHIX))
    done = run_cli("windows", *line, "-o", str(tmp_path / "x"), "--classes", "promoter")
    assert done.exit_code == 0
    assert {row["genome"] for row in rows(tmp_path / "x.tsv")} == {"NC_001422.1"}
    done = run_cli("windows", "--genome", "NC_001416.1", *line[2:], "-o", str(tmp_path / "y"))
    assert_failure(done, "`NC_001416.1` against `NC_001422.1`", hint="same ids")
    done = run_cli("windows", *line, "--fasta", "x.fa", "-o", str(tmp_path / "y"))
    assert_failure(done, "one genome", hint="--genome", exit_code=2)
    assert names_in(tmp_path) == ["cache", "x.fa", "x.tsv"]


def test_genbank_alone_is_enough(run_cli: RunCommand, tmp_path: Path) -> None:
    done = run_cli("windows", "--gff", str(PHIX), "-o", str(tmp_path / "x"), "--json")
    assert done.exit_code == 0
    assert "there is no intergenic window" in done.err
    result = json.loads(done.out)
    assert result["counts"] == {"coding": 17, "intergenic": 0, "promoter": 11, "terminator": 10}
    around = [row for row in rows(tmp_path / "x.tsv") if int(row["end"]) > 5386]
    assert {row["feature"] for row in around} == {"NP_040706.1", "NP_040707.1"}


def test_annotation_can_be_piped_in(run_cli: RunCommand, tmp_path: Path) -> None:
    line = ("--fasta", str(MYCOPLASMA_FASTA), "--gff", "-", "-o", str(tmp_path / "x"))
    text = gff("NC_000908.2 gene 5001 6000 + . ID=g")
    done = run_cli("windows", *line, "--classes", "promoter", stdin=text.encode())
    assert (done.exit_code, done.err) == (0, "")
    assert [(row["start"], row["end"]) for row in rows(tmp_path / "x.tsv")] == [("4850", "5050")]
    done = run_cli("windows", *line, "--force", stdin=b"nothing of the kind")
    assert_failure(done, "`standard input` is neither", hint="GFF3")


def test_existing_files_are_replaced_only_with_force(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("mine", encoding="utf-8")
    line = ("windows", "--gff", str(PHIX), "-o", str(tmp_path / "x"))
    assert_failure(run_cli(*line), "x.tsv", "exists", hint="--force")
    assert names_in(tmp_path) == ["x.tsv"]
    assert run_cli(*line, "--force").exit_code == 0
    assert (tmp_path / "x.tsv").read_text(encoding="utf-8") != "mine"


def test_a_failure_on_the_way_leaves_nothing(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("-o", str(tmp_path / "out" / "x"))
    bad = tmp_path / "bad.gff"
    bad.write_text(gff("NC_000908.2 gene 1 9 + . ID=g") + "one two\n", encoding="utf-8")
    done = run_cli("windows", "--fasta", str(MYCOPLASMA_FASTA), "--gff", str(bad), *out)
    assert_failure(done, "bad.gff", "line 3")
    done = run_cli("windows", "--gff", str(PHIX), "--length", "5000", "--classes", "trna", *out)
    assert_failure(done, "no window fits", hint="--length")
    fill_the_disk(monkeypatch)
    done = run_cli("windows", "--gff", str(PHIX), *out)
    assert_failure(done, "could not write", hint="space")
    assert names_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--per-class", "0"), "--per-class"),
        (("--classes", "cds"), "`cds`"),
        (("--classes", ""), "no classes"),
        (("--length", "0"), "0 bases"),
        (("--promoter", "100"), "--promoter 100"),
        (("--margin", "-1"), "margin"),
        (("--max-n", "2"), "--max-n 2"),
    ],
)
def test_invalid_requests_are_refused(
    flags: tuple[str, str], words: str, run_cli: RunCommand, tmp_path: Path
) -> None:
    done = run_cli("windows", "--gff", str(PHIX), *flags, "-o", str(tmp_path / "x"))
    assert_failure(done, words, exit_code=2)
    assert names_in(tmp_path) == []


def test_fasta_alone_and_gff_alone_are_not_enough(run_cli: RunCommand, tmp_path: Path) -> None:
    out = ("-o", str(tmp_path / "x"))
    done = run_cli("windows", "--fasta", str(MYCOPLASMA_FASTA), *out)
    assert_failure(done, "`--fasta` without", hint="--gff", exit_code=2)
    done = run_cli("windows", "--gff", str(MYCOPLASMA_GFF), *out)
    assert_failure(done, "GFF3", hint="--fasta")


def test_lengths_that_give_the_class_away_are_warned_of(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    line = ("windows", "--gff", str(PHIX), "--length", "100", "--classes")
    done = run_cli(*line, "coding,promoter", "-o", str(tmp_path / "x"))
    assert "window lengths differ between classes" in done.err
    assert "coding 100, promoter 200" in done.err
    done = run_cli(*line, "coding", "-o", str(tmp_path / "y"))
    assert done.err == ""


def test_names_with_odd_characters_stay_in_their_cells(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(f">c\n{random_dna(900)}\n", encoding="utf-8")
    text = gff("c gene 300 600 + . ID=g%09h;gene=a%0Ab")
    (tmp_path / "a.gff").write_text(text, encoding="utf-8")
    files = ("--fasta", str(tmp_path / "a.fa"), "--gff", str(tmp_path / "a.gff"))
    done = run_cli("windows", *files, "--classes", "promoter", "-o", str(tmp_path / "x"))
    assert done.exit_code == 0
    (row,) = rows(tmp_path / "x.tsv")
    assert (row["feature"], row["gene"]) == ("g h", "a b")


def test_several_records_of_one_genbank_file(run_cli: RunCommand, tmp_path: Path) -> None:
    text = "".join(
        genbank(random_dna(900, seed), f'gene 300..600 /locus_tag="t{seed}"', name=f"R{seed}")
        for seed in range(3)
    )
    (tmp_path / "many.gbk").write_text(text, encoding="utf-8")
    line = ("--gff", str(tmp_path / "many.gbk"), "--classes", "promoter,intergenic")
    done = run_cli("windows", *line, "-o", str(tmp_path / "x"), "--json")
    (genome,) = json.loads(done.out)["genomes"]
    assert (genome["genome"], genome["num_records"]) == ("many", 3)
    found = Counter((row["record"], row["label"]) for row in rows(tmp_path / "x.tsv"))
    assert found == {
        (f"R{n}.1", label): 1 for n in range(3) for label in ("promoter", "intergenic")
    }
