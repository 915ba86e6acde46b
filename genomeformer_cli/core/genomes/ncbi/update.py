"""What changed since the last fetch of the same request, read off two lock files.

An assembly that is gone from the selection was superseded by a newer version, suppressed by NCBI,
or merely no longer passes; the metadata says which. Nothing is removed unless `prune` is asked
for.
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
    """Changes since the last fetch.

    Attributes:
        new: Accessions that were not selected then.
        superseded: Old accession and the one that took its place.
        suppressed: Accessions that NCBI has withdrawn.
        dropped: Accessions that no longer pass the filters.
        pruned: Accessions removed from the cache.
    """

    new: tuple[str, ...] = ()
    superseded: tuple[tuple[str, str], ...] = ()
    suppressed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()


def compare(
    before: Iterable[LockRow], now: Iterable[Assembly], metadata: Metadata | None
) -> Update:
    """Say what is new and what became of that which is gone.

    Args:
        before: Rows of the last lock file.
        now: The selection.
        metadata: Whom to ask about what is gone; `None` offline, when nobody knows.
    """
    old = {row.accession for row in before}
    chosen = {assembly.accession: assembly for assembly in now}
    newest = {assembly.base: assembly.accession for assembly in chosen.values()}
    gone = sorted(old - set(chosen))
    superseded = {word: newest[b] for word in gone if (b := word.partition(".")[0]) in newest}
    unclear = [word for word in gone if word not in superseded]
    suppressed, dropped = [], []
    for word, known in _look_up(unclear, metadata).items():
        if known is None or known.status in ("suppressed", "retired"):
            suppressed.append(word)
        elif known.current and version_of(known.current):
            superseded[word] = known.current
        else:
            dropped.append(word)
    return Update(
        new=tuple(sorted(set(chosen) - old)),
        superseded=tuple(sorted(superseded.items())),
        suppressed=tuple(suppressed),
        dropped=tuple(dropped),
    )


def _look_up(words: list[str], metadata: Metadata | None) -> Mapping[str, Assembly | None]:
    if metadata is None:
        return {}
    found: dict[str, Assembly | None] = dict.fromkeys(words)
    for first in range(0, len(words), _BATCH):
        for assembly in metadata.page_of(words[first : first + _BATCH]).assemblies:
            found[assembly.accession] = assembly
    return {word: found[word] for word in words}


def prune(update: Update, store: Store) -> tuple[str, ...]:
    """Remove what was superseded or suppressed from the cache; return what was removed."""
    removed = []
    for word in sorted({*(old for old, _ in update.superseded), *update.suppressed}):
        if store.has(Kind.GENOMES, word):
            store.remove(store.entry(Kind.GENOMES, word))
            removed.append(word)
    return tuple(removed)
