"""`genomes.lock.jsonl`: exactly which bytes a fetch brought, one genome a line, fit to be shared.

`fetch --lock FILE` brings the same bytes again without asking any catalogue, and a model card
quotes it as provenance. Rows are sorted by accession, keys have one order, so that equal sets of
genomes give equal files. A released model's also has the genomes that no fetch brought: rows
without a URL, which say what is known of them and cannot be fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.genomes.genome import Ancestor, Genome, Lineage, RemoteFile
from genomeformer_cli.core.genomes.ncbi.assembly import check_accession, version_of
from genomeformer_cli.core.store.atomic import write_text

LOCK_NAME = "genomes.lock.jsonl"
_HINT = "it is written by `genomeformer fetch`; get it again from where it came"


@dataclass(frozen=True, kw_only=True)
class LockRow:
    """One genome of a lock file.

    Attributes:
        accession: With version.
        taxid: NCBI taxonomy id.
        organism: Scientific name.
        status: Of the assembly when it was fetched.
        files: URL, MD5 and size of each file; the FASTA is the first. None: it was not fetched.
        licence: What is known of the terms of use.
        date: Of the assembly's release, YYYY-MM-DD.
        retrieved: When it was fetched.
        assembly_name: Name of the assembly.
        level: How far it is put together.
        lineage: Its place in the taxonomy when it was fetched.
        source: Where it came from, if it was not fetched.
        sha256: Of its FASTA, if it was not fetched.
        records: Ids of its records, if it was not fetched.
        descriptions: What their headers say behind the ids, if that is known.
    """

    accession: str
    taxid: int
    organism: str
    status: str
    files: tuple[RemoteFile, ...]
    licence: str
    date: str
    retrieved: str
    assembly_name: str = ""
    level: str = ""
    lineage: Lineage = ()
    source: str = ""
    sha256: str = ""
    records: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()


def row_of(
    genome: Genome, records: tuple[str, ...] = (), descriptions: tuple[str, ...] = ()
) -> LockRow:
    """The row of a genome.

    Args:
        genome: As the cache knows it.
        records: Ids of its records, kept of genomes that were not fetched.
        descriptions: What their headers say behind the ids, one a record, if that is known.
    """
    fetched = bool(genome.files)
    return LockRow(
        accession=(genome.accession if fetched else None) or genome.name,
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
        source="" if fetched else genome.source,
        sha256="" if fetched else genome.sha256,
        records=() if fetched else records,
        descriptions=() if fetched else descriptions,
    )


def _to_json(row: LockRow) -> dict[str, Any]:
    if not row.files:
        return _unfetched_to_json(row)
    fasta, *others = row.files
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
    if others:
        value["annotation"] = [
            {"format": file.format, "url": file.url, "md5": file.md5, "bytes": file.num_bytes}
            for file in others
        ]
    return value


_TEXTS = ("organism", "status", "licence", "date", "retrieved", "assembly_name", "level")
_UNFETCHED = ("accession", "organism", "licence", "retrieved", "source", "sha256")


def _unfetched_to_json(row: LockRow) -> dict[str, Any]:
    known = {key: getattr(row, key) for key in _UNFETCHED}
    known |= {"taxid": row.taxid, "records": list(row.records)}
    return {**known, "descriptions": list(row.descriptions)} if row.descriptions else known


def _unfetched_from_json(value: dict[str, Any]) -> LockRow:
    known: dict[str, Any] = {key: str(value[key]) for key in _UNFETCHED}
    for key in ("records", "descriptions"):
        known[key] = tuple(str(one) for one in value.get(key, []))
    return LockRow(**known, taxid=int(value["taxid"]), status="", files=(), date="")


def _from_json(value: dict[str, Any]) -> LockRow:
    if "url" not in value and "source" in value:
        return _unfetched_from_json(value)
    fasta = {"format": "fasta", **{key: value[key] for key in ("url", "md5", "bytes")}}
    fasta["attested"] = value.get("attested", True)
    files = tuple(
        RemoteFile(
            format=str(file["format"]),
            file=str(file["url"]).rsplit("/", 1)[1],
            url=str(file["url"]),
            md5=str(file["md5"]).lower(),
            num_bytes=int(file["bytes"]),
            attested=bool(file.get("attested", True)),
        )
        for file in [fasta, *value.get("annotation", [])]
    )
    accession = check_accession(str(value["accession"]))
    if not version_of(accession):
        raise ValueError(f"`{accession}` has no version")
    texts: dict[str, Any] = {key: str(value.get(key) or "") for key in _TEXTS}
    return LockRow(
        accession=accession,
        taxid=int(value["taxid"]),
        files=files,
        lineage=tuple(
            Ancestor(taxid=int(taxid), name=str(name), rank=str(rank))
            for taxid, name, rank in value.get("lineage", [])
        ),
        **texts,
    )


def write_lock(path: Path, rows: Iterable[LockRow]) -> None:
    """Write a lock file, whole or not at all."""
    ordered = sorted(rows, key=lambda row: row.accession)
    write_text(path, "".join(json.dumps(_to_json(r), ensure_ascii=False) + "\n" for r in ordered))


def read_lock(path: Path) -> list[LockRow]:
    """Read a lock file.

    Raises:
        ConfigError: It is missing, or a line is not a row of one.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise ConfigError(f"the lock file `{path}` cannot be read: {failure}", hint=_HINT) from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as failure:
            raise ConfigError(
                f"`{path}`, line {number} is no row of a lock file: {failure!r}", hint=_HINT
            ) from failure
    if not rows:
        raise ConfigError(f"the lock file `{path}` is empty", hint=_HINT)
    return rows
