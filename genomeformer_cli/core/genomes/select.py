"""Genomes of the cache by name, by taxon or by lock file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genomeformer_cli.core.errors import NotInCacheError, UsageError
from genomeformer_cli.core.genomes.genome import Genome, cached_genomes
from genomeformer_cli.core.genomes.lockfile import read_lock
from genomeformer_cli.core.store.layout import Kind, Store

_MAX_SHOWN = 5


def select_genomes(
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
        chosen += genomes_of_lock(lock, store)
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
    """Names of cached genomes of a taxon.

    Args:
        taxon: A taxid or a name, of the organism or of any taxon above it; of the organism's own
            name, the first words are enough. Upper and lower case are the same.
        store: The cache.

    Raises:
        UsageError: There is none.
    """
    genomes = [genome for genome, _ in cached_genomes(store)]
    names = [genome.name for genome in genomes if _is_of(genome, taxon)]
    if names:
        return names
    hint = f'first run `genomeformer fetch --taxon "{taxon}"`, or name genomes by `--genome`'
    if lacking := [genome.name for genome in genomes if not genome.lineage]:
        hint += (
            f"; of {_some(lacking)} the cache knows no lineage: what NCBI has, remove with "
            "`genomeformer cache rm` and fetch again"
        )
    raise UsageError(f"no genome in the cache is of the taxon `{taxon}`", hint=hint)


def _is_of(genome: Genome, taxon: str) -> bool:
    words = taxon.casefold().split()
    organism = (genome.organism or "").casefold().split()
    if words and organism[: len(words)] == words:
        return True
    if taxon.strip().isdigit():
        return int(taxon) in {genome.taxid, *(above.taxid for above in genome.lineage)}
    return any(words and above.name.casefold().split() == words for above in genome.lineage)


def genomes_of_lock(path: Path, store: Store) -> list[str]:
    """Accessions that a lock file of `fetch` names, in its order.

    Raises:
        ConfigError: It is missing, or a line is not a row of one.
        NotInCacheError: The cache lacks some of them.
    """
    names = [row.accession for row in read_lock(path)]
    missing = [name for name in names if not store.has(Kind.GENOMES, name)]
    if missing:
        raise NotInCacheError(
            f"of {len(names)} genomes that `{path}` names, the cache lacks {_some(missing)}",
            hint=f"first run `genomeformer fetch --lock {path}`",
        )
    return names


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_MAX_SHOWN])
    rest = len(names) - _MAX_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
