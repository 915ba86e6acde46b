"""Items of a fetch, and the URLs and checksums of their files.

The directory is computed by NCBI's naming rule. If it does not exist (assemblies get renamed), the
metadata source is queried for the current one. A lock file pins URL and MD5 of every file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genomeformer_cli.core.errors import RefusedError
from genomeformer_cli.core.genomes.genome import Lineage, RemoteFile
from genomeformer_cli.core.genomes.lockfile import LockRow
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly
from genomeformer_cli.core.genomes.ncbi.paths import (
    MD5_FILE,
    SUFFIXES,
    computed_directory,
    file_name,
    file_url,
    parse_md5s,
    rebase,
)
from genomeformer_cli.core.genomes.transport import Transport

LICENCE = "INSDC/RefSeq sequence: NCBI places no restriction on its use or distribution"

FindDirectory = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class FetchItem:
    """Assembly to install."""

    assembly: Assembly  # Metadata of the assembly.
    licence: str = LICENCE  # Terms of use.
    pinned: tuple[RemoteFile, ...] = ()  # Files pinned by a lock file.
    lineage: Lineage = ()  # Lineage, if known.


def fetch_item(row: LockRow) -> FetchItem:
    """Convert a row of a lock file."""
    assembly = Assembly(
        accession=row.accession,
        taxid=row.taxid,
        organism=row.organism,
        name=row.assembly_name,
        level=row.level or "contig",
        status=row.status,
        released=row.date,
    )
    return FetchItem(
        assembly=assembly, licence=row.licence or LICENCE, pinned=row.files, lineage=row.lineage
    )


class RemoteFiles:
    """Names, URLs and MD5 checksums of one assembly's files; checksums are requested once."""

    def __init__(
        self, transport: Transport, item: FetchItem, ftp_url: str, find_directory: FindDirectory
    ) -> None:
        self._transport = transport
        self.item = item
        self._root = ftp_url
        self._pinned = {file.format: file for file in item.pinned}
        self._find_directory = find_directory
        self._directory = ""
        self._md5s: dict[str, str] | None = None
        if not self._pinned:
            self._locate()

    def _locate(self) -> None:
        assembly = self.item.assembly
        if assembly.directory:
            expected = rebase(assembly.directory, self._root)
        else:
            expected = computed_directory(assembly.accession, assembly.name, self._root)
        self._directory, self._md5s = expected, self._read_md5s(expected)
        if self._md5s is None:
            current = self._find_directory(assembly.accession)
            if current is not None and (moved := rebase(current, self._root)) != expected:
                self._directory, self._md5s = moved, self._read_md5s(moved)

    def _read_md5s(self, directory: str) -> dict[str, str] | None:
        try:
            return self._transport.get(file_url(directory, MD5_FILE), parse_md5s)
        except RefusedError as failure:
            if failure.status == 404:
                return None
            raise

    def _name(self, kind: str) -> str | None:
        """Return the full file name, not that of `_rna_from_genomic` files."""
        name = file_name(self._directory, kind)
        if self._md5s is None or name in self._md5s:
            return name
        start, end = self.item.assembly.accession + "_", SUFFIXES[kind]
        names = [n for n in self._md5s if n.startswith(start) and n.endswith(end)]
        return next((n for n in names if "_from_genomic" not in n and "/" not in n), None)

    def url_of(self, kind: str) -> str | None:
        """Return the URL of a format's file; None if the host has no such file."""
        if kind in self._pinned:
            return rebase(self._pinned[kind].url, self._root)
        name = self._name(kind)
        if name is None and kind == "fasta":
            name = file_name(self._directory, kind)
        return None if name is None else file_url(self._directory, name)

    def md5_of(self, kind: str) -> str | None:
        """Return the MD5 of a format's file; None if unknown."""
        if kind in self._pinned:
            return self._pinned[kind].md5
        name = self._name(kind)
        return self._md5s.get(name) if self._md5s is not None and name else None

    def is_official(self, kind: str) -> bool:
        """Return True if the MD5 was published by NCBI."""
        return self._pinned[kind].attested if kind in self._pinned else True

    def reread_md5_of(self, kind: str) -> str | None:
        """Request `md5checksums.txt` again and return the MD5; pinned checksums do not change."""
        if kind not in self._pinned:
            self._md5s = self._read_md5s(self._directory) or self._md5s
        return self.md5_of(kind)
