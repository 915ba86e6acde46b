"""Layout of the cache: one folder per kind, one folder per entry, one lock per entry.

ROOT/genomes/NAME/       sealed   FASTA and `genome.json`
ROOT/vocabularies/NAME/  sealed   `tokenizer.json`
ROOT/corpora/NAME/       sealed   token shards and `manifest.json`
ROOT/runs/NAME/          open     a growing run; each of its checkpoints is sealed
ROOT/weights/NAME/       sealed   released bundle
ROOT/unpacked/SHA256/    sealed   bundle from an archive or from the Hub
ROOT/comparisons/NAME/   open     cache of the compared runs, and the results
ROOT/locks/KIND-NAME     lock of an entry
ROOT/verified/           sizes, times and checksums of verified files
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from genomeformer_cli.core.errors import EntryExistsError, NotInCacheError, StoreError, UsageError
from genomeformer_cli.core.proposals import propose
from genomeformer_cli.core.settings import cache_root
from genomeformer_cli.core.store.atomic import atomic_folder, clear_leftovers
from genomeformer_cli.core.store.kinds import Kind as Kind  # part of this module
from genomeformer_cli.core.store.locks import hold_lock
from genomeformer_cli.core.store.results import check_results
from genomeformer_cli.core.store.run_record import note_output
from genomeformer_cli.core.store.seal import SEAL, check_seal, check_seal_once, has_same_seal, seal

# Written when a run is created: identifies its configuration.
RUN_IDENTITY_FILE = "run.json"
# Durations of trial steps per precision on this machine.
TRIALS_FILE = "trials.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


_OPEN = (Kind.RUNS, Kind.COMPARISONS)
# One entry of each kind, in messages.
_NOUNS = {
    Kind.GENOMES: "genome",
    Kind.VOCABULARIES: "vocabulary",
    Kind.CORPORA: "corpus",
    Kind.RUNS: "run",
    Kind.WEIGHTS: "model",
    Kind.UNPACKED: "copy of an archive",
    Kind.COMPARISONS: "comparison",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Entry of the cache."""

    kind: Kind
    name: str
    path: Path

    @property
    def num_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def changed(self) -> datetime:
        """Time of the last write."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, tz=UTC)


def check_name(name: str) -> str:
    """Return a valid name of an entry.

    Raises:
        UsageError: The name has characters that a folder or a Hub repository cannot have.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"invalid name `{name}`",
            hint="use letters, digits, `.`, `_` and `-`, starting with a letter or digit",
        )
    return name


