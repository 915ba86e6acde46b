"""Listing of one query in an SQLite file that survives interruptions.

Pages are stored with the token of the next page, so an interrupted listing of 50,000 assemblies
resumes. A listing is valid for one day; `refresh` repeats it. Works around faults of the API: an
empty first page is requested once more, an assembly listed twice counts once, and a listing shorter
than its own total is repeated.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from genomeformer_cli.core.errors import RefusedError, StoreError
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly
from genomeformer_cli.core.genomes.ncbi.metadata import Page
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.locks import hold_lock

MAX_AGE = 24 * 3600.0
_MAX_PASSES = 4
_COLUMNS = [field.name for field in fields(Assembly)]
_FLAGS = [name for name in _COLUMNS if name.startswith("is_")]
_INSERT = f"INSERT OR REPLACE INTO assemblies VALUES ({','.join('?' * len(_COLUMNS))})"  # noqa: S608

FetchPage = Callable[[str | None], Page]


class Catalogue:
    """Stored listing of one query."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path)) as database:
                columns = ",".join(_COLUMNS).replace("accession,", "accession PRIMARY KEY,", 1)
                database.execute(f"CREATE TABLE IF NOT EXISTS assemblies ({columns}) WITHOUT ROWID")
                database.execute("CREATE TABLE IF NOT EXISTS facts (key PRIMARY KEY, value)")
                yield database
        except (OSError, sqlite3.Error) as failure:
            raise StoreError(
                f"the catalogue `{self.path}` cannot be used: {failure}",
                hint="remove the file and run the command again",
            ) from failure

    def age(self) -> float | None:
        """Return the seconds since the listing was completed, or None."""
        if not self.path.exists():
            return None
        with self._open() as database:
            completed = _fact(database, "completed")
        return None if completed is None else max(0.0, time.time() - float(completed))

    def fill(self, fetch_page: FetchPage, *, refresh: bool, reporter: Reporter) -> None:
        """Complete the listing unless a complete one is younger than a day.

        Args:
            fetch_page: Returns the page of a token.
            refresh: Repeat the listing, however recent.
            reporter: Receives progress and warnings.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(Path(f"{self.path}.lock")):
            age = self.age()
            if age is not None and age < MAX_AGE and not refresh:
                return
            with self._open() as database:
                started = float(_fact(database, "started") or 0.0)
                if age is not None or time.time() - started > MAX_AGE:
                    _clear(database)
                    _set_fact(database, "started", time.time())
                    database.commit()
                try:
                    _list_all(database, fetch_page, reporter)
                except RefusedError:
                    if _fact(database, "token") is None:
                        raise
                    _clear(database)
                    _list_all(database, fetch_page, reporter)

    def assemblies(self) -> Iterator[Assembly]:
        """Yield the assemblies in the order of accessions."""
        with self._open() as database:
            for row in database.execute("SELECT * FROM assemblies ORDER BY accession"):
                values = dict(zip(_COLUMNS, row, strict=True))
                yield Assembly(**{**values, **{name: bool(values[name]) for name in _FLAGS}})


def _fact(database: sqlite3.Connection, key: str) -> str | None:
    row = database.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def _set_fact(database: sqlite3.Connection, key: str, value: object) -> None:
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))


def _clear(database: sqlite3.Connection) -> None:
    with database:
        database.execute("DELETE FROM assemblies")
        database.execute("DELETE FROM facts")


def _list_all(database: sqlite3.Connection, fetch_page: FetchPage, reporter: Reporter) -> None:
    total = 0
    for _ in range(_MAX_PASSES):
        total = max(total, _list_once(database, fetch_page, reporter))
        count = int(database.execute("SELECT count(*) FROM assemblies").fetchone()[0])
        if count >= total:
            break
    else:
        reporter.warn(f"the catalogue lists {count} assemblies but announced {total}")
    with database:
        _set_fact(database, "completed", time.time())


def _list_once(database: sqlite3.Connection, fetch_page: FetchPage, reporter: Reporter) -> int:
    token = _fact(database, "token")
    page = fetch_page(token)
    if token is None and not page.assemblies and page.token is None:
        page = fetch_page(None)
    total = page.total or 0
    with reporter.track("catalogue", page.total, "assemblies") as tracker:
        tokens = {token}
        while True:
            with database:
                database.executemany(_INSERT, map(astuple, page.assemblies))
                _set_fact(database, "token", page.token)
            tracker.advance(len(page.assemblies))
            if page.token is None or page.token in tokens:
                return total
            tokens.add(page.token)
            page = fetch_page(page.token)
            total = max(total, page.total or 0)
