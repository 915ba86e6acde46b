"""Metadata without the REST API: assembly summaries and the taxonomy dump, as files.

Used when Datasets is unreachable and the genomes area is not. The files are downloaded like genomes
and read line by line (the GenBank summary may exceed memory). Columns are located by name, because
their number has changed (21, 22, 23, 38). Each source is stored as one SQLite file.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, fields
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError, FastaError, NetworkError, RefusedError
from genomeformer_cli.core.genomes.download import DownloadItem, download_verified, part_path
from genomeformer_cli.core.genomes.genome import Lineage
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, from_summary, version_of
from genomeformer_cli.core.genomes.ncbi.metadata import Page, Taxon
from genomeformer_cli.core.genomes.ncbi.paths import parse_md5s
from genomeformer_cli.core.genomes.ncbi.selection import Criteria
from genomeformer_cli.core.genomes.ncbi.taxdump import Taxonomy, build_taxonomy
from genomeformer_cli.core.genomes.transport import Transport
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.locks import hold_lock

MAX_AGE = 7 * 24 * 3600.0
TAXDUMP = "/pub/taxonomy/new_taxdump/new_taxdump.tar.gz"
_COLUMNS = [field.name for field in fields(Assembly)]
_INSERT = f"INSERT OR REPLACE INTO assemblies VALUES ({','.join('?' * len(_COLUMNS))})"  # noqa: S608
_BATCH = 500


class Summaries:
    """Assembly summaries and taxonomy, cached in a folder."""

    name = "NCBI's assembly summaries"

    def __init__(
        self,
        transport: Transport | None,
        ftp_url: str,
        folder: Path,
        *,
        refresh: bool,
        reporter: Reporter,
    ) -> None:
        self._transport = transport
        self._root = ftp_url.rstrip("/")
        self._folder = folder
        self._refresh = refresh
        self._reporter = reporter
        self._ready: set[str] = set()
        self._taxonomy_open: Taxonomy | None = None

    def close(self) -> None:
        """Close the taxonomy database."""
        if self._taxonomy_open is not None:
            self._taxonomy_open.close()
            self._taxonomy_open = None

    def _make(self, name: str, url: str) -> Path:
        """Return the database built from a file; rebuild it if it is outdated."""
        target = self._folder / f"{name}.sqlite"
        if name in self._ready:
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(Path(f"{target}.lock")):
            is_recent = target.exists() and time.time() - target.stat().st_mtime < MAX_AGE
            if self._transport is None or (is_recent and not self._refresh):
                if not target.exists():
                    raise NetworkError(
                        f"`{name}` is not in the cache", hint="run once without `--offline`"
                    )
            else:
                self._download(self._transport, name, url, target)
        self._ready.add(name)
        return target

    def _download(self, transport: Transport, name: str, url: str, target: Path) -> None:
        def read_md5() -> str | None:
            if not url.endswith(".tar.gz"):
                return None
            try:
                return next(iter(transport.get(url + ".md5", parse_md5s).values()))
            except RefusedError:
                return None

        def check(path: Path) -> None:
            try:
                if url.endswith(".tar.gz"):
                    build_taxonomy(path, target)
                else:
                    build_summary(path, target)
            except CorruptError as failure:
                raise FastaError(failure.message) from failure

        self._reporter.note(f"downloading {name}")
        request = DownloadItem(
            url=url,
            path=part_path(self._folder, url.rsplit("/", 1)[1]),
            read_md5=read_md5,
            reread_md5=read_md5,
            check=check,
        )
        download_verified(transport, request, meter=None).drop()

    def _summary(self, source: str, *, historical: bool = False) -> Path:
        name = f"assembly_summary_{source}" + ("_historical" if historical else "")
        return self._make(name, f"{self._root}/genomes/{source}/{name}.txt")

    def _taxonomy(self) -> Taxonomy:
        if self._taxonomy_open is None:
            self._taxonomy_open = Taxonomy(self._make("taxonomy", self._root + TAXDUMP))
        return self._taxonomy_open

    def resolve(self, text: str) -> Taxon:
        """Return the taxon of a name or taxid, from the dump."""
        return self._taxonomy().resolve(text)

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """Return all assemblies of taxa, as one page."""
        del token
        return Page(assemblies=tuple(self._below(taxids, criteria)))

    def _below(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[Assembly]:
        descendants = sorted(
            set().union(*(self._taxonomy().descendants(taxid) for taxid in taxids))
        )
        sources = ("refseq", "genbank") if criteria.source == "both" else (criteria.source,)
        for source in sources:
            yield from _look_up(self._summary(source), "taxid", descendants)

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Return assemblies by accession, current ones first, then historical ones."""
        assemblies: dict[str, Assembly] = {}
        for prefix, source in (("GCF_", "refseq"), ("GCA_", "genbank")):
            missing = [word for word in accessions if word.startswith(prefix)]
            for historical in (False, True):
                if not missing:
                    break
                rows = _look_up_accessions(self._summary(source, historical=historical), missing)
                for row in rows:
                    assemblies.setdefault(row.accession, row)
                bases = {row.base for row in assemblies.values()}
                missing = [
                    w for w in missing if w not in assemblies and not ("." not in w and w in bases)
                ]
        return Page(assemblies=tuple(assemblies.values()))

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Yield the accessions of taxa and their descendants."""
        return (assembly.accession for assembly in self._below(taxids, criteria))

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """Return the lineage of every known taxid."""
        return self._taxonomy().lineages(taxids)

    def directory(self, accession: str) -> str | None:
        """Return the directory named by the summary."""
        rows = self.page_of([accession]).assemblies
        return rows[0].directory if rows else None


def build_summary(text: Path, target: Path) -> None:
    """Build a database from an assembly summary.

    Raises:
        CorruptError: The file has no header line, or its last row is truncated.
    """
    temporary = target.with_name(target.name + ".new")
    temporary.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(temporary)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            columns = ",".join(_COLUMNS)
            database.execute(f"CREATE TABLE assemblies ({columns}, base)")
            rows = read_summary(text)
            insert = _INSERT.replace("VALUES (", "VALUES (?,")
            database.executemany(insert, ((*astuple(row), row.base) for row in rows))
            database.execute("CREATE INDEX assemblies_taxid ON assemblies (taxid)")
            database.execute("CREATE INDEX assemblies_base ON assemblies (base)")
            database.commit()
    except (CorruptError, sqlite3.Error):
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(target)


def read_summary(path: Path) -> Iterator[Assembly]:
    """Yield the rows of an assembly summary in any of its formats.

    Raises:
        CorruptError: The file has no header line, or its last row is truncated.
    """
    header: list[str] = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if not line.endswith("\n"):
                raise CorruptError(f"`{path.name}` ends in the middle of a row")
            cells = line.rstrip("\r\n").split("\t")
            if line.startswith("#"):
                first = cells[0].lstrip("# ")
                if first == "assembly_accession":
                    header = [first, *cells[1:]]
                continue
            if not header:
                raise CorruptError(f"`{path.name}` has no header line")
            assembly = from_summary(
                dict(zip(header, _merge_submitter(cells, header), strict=False))
            )
            if assembly is not None:
                yield assembly
    if not header:
        raise CorruptError(f"`{path.name}` has no header line")


def _merge_submitter(cells: list[str], header: list[str]) -> list[str]:
    """Remove the extra cells that tabs in a submitter's name create."""
    extra = len(cells) - len(header)
    column = next((i for i, name in enumerate(header) if name.endswith("submitter")), None)
    if extra <= 0 or column is None:
        return cells
    return [*cells[: column + 1], *cells[column + 1 + extra :]]


def _look_up(path: Path, column: str, values: Sequence[object]) -> Iterator[Assembly]:
    flags = [name for name in _COLUMNS if name.startswith("is_")]
    with closing(sqlite3.connect(path)) as database:
        for first in range(0, len(values), _BATCH):
            batch = values[first : first + _BATCH]
            marks = ",".join("?" * len(batch))
            query = f"SELECT {','.join(_COLUMNS)} FROM assemblies WHERE {column} IN ({marks})"  # noqa: S608
            for row in database.execute(query, batch):
                cells = dict(zip(_COLUMNS, row, strict=True))
                yield Assembly(**{**cells, **{name: bool(cells[name]) for name in flags}})


def _look_up_accessions(path: Path, words: Sequence[str]) -> list[Assembly]:
    bases = sorted({word.partition(".")[0] for word in words})
    exact = {word for word in words if version_of(word)}
    open_bases = {word for word in words if not version_of(word)}
    rows = list(_look_up(path, "base", bases))
    return [row for row in rows if row.accession in exact or row.base in open_bases]
