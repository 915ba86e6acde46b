"""The genomes that ship are what their manifest says, and real."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.genomes.genome import Genome, cached_genomes
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import file_sha256

# Lengths as RefSeq gives them.
LENGTHS = {"NC_001422.1": 5386, "NC_001416.1": 48502, "NC_000908.2": 580076}


def test_the_three_genomes_are_there() -> None:
    assert {genome.name: genome.num_bases for genome in sample_genomes()} == LENGTHS


@pytest.mark.parametrize("genome", sample_genomes(), ids=lambda genome: genome.name)
def test_a_sample_matches_its_manifest(genome: Genome, cache_home: Path) -> None:
    store = Store(cache_home)
    assert install_sample(genome, store=store)
    ((cached, path),) = cached_genomes(store, [genome.name])
    assert cached == genome
    assert file_sha256(path) == genome.sha256
    records = list(read_records(path))
    assert len(records) == genome.num_records
    assert sum(len(record.sequence) for record in records) == genome.num_bases
    assert records[0].id == genome.accession == genome.name
    assert genome.organism is not None
    assert genome.organism in records[0].description
    assert genome.taxid
    assert genome.licence
    assert store.verify(store.entry(Kind.GENOMES, genome.name)) == 2


def test_installing_twice_changes_nothing(cache_home: Path) -> None:
    store = Store(cache_home)
    phage = sample_genomes()[0]
    assert install_sample(phage, store=store)
    before = store.entry(Kind.GENOMES, phage.name).changed
    assert not install_sample(phage, store=store)
    assert store.entry(Kind.GENOMES, phage.name).changed == before
