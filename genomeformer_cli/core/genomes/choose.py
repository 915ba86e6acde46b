"""Genomes of the cache by name, by taxon or by lock file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.genomes.genome import Genome, cached_genomes
from genomeformer_cli.core.genomes.lockfile import read_lock
from genomeformer_cli.core.store.layout import Kind, Store


def choose_genomes(
    store: Store,
    *,
    names: Sequence[str] = (),
    taxon: str | None = None,
    lock: Path | None = None,
    all_genomes: bool = False,
) -> list[tuple[Genome, Path]]:
    """Genomes of the cache that were asked for in any way, each once, and their FASTA files.

    Raises:
        UsageError: No genome is of the taxon.
        ConfigError: The lock file cannot be read.
        NotInCacheError: A genome is not there.
    """
    if all_genomes:
        return cached_genomes(store)
    chosen = list(names)
    if taxon:
        chosen += genomes_of_taxon(taxon, store)
    if lock:
        chosen += genomes_of_lock(lock)
    return cached_genomes(store, list(dict.fromkeys(chosen)))


def no_genomes(store: Store, purpose: str) -> UsageError:
    """The sentence for a command line that names no genomes; its hint says which there are."""
    known = ", ".join(f"`{entry.name}`" for entry in store.entries(Kind.GENOMES)[:12])
    hint = (
        f"the cache holds {known}; name them, or take `--all`"
        if known
        else "first run `genomeformer fetch --sample`"
    )
    return UsageError(f"no genomes to {purpose}", hint=hint)


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
