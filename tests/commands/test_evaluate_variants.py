"""`evaluate --variants`: labelled variants of a genome, beside counts and the random twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

CHROMOSOMES = {f"c{number}": random_dna(400, number) for number in range(4)}


def table_of(rows: list[tuple[str, ...]]) -> str:
    head = ("chrom", "pos", "ref", "alt", "label", "consequence", "tss_dist")
    return "".join("\t".join(row) + "\n" for row in (head, *rows))


def variants() -> list[tuple[str, ...]]:
    """Substitutions; the label depends on the alternative base, and the distance on the label."""
    rows: list[tuple[str, ...]] = []
    for number, (name, letters) in enumerate(CHROMOSOMES.items()):
        for row in range(12):
            at = 20 + 30 * row
            alt = "ACGT"[("ACGT".index(letters[at]) + 1 + number % 3) % 4]
            is_positive = alt in "AC"
            consequence = "upstream" if row % 2 else "intron"
            distance = str(5 if is_positive else 500)
            rows.append(
                (name, str(at + 1), letters[at], alt, str(is_positive), consequence, distance)
            )
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fasta = "".join(f">{name}\n{letters}\n" for name, letters in CHROMOSOMES.items())
    (tmp_path / "g.fa").write_text(fasta)
    (tmp_path / "v.tsv").write_text(table_of(variants()))
    return tmp_path


def evaluate(run_cli: RunCommand, folder: Path, *options: str) -> dict[str, Any]:
    command = ("evaluate", RELEASED, "--variants", str(folder / "v.tsv"), "--json")
    genome = ("--genome", str(folder / "g.fa"), "-o", str(folder / "e"), "--workers", "1")
    done = run_cli(*command, *genome, *options)
    assert done.exit_code == 0, done.err
    result: dict[str, Any] = json.loads(done.out)["variants"]
    count = result["count"]
    assert count["read"] == count["used"] + sum(count["left_out"].values())
    return result


def test_all_predictors_on_the_same_variants(run_cli: RunCommand, folder: Path) -> None:
    result = evaluate(run_cli, folder)
    rows = {(row["part"], row["source"], row["score"]): row for row in result["rows"]}
    assert {part for part, *_ in rows} == {"all", "upstream", "intron"}
    names = {(source, score) for part, source, score in rows if part == "all"}
    scores = ("log-odds", "absolute log-odds", "divergence", "vector distance", "probe")
    assert names >= {(source, score) for source in ("model", "random") for score in scores}
    assert names >= {("k-mers", "probe"), ("feature", "distance to feature"), ("counts", "6-mers")}
    assert rows["all", "feature", "distance to feature"]["auroc"]["value"] == 1
    for row in rows.values():
        assert row["num_rows"] == (48 if row["part"] == "all" else 24)
        for area in ("auroc", "auprc"):
            measure = row[area]
            assert 0 <= measure["low"] <= measure["value"] <= measure["high"] <= 1
    assert (result["group"], result["num_groups"], result["probe_note"]) == ("record", 4, "")
    page = (folder / "e" / "report.html").read_text(encoding="utf-8")
    assert "48 rows read, 48 used." in page
    assert evaluate(run_cli, folder) == result


def test_rows_that_cannot_be_used_are_counted(run_cli: RunCommand, folder: Path) -> None:
    bad = [
        ("c0", "399999", "A", "C", "True", "x", "1"),
        ("chr9", "5", "A", "C", "True", "x", "1"),
        ("c0", "5", "A", "<DEL>", "True", "x", "1"),
        ("c0", "x", "A", "C", "True", "x", "1"),
        ("c0", "5", "A", "C", "VUS", "x", "1"),
    ]
    (folder / "v.tsv").write_text(table_of([*variants(), *bad]))
    result = evaluate(run_cli, folder)
    assert result["count"]["left_out"] == {
        "beyond the record": 1,
        "unknown record": 1,
        "symbolic allele": 1,
        "invalid position": 1,
        "label `vus`": 1,
    }


def test_scores_of_an_assay_on_one_target(run_cli: RunCommand, folder: Path) -> None:
    letters = CHROMOSOMES["c0"]
    (folder / "g.fa").write_text(f">target\n{letters}\n")
    lines = ["accession,hgvs_nt,hgvs_pro,score"]
    for at in range(20, 60):
        alt = "ACGT"[("ACGT".index(letters[at]) + 1) % 4]
        lines.append(f"u#{at},c.{at + 1}{letters[at]}>{alt},NA,{(at % 7) / 7}")
    (folder / "v.tsv").write_text("\n".join(lines) + "\n")
    result = evaluate(run_cli, folder)
    assert result["probe_note"].startswith("labels are numbers")
    assert {row["num_positive"] for row in result["rows"]} == {None}
    assert all(-1 <= row["spearman"]["value"] <= 1 for row in result["rows"])
    result = evaluate(run_cli, folder, "--set", "variants.threshold=0.5")
    assert not result["probe_note"]
    assert {row["source"] for row in result["rows"] if row["score"] == "probe"} == {
        "model",
        "random",
        "k-mers",
    }


def test_distances_to_genes_come_from_an_annotation(run_cli: RunCommand, folder: Path) -> None:
    rows = [row[:-1] for row in variants()]
    text = table_of(rows).replace("\ttss_dist", "")
    (folder / "v.tsv").write_text(text)
    genes = "".join(f"{name}\tx\tgene\t101\t200\t.\t+\t.\tID=g{name}\n" for name in CHROMOSOMES)
    (folder / "a.gff3").write_text("##gff-version 3\n" + genes)
    result = evaluate(run_cli, folder, "--gff", str(folder / "a.gff3"))
    assert any(row["score"] == "distance to feature" for row in result["rows"])


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("c0\t5\t.\tA\tC\t.\t.\tLAB=1\n", "no column", 1),
        (table_of([("chr0", "5", "A", "C", "1", "x", "1")]), "names `chr0`, the genome `c0`", 1),
        (table_of([("c0", "9999", "A", "C", "1", "x", "1")]), "1 beyond the record", 1),
        (table_of([("c0", "5", "A", "C", "VUS", "x", "1")]), "1 label `vus`", 1),
        (
            table_of([(*row[:4], "1", *row[5:]) for row in variants()]),
            "equal: 48 rows read, 48 used",
            1,
        ),
    ],
)
def test_nothing_usable_is_an_error(
    run_cli: RunCommand, folder: Path, text: str, words: str, code: int
) -> None:
    (folder / "v.tsv").write_text(text)
    command = ("evaluate", RELEASED, "--variants", str(folder / "v.tsv"))
    done = run_cli(*command, "--genome", str(folder / "g.fa"), "-o", str(folder / "e"))
    assert_failure(done, words, exit_code=code)
    assert_failure(run_cli(*command), "`--variants` needs a genome", exit_code=2)


def test_an_output_folder_that_is_a_file_is_refused_before_any_work(
    run_cli: RunCommand, folder: Path
) -> None:
    table = folder / "v.tsv"
    command = ("evaluate", RELEASED, "--variants", str(table), "--genome", str(folder / "g.fa"))
    text = table.read_text()
    done = run_cli(*command, "-o", str(table))
    assert_failure(done, "is a file, and the output is a folder")
    assert table.read_text() == text
