"""A lock file says of every genome what is known of it, fetched or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.genomes.genome import RemoteFile
from genomeformer_cli.core.genomes.lockfile import read_lock, row_of, write_lock
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.workflows.fetch import read_lock_items
from tests.corpora import genome

URL = "https://ftp.ncbi.nlm.nih.gov/genomes/all/GCF/000/005/845/GCF_000005845.2_X/x_genomic.fna.gz"
FILE = RemoteFile(format="fasta", file="x_genomic.fna.gz", url=URL, md5="0" * 32, num_bytes=10)
FETCHED = replace(
    genome("GCF_000005845.2", 10), accession="GCF_000005845.2", taxid=562, files=(FILE,)
)
MINE = replace(genome("mine", 10), accession="NC_000001.1", files=())


class Listening(SilentReporter):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


def test_a_genome_that_was_not_fetched_is_written_and_read_back(tmp_path: Path) -> None:
    write_lock(tmp_path / "lock", [row_of(MINE, ("chr1", "chr2"))])
    (row,) = read_lock(tmp_path / "lock")
    assert (row.accession, row.files, row.records) == ("mine", (), ("chr1", "chr2"))
    assert (row.source, row.sha256) == (MINE.source, MINE.sha256)
    assert "descriptions" not in (tmp_path / "lock").read_text(encoding="utf-8")
    write_lock(tmp_path / "lock", [row_of(MINE, ("chr1", "chr2"), ("Mus musculus", ""))])
    (row,) = read_lock(tmp_path / "lock")
    assert row.descriptions == ("Mus musculus", "")


def test_rows_without_a_url_are_left_out_with_a_warning(tmp_path: Path) -> None:
    lock, reporter = tmp_path / "lock", Listening()
    write_lock(lock, [row_of(MINE), row_of(FETCHED, ("ignored",))])
    (order,) = read_lock_items(lock, reporter)
    assert order.assembly.accession == "GCF_000005845.2"
    (warning,) = reporter.warned
    assert "mine" in warning
    write_lock(lock, [row_of(MINE)])
    with pytest.raises(ConfigError, match="none was fetched"):
        read_lock_items(lock, reporter)
