"""Real answers of NCBI are read; the two sources of metadata say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import CorruptError, UsageError
from genomeformer_cli.core.genomes.ncbi.assembly import (
    Level,
    check_accession,
    from_report,
    from_summary,
    read_level,
    version_of,
)
from genomeformer_cli.core.genomes.ncbi.paths import computed_directory, rebase
from genomeformer_cli.core.genomes.ncbi.summaries import read_summary
from tests.mini_ncbi.files import summary
from tests.mini_ncbi.rest import report
from tests.mini_ncbi.world import make_world

DATA = Path(__file__).parents[4] / "data" / "ncbi"
SAME = (
    *("taxid", "organism", "name", "level", "status", "released", "num_bases", "is_reference"),
    *("is_type", "is_atypical", "is_mag", "paired", "num_contigs"),
)
# In the excerpt of viruses some paths were edited by hand.
UNEDITED = [path for path in sorted(DATA.glob("real_*summary.txt")) if "viral" not in path.name]
SUMMARIES = sorted(DATA.glob("real_*summary.txt"))


def real_report(accession: str) -> dict[str, Any]:
    text = (DATA / f"dataset_report_{accession}.json").read_text(encoding="utf-8")
    (value,) = json.loads(text)["reports"]
    return dict(value)


def test_real_report_of_k12() -> None:
    assembly = from_report(real_report("GCF_000005845.2"))
    assert (assembly.taxid, assembly.name, assembly.level) == (511145, "ASM584v2", Level.COMPLETE)
    assert assembly.num_bases == 4_641_652
    assert assembly.is_reference
    assert not assembly.is_type
    assert assembly.current is None
    assert assembly.paired == "GCA_000005845.2"
    assert (assembly.completeness, assembly.contamination) == (99.48, 0.15)
    assert assembly.released == "2013-09-26"


def test_real_report_of_a_virus() -> None:
    assembly = from_report(real_report("GCF_000848505.1"))
    assert assembly.is_type
    assert not assembly.is_reference
    assert assembly.completeness is None


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: path.name)
def test_real_summaries_are_read_whatever_their_columns(path: Path) -> None:
    rows = list(read_summary(path))
    assert len(rows) >= 1
    assert all(row.organism and row.taxid for row in rows)


@pytest.mark.parametrize("path", UNEDITED, ids=lambda path: path.name)
def test_the_rule_for_directories_holds_for_real_rows(path: Path) -> None:
    root = "https://host"
    for row in read_summary(path):
        if row.directory and "/all/GC" in row.directory and row.directory.count("/") > 8:
            computed = computed_directory(row.accession, row.name, root)
            assert computed == rebase(row.directory, root)


def test_report_and_summary_agree(tmp_path: Path) -> None:
    world = make_world()
    path = tmp_path / "summary.txt"
    path.write_text(summary(world, world.assemblies), encoding="utf-8")
    from_files = {row.accession: row for row in read_summary(path)}
    for assembly in world.assemblies:
        one, other = from_report(report(assembly)), from_files[assembly.accession]
        for name in SAME:
            assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("columns", [21, 22, 23, 38])
def test_every_width_of_summary(tmp_path: Path, columns: int) -> None:
    world = make_world()
    path = tmp_path / "summary.txt"
    path.write_text(summary(world, world.assemblies, columns=columns), encoding="utf-8")
    rows = list(read_summary(path))
    assert [row.accession for row in rows] == [a.accession for a in world.assemblies]
    assert rows[2].directory is not None, "tabs within a submitter's name shift nothing"


def test_a_cut_summary_is_refused(tmp_path: Path) -> None:
    text = SUMMARIES[0].read_text(encoding="utf-8")
    path = tmp_path / "summary.txt"
    path.write_text(text[: len(text) * 2 // 3], encoding="utf-8")
    with pytest.raises(CorruptError, match="middle of a row"):
        list(read_summary(path))


@pytest.mark.parametrize("text", ["", "<html>", "a\tb\nc\td\n"])
def test_an_invalid_summary_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorruptError):
        list(read_summary(path))


@pytest.mark.parametrize("value", [{}, {"accession": "x"}, {"accession": "GCF_000005845.2"}])
def test_reports_without_required_fields_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="without accession"):
        from_report(value)


def test_rows_without_accession_are_skipped() -> None:
    assert from_summary({"assembly_accession": "na"}) is None


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("Complete Genome", Level.COMPLETE),
        ("complete_genome", Level.COMPLETE),
        ("Chromosome", Level.CHROMOSOME),
        ("Scaffold", Level.SCAFFOLD),
        ("Contig", Level.CONTIG),
        ("", Level.CONTIG),
    ],
)
def test_levels(word: str, level: Level) -> None:
    assert read_level(word) is level


def test_accessions() -> None:
    assert check_accession(" gcf_000005845.2\n") == "GCF_000005845.2"
    assert check_accession("GCA_000005845") == "GCA_000005845"
    assert (version_of("GCF_000005845.12"), version_of("GCF_000005845")) == (12, 0)
    for wrong in ("NC_000913.3", "GCF_12", "GCF_000005845.", "../GCF_000005845.2"):
        with pytest.raises(UsageError):
            check_accession(wrong)
