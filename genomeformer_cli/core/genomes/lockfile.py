"""`genomes.lock.jsonl`: URL and checksum of every fetched file, one genome per line.

`fetch --lock FILE` downloads the same bytes without any metadata query, and a model card quotes the
file as provenance. Rows are sorted by accession and keys have a fixed order, so equal sets of
genomes give equal files. The lock file of a released model also lists genomes that were not
fetched: rows without a URL, which describe the genome and cannot be fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genomeformer_cli.core.documents import DocumentError, convert, read_json_lines
from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.genomes.genome import Ancestor, Genome, Lineage, RemoteFile
from genomeformer_cli.core.genomes.ncbi.assembly import check_accession, version_of
from genomeformer_cli.core.store.atomic import write_text

LOCK_NAME = "genomes.lock.jsonl"
_FILE_NAME = re.compile(r"[\w+-][\w.+-]*", re.ASCII)
_HINT = "it is written by `genomeformer fetch`; get it again from where it came"


@dataclass(frozen=True, kw_only=True)
class LockRow:
    """Genome of a lock file."""

    accession: str  # Accession with version.
    taxid: int  # NCBI taxonomy id.
    organism: str  # Scientific name.
    status: str  # Status of the assembly when it was fetched.
    # URL, MD5 and size of each file, the FASTA first; empty if the genome was not fetched.
    files: tuple[RemoteFile, ...]
    licence: str  # Terms of use, if known.
    date: str  # Release date of the assembly, YYYY-MM-DD.
    retrieved: str  # Date of fetching.
    assembly_name: str = ""  # Name of the assembly.
    level: str = ""  # Assembly level.
    lineage: Lineage = ()  # Lineage when it was fetched.
    source: str = ""  # Origin of a genome that was not fetched.
    sha256: str = ""  # Checksum of the FASTA of a genome that was not fetched.
    records: tuple[str, ...] = ()  # Record ids of a genome that was not fetched.
    descriptions: tuple[str, ...] = ()  # Descriptions in the headers of these records, if known.


def row_of(
    genome: Genome, records: tuple[str, ...] = (), descriptions: tuple[str, ...] = ()
) -> LockRow:
    """Build the row of a genome.

    Args:
        genome: Genome of the cache.
        records: Record ids, stored for genomes that were not fetched.
        descriptions: Header descriptions, one per record, if known.
    """
    is_fetched = bool(genome.files)
    return LockRow(
        accession=(genome.accession if is_fetched else None) or genome.name,
        taxid=genome.taxid or 0,
        organism=genome.organism or "",
        status=genome.status or "current",
        files=genome.files,
        licence=genome.licence or "",
        date=genome.released or "",
        retrieved=genome.retrieved,
        assembly_name=genome.assembly_name or "",
        level=genome.level or "",
        lineage=genome.lineage,
        source="" if is_fetched else genome.source,
        sha256="" if is_fetched else genome.sha256,
        records=() if is_fetched else records,
        descriptions=() if is_fetched else descriptions,
    )


def _to_json(row: LockRow) -> dict[str, Any]:
    if not row.files:
        return _unfetched_to_json(row)
    fasta, *annotation = row.files
    value: dict[str, Any] = {
        "accession": row.accession,
        "taxid": row.taxid,
        "organism": row.organism,
        "status": row.status,
        "url": fasta.url,
        "md5": fasta.md5,
        "bytes": fasta.num_bytes,
        "licence": row.licence,
        "date": row.date,
        "retrieved": row.retrieved,
        "assembly_name": row.assembly_name,
        "level": row.level,
    }
    if row.lineage:
        value["lineage"] = [[taxon.taxid, taxon.name, taxon.rank] for taxon in row.lineage]
    if not fasta.attested:
        value["attested"] = False
    if annotation:
        value["annotation"] = [
            {"format": file.format, "url": file.url, "md5": file.md5, "bytes": file.num_bytes}
            for file in annotation
        ]
    return value


_UNFETCHED = ("accession", "organism", "licence", "retrieved", "source", "sha256")


def _unfetched_to_json(row: LockRow) -> dict[str, Any]:
    value = {key: getattr(row, key) for key in _UNFETCHED}
    value |= {"taxid": row.taxid, "records": list(row.records)}
    return {**value, "descriptions": list(row.descriptions)} if row.descriptions else value


@dataclass(frozen=True, kw_only=True)
class _FileLine:
    """Annotation file of a line."""

    format: str
    url: str
    md5: str
    bytes: int
    attested: bool = True

    def remote(self) -> RemoteFile:
        name = urlsplit(self.url).path.rpartition("/")[2]
        if not _FILE_NAME.fullmatch(name) or urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"`{self.url}` is not the URL of a file")
        if self.bytes < 0:
            raise ValueError("a size is negative")
        return RemoteFile(
            format=self.format,
            file=name,
            url=self.url,
            md5=self.md5.lower(),
            num_bytes=self.bytes,
            attested=self.attested,
        )


@dataclass(frozen=True, kw_only=True)
class _FetchedLine:
    """Line of a fetched genome; keys of later versions are ignored."""

    accession: str
    taxid: int
    url: str
    md5: str
    bytes: int
    attested: bool = True
    annotation: tuple[_FileLine, ...] = ()
    lineage: tuple[tuple[int, str, str], ...] = ()
    organism: str | None = None
    status: str | None = None
    licence: str | None = None
    date: str | None = None
    retrieved: str | None = None
    assembly_name: str | None = None
    level: str | None = None

    def row(self) -> LockRow:
        accession = check_accession(self.accession)
        if not version_of(accession):
            raise ValueError(f"`{accession}` has no version")
        fasta = _FileLine(
            format="fasta", url=self.url, md5=self.md5, bytes=self.bytes, attested=self.attested
        )
        return LockRow(
            accession=accession,
            taxid=self.taxid,
            files=tuple(file.remote() for file in (fasta, *self.annotation)),
            lineage=tuple(
                Ancestor(taxid=i, name=name, rank=rank) for i, name, rank in self.lineage
            ),
            organism=self.organism or "",
            status=self.status or "",
            licence=self.licence or "",
            date=self.date or "",
            retrieved=self.retrieved or "",
            assembly_name=self.assembly_name or "",
            level=self.level or "",
        )


@dataclass(frozen=True, kw_only=True)
class _UnfetchedLine:
    """Line of a genome that was not fetched."""

    accession: str
    taxid: int
    organism: str
    licence: str
    retrieved: str
    source: str
    sha256: str
    records: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()

    def row(self) -> LockRow:
        return LockRow(**vars(self), status="", files=(), date="")


def _read_row(value: dict[str, Any], source: str) -> LockRow:
    is_fetched = "url" in value or "source" not in value
    line: _FetchedLine | _UnfetchedLine = convert(
        value, _FetchedLine if is_fetched else _UnfetchedLine, source=source
    )
    return line.row()


def write_lock(path: Path, rows: Iterable[LockRow]) -> None:
    """Write a lock file atomically."""
    ordered = sorted(rows, key=lambda row: row.accession)
    write_text(path, "".join(json.dumps(_to_json(r), ensure_ascii=False) + "\n" for r in ordered))


def read_lock(path: Path) -> list[LockRow]:
    """Read a lock file.

    Raises:
        ConfigError: The file is missing, or a line is invalid.
    """
    rows: list[LockRow] = []
    number = 0
    try:
        for number, value in read_json_lines(path):
            rows.append(_read_row(value, f"{path}, line {number}"))
    except DocumentError as failure:
        raise ConfigError(failure.message, hint=_HINT) from failure
    except (ValueError, UsageError) as failure:
        raise ConfigError(
            f"`{path}`, line {number} is not a row of a lock file: {failure}", hint=_HINT
        ) from failure
    if not rows:
        raise ConfigError(f"the lock file `{path}` is empty", hint=_HINT)
    return rows
