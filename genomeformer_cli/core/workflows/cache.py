"""Manage the cache: list, verify and remove entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError, NotInCacheError, UsageError
from genomeformer_cli.core.proposals import propose
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Entry, Kind, Store


@dataclass(frozen=True, kw_only=True)
class CachedEntry:
    """Entry of the cache."""

    kind: Kind
    name: str
    path: Path
    num_bytes: int
    changed: datetime


@dataclass(frozen=True, kw_only=True)
class VerifiedEntry:
    """Result of verifying an entry: number of files, or the problem."""

    kind: Kind
    name: str
    num_files: int
    problem: str | None


def list_cache(kind: Kind | None = None, *, store: Store | None = None) -> tuple[CachedEntry, ...]:
    """List the entries of the cache."""
    return tuple(
        CachedEntry(
            kind=entry.kind,
            name=entry.name,
            path=entry.path,
            num_bytes=entry.num_bytes,
            changed=entry.changed,
        )
        for entry in (store or Store()).entries(kind)
    )


def verify_cache(
    names: tuple[str, ...], *, reporter: Reporter, store: Store | None = None
) -> tuple[VerifiedEntry, ...]:
    """Compare every file with its recorded checksum; without names, in the whole cache."""
    store = store or Store()
    entries = _find(names, store) if names else store.entries()
    verified: list[VerifiedEntry] = []
    with reporter.track("verifying", len(entries), "entries") as tracker:
        for entry in entries:
            num_files, problem = 0, None
            try:
                num_files = store.verify(entry)
            except CorruptError as failure:
                problem = failure.message
            verified.append(
                VerifiedEntry(
                    kind=entry.kind, name=entry.name, num_files=num_files, problem=problem
                )
            )
            tracker.advance(1)
    return tuple(verified)


def remove_from_cache(
    names: tuple[str, ...], *, store: Store | None = None
) -> tuple[CachedEntry, ...]:
    """Remove entries; nothing is removed unless every name is found.

    Raises:
        NotInCacheError: A name is unknown.
        UsageError: A name belongs to several kinds.
    """
    store = store or Store()
    store.finish_removals()
    entries = _find(names, store)
    removed = [
        CachedEntry(
            kind=entry.kind,
            name=entry.name,
            path=entry.path,
            num_bytes=entry.num_bytes,
            changed=entry.changed,
        )
        for entry in entries
    ]
    for entry in entries:
        store.remove(entry)
    return tuple(removed)


def _find(names: tuple[str, ...], store: Store) -> list[Entry]:
    entries: dict[Path, Entry] = {}
    for name in names:
        matches = store.find(name)
        if not matches:
            raise NotInCacheError(
                f"the cache has no entry `{name}`",
                hint=propose(
                    name.rpartition("/")[2],
                    [entry.name for entry in store.entries()],
                    otherwise="`genomeformer cache ls` lists its entries",
                ),
            )
        if len(matches) > 1:
            kinds = ", ".join(f"`{entry.kind}/{entry.name}`" for entry in matches)
            raise UsageError(
                f"`{name}` could be any of several entries", hint=f"name one of {kinds}"
            )
        entries[matches[0].path] = matches[0]
    return list(entries.values())
