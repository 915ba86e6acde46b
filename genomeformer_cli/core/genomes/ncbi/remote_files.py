"""What is ordered of an assembly, and where its files lie.

The directory is computed by NCBI's rule for names; if it is not there, the metadata is asked where
it is now, for assemblies do get renamed. A lock file leaves nothing to find out: it pins URL and
MD5.
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
    """An assembly to bring in.

    Attributes:
        assembly: What is known of it.
        licence: Terms of use.
        pinned: Its files, if a lock file says exactly which bytes.
        lineage: Its place in the taxonomy, if known.
    """

    assembly: Assembly
    licence: str = LICENCE
    pinned: tuple[RemoteFile, ...] = ()
    lineage: Lineage = ()


def fetch_item(row: LockRow) -> FetchItem:
    """The order that a row of a lock file is."""
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
        assembly=assembly,
        licence=row.licence or LICENCE,
        pinned=row.files,
        lineage=row.lineage,
    )


class RemoteFiles:
    """One assembly's directory: the name, URL and MD5 of its files, asked for once."""

    def __init__(
        self, transport: Transport, order: FetchItem, ftp_url: str, find: FindDirectory
    ) -> None:
        self._transport = transport
        self.order = order
        self._root = ftp_url
        self._pinned = {file.format: file for file in order.pinned}
        self._find = find
        self._directory = ""
        self._md5s: dict[str, str] | None = None
        if not self._pinned:
            self._look()

    def _look(self) -> None:
        assembly = self.order.assembly
        if assembly.directory:
            first = rebase(assembly.directory, self._root)
        else:
            first = computed_directory(assembly.accession, assembly.name, self._root)
        self._directory, self._md5s = first, self._ask(first)
        if self._md5s is None:
            now = self._find(assembly.accession)
            if now is not None and (moved := rebase(now, self._root)) != first:
                self._directory, self._md5s = moved, self._ask(moved)

    def _ask(self, directory: str) -> dict[str, str] | None:
        try:
            return self._transport.get(file_url(directory, MD5_FILE), parse_md5s)
        except RefusedError as failure:
            if failure.status == 404:
                return None
            raise

    def _name(self, kind: str) -> str | None:
        """The file's full name; `_rna_from_genomic` and its kin only look alike."""
        name = file_name(self._directory, kind)
        if self._md5s is None or name in self._md5s:
            return name
        start, end = self.order.assembly.accession + "_", SUFFIXES[kind]
        others = [n for n in self._md5s if n.startswith(start) and n.endswith(end)]
        return next((n for n in others if "_from_genomic" not in n and "/" not in n), None)

    def url_of(self, kind: str) -> str | None:
        """The URL of the file of a format; `None` if the host has no such file."""
        if kind in self._pinned:
            return rebase(self._pinned[kind].url, self._root)
        name = self._name(kind)
        if name is None and kind == "fasta":
            name = file_name(self._directory, kind)
        return None if name is None else file_url(self._directory, name)

    def md5_of(self, kind: str) -> str | None:
        """The MD5 of the file of a format; `None` if nobody has one."""
        if kind in self._pinned:
            return self._pinned[kind].md5
        name = self._name(kind)
        return self._md5s.get(name) if self._md5s is not None and name else None

    def is_official(self, kind: str) -> bool:
        """Whether the MD5 that is known is NCBI's own."""
        return self._pinned[kind].attested if kind in self._pinned else True

    def reread_md5_of(self, kind: str) -> str | None:
        """The same, asking the host again; a pinned file's stays what it is."""
        if kind not in self._pinned:
            self._md5s = self._ask(self._directory) or self._md5s
        return self.md5_of(kind)
