"""Selection of cached genomes by name, taxon or lock file."""

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
    """Return the selected genomes, each once, with their FASTA files.

    Raises:
        UsageError: No genome belongs to the taxon.
        ConfigError: The lock file cannot be read.
        NotInCacheError: A genome is not cached.
    """
    if all_genomes:
        return cached_genomes(store)
    selected = list(names)
    if taxon:
        selected += genomes_of_taxon(taxon, store)
    if lock:
        selected += genomes_of_lock(lock, store)
    return cached_genomes(store, list(dict.fromkeys(selected)))


def no_genomes(store: Store, purpose: str) -> UsageError:
    """Build the error for a command line without genomes; the hint lists cached genomes."""
    available = ", ".join(f"`{entry.name}`" for entry in store.entries(Kind.GENOMES)[:12])
    hint = (
        f"the cache holds {available}; name them, or take `--all`"
        if available
        else "first run `genomeformer fetch --sample`"
    )
    return UsageError(f"no genomes to {purpose}", hint=hint)


def genomes_of_taxon(taxon: str, store: Store) -> list[str]:
    """Return the names of cached genomes of a taxon.

    Args:
        taxon: Taxid or name of the organism or of a taxon above it, case-insensitive; the first
            words of the organism's name suffice.
        store: Cache.

    Raises:
        UsageError: No genome belongs to the taxon.
    """
    genomes = [genome for genome, _ in cached_genomes(store)]
    names = [genome.name for genome in genomes if _belongs_to(genome, taxon)]
    if names:
        return names
    hint = f'first run `genomeformer fetch --taxon "{taxon}"`, or name genomes by `--genome`'
    if without_lineage := [genome.name for genome in genomes if not genome.lineage]:
        hint += (
            f"; {_preview(without_lineage)} have no lineage in the cache: for genomes of NCBI, "
            "`genomeformer cache rm` and fetch them again"
        )
    raise UsageError(f"no genome in the cache is of the taxon `{taxon}`", hint=hint)


def _belongs_to(genome: Genome, taxon: str) -> bool:
    words = taxon.casefold().split()
    organism = (genome.organism or "").casefold().split()
    if words and organism[: len(words)] == words:
        return True
    if taxon.strip().isdigit():
        return int(taxon) in {genome.taxid, *(above.taxid for above in genome.lineage)}
    return any(words and above.name.casefold().split() == words for above in genome.lineage)


def genomes_of_lock(path: Path, store: Store) -> list[str]:
    """Return the accessions in a lock file, in its order.

    Raises:
        ConfigError: The file is missing, or a line is invalid.
        NotInCacheError: The cache lacks some of the genomes.
    """
    names = [row.accession for row in read_lock(path)]
    missing = [name for name in names if not store.has(Kind.GENOMES, name)]
    if missing:
        raise NotInCacheError(
            f"the cache lacks {len(missing)} of {len(names)} genomes in `{path}`: "
            f"{_preview(missing)}",
            hint=f"first run `genomeformer fetch --lock {path}`",
        )
    return names


def _preview(names: list[str]) -> str:
    listing = ", ".join(f"`{name}`" for name in names[:_MAX_SHOWN])
    num_more = len(names) - _MAX_SHOWN
    return f"{listing} and {num_more} more" if num_more > 0 else listing
