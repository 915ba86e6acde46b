"""What is asked for, and the folder that remembers it from one fetch to the next.

    ROOT/requests/KEY/request.json         the question, and what its names were found to mean
    ROOT/requests/KEY/genomes.lock.jsonl   what the last fetch brought
    ROOT/requests/KEY/failures.tsv         what it could not bring
    ROOT/catalogue/KEY.sqlite              the listing of a question, shared by selections from it

The key is a word of the question and a checksum of all of it: the same question, the same folder.
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
    """What is asked for, read and checked."""

    taxa: tuple[str, ...] = ()
    exclude_taxa: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    criteria: Criteria = field(default_factory=Criteria)
    top_per: TopPer | None = None
    limit: int | None = None

    @property
    def filters_anything(self) -> bool:
        """Whether any filter was chosen."""
        chosen = self.criteria != Criteria() or bool(self.exclude_taxa)
        return chosen or self.top_per is not None or self.limit is not None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An assembly that could not be had.

    Attributes:
        accession: Which.
        reason: Why.
        network: Whether the network was to blame, so that running again may help.
    """

    accession: str
    reason: str
    network: bool = False


class _Request(TypedDict):
    taxa: dict[str, Taxon]


def query_key(value: object, word: str = "") -> str:
    """A short name for a question: a word of it and its checksum."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:40]
    return f"{slug}-{digest}" if slug else digest


class QueryDir:
    """What is remembered of one question."""

    def __init__(self, root: Path, inquiry: AssemblyQuery) -> None:
        question = asdict(inquiry)
        word = inquiry.taxa[0] if inquiry.taxa else "accessions"
        self.path = root / "requests" / query_key(question, word)
        self.lock = self.path / LOCK_NAME
        self._catalogues = root / "catalogue"
        self._question = question

    def catalogue(self, value: object) -> Path:
        """Where the listing of a question lies."""
        return self._catalogues / f"{query_key(value)}.sqlite"

    def read_taxa(self) -> dict[str, Taxon]:
        """What the names were found to mean last time."""
        try:
            request: _Request = read_json(self.path / "request.json", _Request)
        except DocumentError:
            return {}
        return request["taxa"]

    def write_taxa(self, taxa: dict[str, Taxon]) -> None:
        """Remember the question and what its names mean."""
        found: dict[str, Any] = {word: asdict(taxon) for word, taxon in taxa.items()}
        write_json(self.path / "request.json", {"question": self._question, "taxa": found})

    def read_lock(self) -> list[LockRow]:
        """What the last fetch brought; nothing if there was none."""
        return read_lock(self.lock) if self.lock.exists() else []

    def write(self, rows: Sequence[LockRow], failures: Iterable[Failure]) -> None:
        """Remember what was brought and what could not be."""
        if rows:
            write_lock(self.lock, rows)
        table = [f"{f.accession}\t{f.reason}\n" for f in failures]
        write_text(self.path / "failures.tsv", "".join(["accession\treason\n", *table]))
