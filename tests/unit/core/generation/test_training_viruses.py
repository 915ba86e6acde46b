"""Viruses among the training genomes of a model are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.generation.training_viruses import suspected_virus
from genomeformer_cli.core.genomes.genome import Ancestor, RemoteFile
from genomeformer_cli.core.genomes.lockfile import LOCK_NAME, LockRow, write_lock
from genomeformer_cli.core.model_io.bundled import bundled_folder

VIRUSES = Ancestor(taxid=10239, name="Viruses", rank="superkingdom")
TAILED = Ancestor(taxid=2731619, name="Caudoviricetes", rank="class")


@pytest.mark.parametrize(
    ("organism", "more", "name"),
    [
        ("Escherichia phage T4", {}, None),
        ("Escherichia virus T4", {"lineage": (VIRUSES, TAILED)}, None),
        ("Human mastadenovirus C", {}, "Human mastadenovirus C"),
        ("Potato spindle tuber viroid", {}, "Potato spindle tuber viroid"),
        ("Hepatitis delta agent", {"lineage": (VIRUSES,)}, "Hepatitis delta agent"),
        ("", {"descriptions": ("Zika virus, complete genome",)}, "Zika virus, complete genome"),
        ("Mycoplasmoides genitalium", {}, None),
    ],
)
def test_names_and_lineages_of_the_list(
    tmp_path: Path, organism: str, more: dict[str, object], name: str | None
) -> None:
    is_fetched = "lineage" in more
    url = "https://example.org/GCF_000000001.1.fna.gz"
    fasta = RemoteFile(format="fasta", file="x", url=url, md5="0" * 32, num_bytes=9)
    row = LockRow(
        accession="GCF_000000001.1",
        taxid=1,
        organism=organism,
        status="current",
        files=(fasta,) if is_fetched else (),
        licence="",
        date="",
        retrieved="",
        source="" if is_fetched else "file",
        **more,  # type: ignore[arg-type]
    )
    write_lock(tmp_path / LOCK_NAME, [row])
    (tmp_path / "README.md").write_text("Trained on viruses.\n", encoding="utf-8")
    assert suspected_virus(tmp_path) == name


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("Trained on 3,000 genomes of Orthocoronaviridae.", "Orthocoronaviridae"),
        ("Data: bacteria. No eukaryotic viruses.", None),
        ("Phages and other viruses of bacteria.", None),
        ("Viruses of eukaryotes were excluded; bacteria remain.", None),
        (None, None),
    ],
)
def test_without_a_list_the_card_counts(tmp_path: Path, card: str | None, name: str | None) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert suspected_virus(tmp_path) == name


def test_the_default_model_is_not_suspected() -> None:
    assert suspected_virus(bundled_folder()) is None
