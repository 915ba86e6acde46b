"""NCBI's taxonomy from its dump: names, ranks, parents, merged ids, in one sqlite file.

`nodes.dmp`, `names.dmp` and `merged.dmp` are read line by line out of the archive; nothing is
unpacked to disk. Descendants are a recursive query over parents.
"""

from __future__ import annotations

import io
import sqlite3
import tarfile
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
_SCHEMA = """
CREATE TABLE taxa (taxid INTEGER PRIMARY KEY, parent INTEGER, rank TEXT, name TEXT);
CREATE TABLE names (name TEXT COLLATE NOCASE, taxid INTEGER);
CREATE TABLE merged (old INTEGER PRIMARY KEY, new INTEGER);
"""
_INDEXES = """
CREATE INDEX taxa_parent ON taxa (parent);
CREATE INDEX names_name ON names (name COLLATE NOCASE);
"""
_DESCENDANTS = """
WITH RECURSIVE below(taxid) AS (
  SELECT ?1 UNION SELECT taxa.taxid FROM taxa JOIN below ON taxa.parent = below.taxid
) SELECT taxid FROM below
"""


def build_taxonomy(archive: Path, target: Path) -> None:
    """Read the dump into a new database at `target`.

    Raises:
        CorruptError: The archive is damaged or lacks a table.
    """
    fresh = target.with_name(target.name + ".new")
    fresh.unlink(missing_ok=True)
    needed = {"nodes.dmp", "names.dmp", "merged.dmp"}
    try:
        with closing(sqlite3.connect(fresh)) as database, tarfile.open(archive, "r:gz") as members:
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
    except (tarfile.TarError, EOFError, OSError, sqlite3.Error, ValueError) as failure:
        fresh.unlink(missing_ok=True)
        raise _damaged(archive, str(failure)) from failure
    if needed:
        fresh.unlink(missing_ok=True)
        raise _damaged(archive, f"no `{min(needed)}` in it")
    fresh.replace(target)


def _damaged(archive: Path, why: str) -> CorruptError:
    return CorruptError(f"the taxonomy `{archive.name}` is damaged: {why}", hint="fetch it again")


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
    """The database, opened for reading."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _taxa(self, where: str, value: object) -> list[Taxon]:
        rows = self._database.execute(
            f"SELECT DISTINCT taxid, taxa.name, rank FROM taxa {where}",  # noqa: S608
            (value,),
        )
        return [Taxon(taxid=taxid, name=name, rank=rank) for taxid, name, rank in rows]

    def resolve(self, text: str) -> Taxon:
        """The taxon of a name or id.

        Raises:
            AmbiguousTaxonError: Several taxa have the name.
            NothingMatchedError: None has.
        """
        word = read_taxon(text)
        if isinstance(word, int):
            found = self._taxa("WHERE taxid = ?", word)
            if not found:
                found = self._taxa("WHERE taxid = (SELECT new FROM merged WHERE old = ?)", word)
                found = [
                    Taxon(taxid=t.taxid, name=t.name, rank=t.rank, merged_from=word) for t in found
                ]
            return choose(str(word), found, ())
        join = "JOIN names USING (taxid) WHERE names.name"
        near = self._taxa(f"{join} LIKE ? LIMIT 10", word.replace("%", "") + "%")
        return choose(word, self._taxa(f"{join} = ? COLLATE NOCASE", word), near)

    def descendants(self, taxid: int) -> set[int]:
        """The taxon and everything below it."""
        return {row[0] for row in self._database.execute(_DESCENDANTS, (taxid,))}

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """For each taxid that is known, its ancestors below the root, itself last."""
        found = {taxid: self._lineage(taxid) for taxid in set(taxids)}
        return {taxid: lineage for taxid, lineage in found.items() if lineage}

    def _lineage(self, taxid: int) -> Lineage:
        query = "SELECT parent, name, rank FROM taxa WHERE taxid = ?"
        new = self._database.execute("SELECT new FROM merged WHERE old = ?", (taxid,)).fetchone()
        found: list[Ancestor] = []
        at: int | None = new[0] if new else taxid
        while at is not None:
            row = self._database.execute(query, (at,)).fetchone()
            if row is None or row[0] is None:
                break
            found.append(Ancestor(taxid=at, name=row[1], rank=row[2]))
            at = row[0]
        return tuple(reversed(found))
