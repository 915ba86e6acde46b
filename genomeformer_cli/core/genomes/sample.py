"""Sample genomes of the package: two phages and a small bacterial chromosome."""

from __future__ import annotations

from importlib.resources import files

from genomeformer_cli.core.documents import parse_json
from genomeformer_cli.core.genomes.genome import (
    GENOME_FILE,
    Genome,
    genome_from_json,
    genome_to_json,
)
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import file_sha256

_ASSETS = files("genomeformer_cli") / "assets" / "genomes"


def sample_genomes() -> list[Genome]:
    """Return the sample genomes as `assets/genomes/manifest.json` describes them."""
    return [
        genome_from_json(row)
        for row in parse_json((_ASSETS / "manifest.json").read_bytes(), source="manifest.json")
    ]


def install_sample(genome: Genome, *, store: Store) -> bool:
    """Copy a sample genome into the cache; return True if it was new."""
    with store.lock(Kind.GENOMES, genome.name):
        if store.has(Kind.GENOMES, genome.name):
            return False
        with store.create(Kind.GENOMES, genome.name) as folder:
            fasta = folder / genome.fasta
            fasta.write_bytes((_ASSETS / genome.fasta).read_bytes())
            assert file_sha256(fasta) == genome.sha256, f"package data of {genome.name} is damaged"
            write_json(folder / GENOME_FILE, genome_to_json(genome))
    return True
