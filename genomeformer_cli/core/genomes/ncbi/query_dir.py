"""Folder that stores a query and its results between fetches.

    ROOT/requests/KEY/request.json         query, and the taxa its names resolved to
    ROOT/requests/KEY/genomes.lock.jsonl   genomes of the last fetch
    ROOT/requests/KEY/failures.tsv         assemblies that could not be fetched
    ROOT/catalogue/KEY.sqlite              listing, shared by all selections from it

KEY is a word of the query plus a checksum of all of it: equal queries share a folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.genomes.lockfile import LOCK_NAME, LockRow, read_lock, write_lock
from genomeformer_cli.core.genomes.ncbi.metadata import Taxon
from genomeformer_cli.core.genomes.ncbi.selection import Criteria, TopPer
from genomeformer_cli.core.store.atomic import write_json, write_text


@dataclass(frozen=True, kw_only=True)
class AssemblyQuery:
    """Parsed and validated query."""

    taxa: tuple[str, ...] = ()
    exclude_taxa: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    criteria: Criteria = field(default_factory=Criteria)
    top_per: TopPer | None = None
    limit: int | None = None

    @property
    def filters_anything(self) -> bool:
        """True if any filter is set."""
        has_filter = self.criteria != Criteria() or bool(self.exclude_taxa)
        return has_filter or self.top_per is not None or self.limit is not None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Assembly that could not be fetched."""

    accession: str  # Accession of the assembly.
    reason: str  # Message of the error.
    network: bool = False  # True for a network failure, which a second run may resolve.


class _Request(TypedDict):
    taxa: dict[str, Taxon]


def query_key(value: object, word: str = "") -> str:
    """Return a short folder name for a query: one word of it and a checksum."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:40]
    return f"{slug}-{digest}" if slug else digest


class QueryDir:
    """Stored results of one query."""

    def __init__(self, root: Path, query: AssemblyQuery) -> None:
        parameters = asdict(query)
        word = query.taxa[0] if query.taxa else "accessions"
        self.path = root / "requests" / query_key(parameters, word)
        self.lock = self.path / LOCK_NAME
        self._catalogues = root / "catalogue"
        self._parameters = parameters

    def catalogue(self, value: object) -> Path:
        """Return the path of a stored listing."""
        return self._catalogues / f"{query_key(value)}.sqlite"

    def read_taxa(self) -> dict[str, Taxon]:
        """Read the taxa that the names resolved to in the last fetch."""
        try:
            request: _Request = read_json(self.path / "request.json", _Request)
        except DocumentError:
            return {}
        return request["taxa"]

    def write_taxa(self, taxa: dict[str, Taxon]) -> None:
        """Store the query and the taxa of its names."""
        taxa_by_name: dict[str, Any] = {word: asdict(taxon) for word, taxon in taxa.items()}
        write_json(self.path / "request.json", {"question": self._parameters, "taxa": taxa_by_name})

    def read_lock(self) -> list[LockRow]:
        """Read the lock file of the last fetch; empty if there was none."""
        return read_lock(self.lock) if self.lock.exists() else []

    def write(self, rows: Sequence[LockRow], failures: Iterable[Failure]) -> None:
        """Store the fetched genomes and the failures."""
        if rows:
            write_lock(self.lock, rows)
        table = [f"{f.accession}\t{f.reason}\n" for f in failures]
        write_text(self.path / "failures.tsv", "".join(["accession\treason\n", *table]))
