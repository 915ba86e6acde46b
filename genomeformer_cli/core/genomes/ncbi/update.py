"""Changes since the last fetch of a query, from its two lock files.

An assembly that left the selection was superseded by a newer version, suppressed by NCBI, or no
longer passes the filters; the metadata source is queried for the cause. Genomes are removed only
with `--prune`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genomeformer_cli.core.genomes.lockfile import LockRow
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, version_of
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata
from genomeformer_cli.core.store.layout import Kind, Store

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Update:
    """Changes since the last fetch."""

    new: tuple[str, ...] = ()  # Accessions selected for the first time.
    superseded: tuple[tuple[str, str], ...] = ()  # Pairs of old and new accession.
    suppressed: tuple[str, ...] = ()  # Accessions withdrawn by NCBI.
    dropped: tuple[str, ...] = ()  # Accessions that no longer pass the filters.
    pruned: tuple[str, ...] = ()  # Accessions removed from the cache.


def compare(
    before: Iterable[LockRow], selection: Iterable[Assembly], metadata: Metadata | None
) -> Update:
    """Compare a selection with the last lock file.

    Args:
        before: Rows of the last lock file.
        selection: Selected assemblies.
        metadata: Source to query about missing assemblies; None offline.
    """
    old_accessions = {row.accession for row in before}
    selected = {assembly.accession: assembly for assembly in selection}
    newest = {assembly.base: assembly.accession for assembly in selected.values()}
    missing = sorted(old_accessions - set(selected))
    superseded = {
        accession: newest[b]
        for accession in missing
        if (b := accession.partition(".")[0]) in newest
    }
    unresolved = [accession for accession in missing if accession not in superseded]
    suppressed, dropped = [], []
    for accession, record in _look_up(unresolved, metadata).items():
        if record is None or record.status in ("suppressed", "retired"):
            suppressed.append(accession)
        elif record.current and version_of(record.current):
            superseded[accession] = record.current
        else:
            dropped.append(accession)
    return Update(
        new=tuple(sorted(set(selected) - old_accessions)),
        superseded=tuple(sorted(superseded.items())),
        suppressed=tuple(suppressed),
        dropped=tuple(dropped),
    )


def _look_up(accessions: list[str], metadata: Metadata | None) -> Mapping[str, Assembly | None]:
    if metadata is None:
        return {}
    assemblies: dict[str, Assembly | None] = dict.fromkeys(accessions)
    for first in range(0, len(accessions), _BATCH):
        for assembly in metadata.page_of(accessions[first : first + _BATCH]).assemblies:
            assemblies[assembly.accession] = assembly
    return {accession: assemblies[accession] for accession in accessions}


def prune(update: Update, store: Store) -> tuple[str, ...]:
    """Remove superseded and suppressed genomes from the cache; return their accessions."""
    removed = []
    for accession in sorted({*(old for old, _ in update.superseded), *update.suppressed}):
        if store.has(Kind.GENOMES, accession):
            store.remove(store.entry(Kind.GENOMES, accession))
            removed.append(accession)
    return tuple(removed)
