"""Descriptions of cached genomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CorruptError, NotInCacheError
from genomeformer_cli.core.genomes.genome import (
    GENOME_FILE,
    Genome,
    cached_genomes,
    genome_from_json,
    genome_to_json,
    load_genome,
)
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.store.layout import Kind, Store

GENOME = Genome(
    name="g",
    fasta="g.fa.gz",
    sha256="0" * 64,
    num_records=2,
    num_bases=10,
    source="file",
    retrieved="2026-01-01",
    organism="Escherichia phage phiX174",
    taxid=10847,
)


def test_a_genome_survives_json() -> None:
    assert genome_from_json(genome_to_json(GENOME)) == GENOME


def test_keys_of_a_later_version_are_ignored() -> None:
    assert genome_from_json({**genome_to_json(GENOME), "chromosomes": 3}) == GENOME


def test_the_label_names_the_organism_if_known() -> None:
    assert GENOME.label == "g (Escherichia phage phiX174)"
    assert genome_from_json({**genome_to_json(GENOME), "organism": None}).label == "g"


def test_cached_genomes_keep_the_requested_order(cache_home: Path) -> None:
    store = Store(cache_home)
    for sample in sample_genomes():
        install_sample(sample, store=store)
    names = ["NC_001422.1", "NC_000908.2"]
    found = cached_genomes(store, names)
    assert [genome.name for genome, _ in found] == names
    assert all(path.is_file() for _, path in found)
    assert [genome.name for genome, _ in cached_genomes(store)] == sorted(
        sample.name for sample in sample_genomes()
    )
    assert cached_genomes(store, []) == []
    with pytest.raises(NotInCacheError):
        cached_genomes(store, ["nothing"])


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"name": "g"}', "\x00"])
def test_a_damaged_description_is_an_error(damage: str, cache_home: Path) -> None:
    store = Store(cache_home)
    with store.create(Kind.GENOMES, "g") as folder:
        (folder / GENOME_FILE).write_text(damage, encoding="utf-8")
    with pytest.raises(CorruptError, match="`g`") as caught:
        load_genome(store.entry(Kind.GENOMES, "g"))
    assert "genomes/g" in str(caught.value.hint)
