"""Genomes of the cache by taxon or by lock file."""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.genomes.genome import cached_genomes
from genomeformer_cli.core.genomes.lockfile import read_lock
from genomeformer_cli.core.store.layout import Store


def genomes_of_taxon(taxon: str, store: Store) -> list[str]:
    """Names of cached genomes whose taxid it is, or whose organism's name begins with its words.

    Raises:
        UsageError: There is none.
    """
    words = taxon.casefold().split()
    names = []
    for genome, _ in cached_genomes(store):
        organism = (genome.organism or "").casefold().split()
        by_name = bool(words) and organism[: len(words)] == words
        if by_name or (taxon.isdigit() and genome.taxid == int(taxon)):
            names.append(genome.name)
    if not names:
        raise UsageError(
            f"no genome in the cache is of the taxon `{taxon}`",
            hint=f'first run `genomeformer fetch --taxon "{taxon}"`, or name what it brought by '
            "`--lock`: the cache knows species and their taxids, not the tree above them",
        )
    return names


def genomes_of_lock(path: Path) -> list[str]:
    """Accessions that a lock file of `fetch` names, in its order.

    Raises:
        ConfigError: It is missing, or a line is not a row of one.
    """
    return [row.accession for row in read_lock(path)]
