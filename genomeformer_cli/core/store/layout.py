"""The cache's rooms: one folder a kind, one folder an entry, one lock an entry.

ROOT/genomes/NAME/       sealed   FASTA and `genome.json`
ROOT/vocabularies/NAME/  sealed   `tokenizer.json`
ROOT/corpora/NAME/       sealed   token shards and `manifest.json`
ROOT/runs/NAME/          open     a run grows; each of its checkpoints is sealed
ROOT/weights/NAME/       sealed   a released bundle
ROOT/unpacked/SHA256/    sealed   a bundle out of an archive, or from the Hub
ROOT/comparisons/NAME/   open     a small cache of the runs that are compared, and what came of them
ROOT/locks/KIND-NAME     the entry's lock
ROOT/verified/           sizes, times and checksums of files that were compared with their seal
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import filelock

from genomeformer_cli.core.errors import EntryExistsError, NotInCacheError, StoreError, UsageError
from genomeformer_cli.core.settings import cache_root
from genomeformer_cli.core.store.atomic import atomic_folder, clear_leftovers
from genomeformer_cli.core.store.seal import SEAL, check_seal, check_seal_once, has_same_seal, seal

# Every run has it from its first moment: what it is a run of.
RUN_IDENTITY_FILE = "run.json"
# What short steps in one precision or the other took on this machine.
TRIALS_FILE = "trials.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Kind(StrEnum):
    """What the cache holds."""

    GENOMES = "genomes"
    VOCABULARIES = "vocabularies"
    CORPORA = "corpora"
    RUNS = "runs"
    WEIGHTS = "weights"
    UNPACKED = "unpacked"
    COMPARISONS = "comparisons"


_OPEN = (Kind.RUNS, Kind.COMPARISONS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing in the cache."""

    kind: Kind
    name: str
    path: Path

    @property
    def num_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def changed(self) -> datetime:
        """When the entry was last written."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, tz=UTC)


def check_name(name: str) -> str:
    """Return `name` if it can name an entry.

    Raises:
        UsageError: It holds characters that a folder or a Hub repository could not have.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot be a name",
            hint="use letters, digits, `.`, `_` and `-`, starting with a letter or digit",
        )
    return name


class Store:
    """The cache under one root."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else cache_root()

    def path(self, kind: Kind, name: str) -> Path:
        """Where an entry lies or would lie."""
        return self.root / kind / check_name(name)

    def has(self, kind: Kind, name: str) -> bool:
        """Whether the cache holds the entry."""
        return bool(_NAME.fullmatch(name)) and self.path(kind, name).is_dir()

    def entries(self, kind: Kind | None = None) -> list[Entry]:
        """What the cache holds, by kind and name."""
        kinds = [kind] if kind else list(Kind)
        found: list[Entry] = []
        for one in kinds:
            folder = self.root / one
            names = (
                sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
            )
            found += [Entry(kind=one, name=n, path=folder / n) for n in names if _NAME.fullmatch(n)]
        return found

    def entry(self, kind: Kind, name: str) -> Entry:
        """The entry of that name.

        Raises:
            NotInCacheError: There is none; the hint lists what there is.
        """
        if self.has(kind, name):
            return Entry(kind=kind, name=name, path=self.path(kind, name))
        known = ", ".join(f"`{entry.name}`" for entry in self.entries(kind)[:12]) or "nothing yet"
        raise NotInCacheError(
            f"the cache has no {kind} entry `{name}`", hint=f"under {kind} it holds {known}"
        )

    def find(self, name: str) -> list[Entry]:
        """Entries of any kind with that name, or the one that `KIND/NAME` names."""
        kind, slash, rest = name.partition("/")
        if slash:
            if kind not in list(Kind):
                raise UsageError(
                    f"`{kind}` is no kind of entry",
                    hint="kinds are " + ", ".join(f"`{k}`" for k in Kind),
                )
            return [self.entry(Kind(kind), rest)]
        return [entry for entry in self.entries() if entry.name == name]

    @contextmanager
    def lock(self, kind: Kind, name: str, *, timeout: float = -1) -> Iterator[None]:
        """Hold the entry's lock; other processes wait (`timeout` in seconds, -1 for ever).

        Raises:
            StoreError: Another process holds it past the timeout.
        """
        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise StoreError(
                f"cannot use the cache at `{self.root}`: {failure.strerror}",
                hint="set `GENOMEFORMER_HOME`",
            ) from failure
        try:
            with filelock.FileLock(folder / f"{kind}-{check_name(name)}", timeout=timeout):
                yield
        except filelock.Timeout as failure:
            raise StoreError(
                f"`{kind}/{name}` is in use by another process", hint="wait until it is done"
            ) from failure

    @contextmanager
    def create(
        self,
        kind: Kind,
        name: str,
        *,
        replace: bool = False,
        known: Mapping[str, str] | None = None,
        accept_same: bool = False,
    ) -> Iterator[Path]:
        """Yield an empty folder that becomes the sealed entry when the block ends well.

        Hold `lock` around this together with the look whether the entry is there.

        Args:
            kind: What it is.
            name: What it is called.
            replace: Whether it may take the place of another.
            known: Filled by the block: checksums, by file name, taken of what was written.
            accept_same: Whether an entry with the same contents counts as made: the new folder is
                compared with it when the block ends, and dropped.

        Raises:
            EntryExistsError: The entry exists, with other contents, and `replace` is false.
        """
        final = self.path(kind, name)
        clear_leftovers(final.parent, name)
        taken = EntryExistsError(
            f"the cache already has {kind} entry `{name}`",
            hint=f"choose another name, or `genomeformer cache rm {kind}/{name}`",
        )
        if final.exists() and not replace:
            if not accept_same:
                raise taken
            with tempfile.TemporaryDirectory(
                dir=final.parent, prefix=f".{name}.", suffix=".tmp"
            ) as place:
                yield Path(place)
                seal(Path(place), known)
                check_seal(final)
                if not has_same_seal(Path(place), final):
                    raise taken
            return
        with atomic_folder(final, replace=replace) as folder:
            yield folder
            seal(folder, known)

    def verify(self, entry: Entry) -> int:
        """Check every recorded checksum of an entry; return how many files were compared.

        Raises:
            CorruptError: A file is missing, changed or unlisted.
        """
        if entry.kind not in _OPEN:
            return check_seal(entry.path)
        return sum(check_seal(sealed.parent) for sealed in sorted(entry.path.rglob(SEAL)))

    def verify_once(self, entry: Entry) -> int:
        """Check a sealed entry as `verify` does, without reading again what has not changed.

        Raises:
            CorruptError: A file is missing, changed or unlisted.
        """
        return check_seal_once(entry.path, self._memory(entry))

    def _memory(self, entry: Entry) -> Path:
        return self.root / "verified" / f"{entry.kind}-{entry.name}.json"

    def finish_removals(self) -> None:
        """Delete what removals that were killed have left; their entries are gone already."""
        for kind in Kind:
            for doomed in (self.root / kind).glob(".*.removed"):
                shutil.rmtree(doomed, ignore_errors=True)

    def remove(self, entry: Entry) -> None:
        """Delete an entry: it leaves its place in one step, then its files go."""
        with self.lock(entry.kind, entry.name):
            doomed = entry.path.with_name(f".{entry.name}.removed")
            shutil.rmtree(doomed, ignore_errors=True)
            entry.path.rename(doomed)
            self._memory(entry).unlink(missing_ok=True)
            shutil.rmtree(doomed)
