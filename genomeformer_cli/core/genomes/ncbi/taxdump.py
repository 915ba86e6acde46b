"""NCBI taxonomy from its dump: names, ranks, parents and merged ids in one SQLite file.

`nodes.dmp`, `names.dmp` and `merged.dmp` are streamed from the archive, not unpacked to disk.
Descendants are a recursive query over parents.
"""

from __future__ import annotations

import io
import sqlite3
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.genomes.genome import Ancestor, Lineage
from genomeformer_cli.core.genomes.ncbi.metadata import Taxon, choose, read_taxon

_NAME_CLASSES = frozenset(
    {
        "scientific name",
        "synonym",
        "common name",
        "genbank common name",
        "equivalent name",
        "acronym",
        "blast name",
    }
)
# A row that is too short, a number beyond 64 bits, or any damage of the packing.
_DAMAGE = (
    *(tarfile.TarError, EOFError, OSError, zlib.error, sqlite3.Error),
    *(ValueError, IndexError, OverflowError),
)
_SCHEMA = """
CREATE TABLE taxa (taxid INTEGER PRIMARY KEY, parent INTEGER, rank TEXT, name TEXT);
CREATE TABLE names (name TEXT COLLATE NOCASE, taxid INTEGER);
CREATE TABLE merged (old INTEGER PRIMARY KEY, new INTEGER);
"""
_INDEXES = """
CREATE INDEX taxa_parent ON taxa (parent);
CREATE INDEX names_name ON names (name COLLATE NOCASE);
"""
# The deepest lineage of NCBI has fewer than 50 ancestors.
_MAX_RANKS = 1000
_DESCENDANTS = """
WITH RECURSIVE below(taxid) AS (
  SELECT ?1 UNION SELECT taxa.taxid FROM taxa JOIN below ON taxa.parent = below.taxid
) SELECT taxid FROM below
"""


def build_taxonomy(archive: Path, target: Path) -> None:
    """Build a database from the taxonomy dump.

    Raises:
        CorruptError: The archive is damaged or lacks a table.
    """
    temporary = target.with_name(target.name + ".new")
    temporary.unlink(missing_ok=True)
    needed = {"nodes.dmp", "names.dmp", "merged.dmp"}
    try:
        with (
            closing(sqlite3.connect(temporary)) as database,
            tarfile.open(archive, "r:gz") as members,
        ):
            database.execute("PRAGMA journal_mode = OFF")
            database.executescript(_SCHEMA)
            for member in members:
                name = member.name.removeprefix("./")
                file = members.extractfile(member) if name in needed else None
                if file is not None:
                    needed.discard(name)
                    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace")
                    _READERS[name](database, _rows(text))
            database.execute(
                "UPDATE taxa SET name = scientific.name FROM scientific"
                " WHERE scientific.taxid = taxa.taxid"
            )
            database.execute("DROP TABLE scientific")
            database.executescript(_INDEXES)
            database.commit()
    except _DAMAGE as failure:
        temporary.unlink(missing_ok=True)
        raise _damaged_error(archive, str(failure)) from failure
    if needed:
        temporary.unlink(missing_ok=True)
        raise _damaged_error(archive, f"no `{min(needed)}` in it")
    temporary.replace(target)


def _damaged_error(archive: Path, reason: str) -> CorruptError:
    return CorruptError(
        f"the taxonomy `{archive.name}` is damaged: {reason}", hint="fetch it again"
    )


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        yield line.rstrip("\n").removesuffix("\t|").split("\t|\t")


def _read_nodes(database: sqlite3.Connection, rows: Iterator[list[str]]) -> None:
    database.executemany(
        "INSERT INTO taxa VALUES (?, ?, ?, '')",
        ((int(row[0]), None if row[0] == row[1] else int(row[1]), row[2]) for row in rows),
    )


def _read_names(database: sqlite3.Connection, rows: Iterator[list[str]]) -> None:
    database.execute("CREATE TABLE scientific (taxid INTEGER PRIMARY KEY, name TEXT)")
    for taxid, name, _, kind in rows:
        if kind in _NAME_CLASSES:
            database.execute("INSERT INTO names VALUES (?, ?)", (name, int(taxid)))
        if kind == "scientific name":
            database.execute("INSERT OR REPLACE INTO scientific VALUES (?, ?)", (int(taxid), name))


def _read_merged(database: sqlite3.Connection, rows: Iterator[list[str]]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO merged VALUES (?, ?)", ((int(old), int(new)) for old, new in rows)
    )


_READERS = {"nodes.dmp": _read_nodes, "names.dmp": _read_names, "merged.dmp": _read_merged}


class Taxonomy:
    """Taxonomy database, opened for reading."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _taxa(self, condition: str, value: object) -> list[Taxon]:
        rows = self._database.execute(
            f"SELECT DISTINCT taxid, taxa.name, rank FROM taxa {condition}",  # noqa: S608
            (value,),
        )
        return [Taxon(taxid=taxid, name=name, rank=rank) for taxid, name, rank in rows]

    def resolve(self, text: str) -> Taxon:
        """Return the taxon of a name or taxid.

        Raises:
            AmbiguousTaxonError: The name belongs to several taxa.
            NothingMatchedError: The taxon is unknown.
        """
        name = read_taxon(text)
        if isinstance(name, int):
            taxa = self._taxa("WHERE taxid = ?", name)
            if not taxa:
                taxa = self._taxa("WHERE taxid = (SELECT new FROM merged WHERE old = ?)", name)
                taxa = [
                    Taxon(taxid=t.taxid, name=t.name, rank=t.rank, merged_from=name) for t in taxa
                ]
            return choose(str(name), taxa, ())
        join = "JOIN names USING (taxid) WHERE names.name"
        suggestions = self._taxa(f"{join} LIKE ? LIMIT 10", name.replace("%", "") + "%")
        return choose(name, self._taxa(f"{join} = ? COLLATE NOCASE", name), suggestions)

    def descendants(self, taxid: int) -> set[int]:
        """Return the taxids of a taxon and its descendants."""
        return {row[0] for row in self._database.execute(_DESCENDANTS, (taxid,))}

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """Return the lineage of every known taxid, without the root, the taxon last."""
        lineages = {taxid: self._lineage(taxid) for taxid in set(taxids)}
        return {taxid: lineage for taxid, lineage in lineages.items() if lineage}

    def _lineage(self, taxid: int) -> Lineage:
        query = "SELECT parent, name, rank FROM taxa WHERE taxid = ?"
        new = self._database.execute("SELECT new FROM merged WHERE old = ?", (taxid,)).fetchone()
        ancestors: list[Ancestor] = []
        current: int | None = new[0] if new else taxid
        while current is not None:
            row = self._database.execute(query, (current,)).fetchone()
            if row is None or row[0] is None:
                break
            if len(ancestors) >= _MAX_RANKS:
                raise CorruptError(
                    f"the taxonomy is damaged: taxid {taxid} is its own ancestor",
                    hint="run the command again with `--refresh`",
                )
            ancestors.append(Ancestor(taxid=current, name=row[1], rank=row[2]))
            current = row[0]
        return tuple(reversed(ancestors))