class Store:
    """Cache under one root folder."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else cache_root()

    def path(self, kind: Kind, name: str) -> Path:
        """Return the path of an entry, existing or not."""
        return self.root / kind / check_name(name)

    def has(self, kind: Kind, name: str) -> bool:
        """Return True if the cache holds the entry."""
        return bool(_NAME.fullmatch(name)) and self.path(kind, name).is_dir()

    def entries(self, kind: Kind | None = None) -> list[Entry]:
        """Return the entries, by kind and name."""
        kinds = [kind] if kind else list(Kind)
        entries: list[Entry] = []
        for entry_kind in kinds:
            folder = self.root / entry_kind
            names = (
                sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
            )
            entries += [
                Entry(kind=entry_kind, name=n, path=folder / n) for n in names if _NAME.fullmatch(n)
            ]
        return entries

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return an entry by name.

        Raises:
            NotInCacheError: The entry does not exist; the hint lists existing ones.
        """
        if self.has(kind, name):
            return Entry(kind=kind, name=name, path=self.path(kind, name))
        available = (
            ", ".join(f"`{entry.name}`" for entry in self.entries(kind)[:12]) or "nothing yet"
        )
        raise NotInCacheError(
            f"no {_NOUNS[kind]} `{name}` in the cache",
            hint=propose(
                name,
                [entry.name for entry in self.entries(kind)],
                otherwise=f"{kind} in the cache: {available}",
            ),
        )

    def find(self, name: str) -> list[Entry]:
        """Return the entries with a name, of any kind, or the entry `KIND/NAME`."""
        kind, slash, rest = name.partition("/")
        if slash:
            if kind not in list(Kind):
                raise UsageError(
                    f"invalid kind of entry `{kind}`",
                    hint="kinds are " + ", ".join(f"`{k}`" for k in Kind),
                )
            return [self.entry(Kind(kind), rest)]
        return [entry for entry in self.entries() if entry.name == name]

    @contextmanager
    def lock(self, kind: Kind, name: str, *, timeout: float = -1) -> Iterator[None]:
        """Hold the entry's lock; other processes wait (`timeout` in seconds, -1 without limit).

        Raises:
            StoreError: Another process holds the lock past the timeout.
        """
        folder = self.root / "locks"
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{kind}-{check_name(name)}"
                stack.enter_context(hold_lock(path, timeout=timeout))
            except filelock.Timeout as failure:
                raise StoreError(
                    f"`{kind}/{name}` is in use by another process", hint="wait until it finishes"
                ) from failure
            except OSError as failure:
                raise StoreError(
                    f"cannot write to the cache at `{self.root}`: {failure.strerror}",
                    hint="set `GENOMEFORMER_HOME` to a folder where you may write",
                ) from failure
            yield

    def ensure(self, kind: Kind, name: str, fill: Callable[[Path], None]) -> Path:
        """Return the folder of a sealed entry; `fill` writes its files if the entry is missing.

        An entry that exists is neither locked nor changed, so that the cache may be read-only.
        """
        if not self.has(kind, name):
            with self.lock(kind, name):
                if not self.has(kind, name):
                    with self.create(kind, name) as folder:
                        fill(folder)
        return self.path(kind, name)

    @contextmanager
    def create(
        self,
        kind: Kind,
        name: str,
        *,
        replace: bool = False,
        checksums: Mapping[str, str] | None = None,
        accept_same: bool = False,
    ) -> Iterator[Path]:
        """Yield an empty folder that becomes the sealed entry if the block succeeds.

        Hold `lock` around this call and the preceding check that the entry does not exist.

        Args:
            kind: Kind of the entry.
            name: Name of the entry.
            replace: Replace an existing entry.
            checksums: Checksums by file name, computed while writing; filled by the block.
            accept_same: Accept an existing entry with equal contents; the new folder is compared
                with it and deleted.

        Raises:
            EntryExistsError: The entry exists with other contents, and `replace` is false.
        """
        final = self.path(kind, name)
        clear_leftovers(final.parent, name)
        exists_error = EntryExistsError(
            f"the cache already has a {_NOUNS[kind]} `{name}`",
            hint=f"choose another name, or `genomeformer cache rm {kind}/{name}`",
        )
        if final.exists() and not replace:
            if not accept_same:
                raise exists_error
            with tempfile.TemporaryDirectory(
                dir=final.parent, prefix=f".{name}.", suffix=".tmp"
            ) as temporary:
                yield Path(temporary)
                seal(Path(temporary), checksums)
                check_seal(final)
                if not has_same_seal(Path(temporary), final):
                    raise exists_error
        else:
            with atomic_folder(final, replace=replace) as folder:
                yield folder
                seal(folder, checksums)
        if kind != Kind.UNPACKED:
            note_output(final)

    def verify(self, entry: Entry) -> int:
        """Verify all recorded checksums of an entry; return the number of files.

        Raises:
            CorruptError: A file is missing, changed or unlisted.
        """
        if entry.kind not in _OPEN:
            return check_seal(entry.path)
        sealed = sum(check_seal(sealed.parent) for sealed in sorted(entry.path.rglob(SEAL)))
        return sealed + check_results(entry.path)

    def verify_once(self, entry: Entry) -> int:
        """Verify a sealed entry, skipping files that are unchanged since the last verification.

        Raises:
            CorruptError: A file is missing, changed or unlisted.
        """
        return check_seal_once(entry.path, self._record(entry))

    def _record(self, entry: Entry) -> Path:
        return self.root / "verified" / f"{entry.kind}-{entry.name}.json"

    def finish_removals(self) -> None:
        """Delete entries whose removal was interrupted."""
        for kind in Kind:
            for removed in (self.root / kind).glob(".*.removed"):
                shutil.rmtree(removed, ignore_errors=True)

    def remove(self, entry: Entry) -> None:
        """Delete an entry: rename it atomically, then delete its files."""
        with self.lock(entry.kind, entry.name):
            removed = entry.path.with_name(f".{entry.name}.removed")
            shutil.rmtree(removed, ignore_errors=True)
            entry.path.rename(removed)
            self._record(entry).unlink(missing_ok=True)
            shutil.rmtree(removed)
