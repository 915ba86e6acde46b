"""Install one assembly into the cache: locate the files, download, verify, seal.

The entry's lock is held, so of two processes only one downloads. Partial files are kept outside the
entry, in `ROOT/downloads`; a verified file is hard-linked into the new entry, and the partial file
is deleted once the entry is sealed. An entry that lacks a requested format is rebuilt with it, the
other files hard-linked. A complete entry costs no request.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError, FastaError, NotInCacheError, RefusedError
from genomeformer_cli.core.formats.fasta import inspect_file, record_lengths
from genomeformer_cli.core.formats.text import text_chunks
from genomeformer_cli.core.genomes.download import (
    DownloadedFile,
    DownloadItem,
    Meter,
    download_verified,
    drop_part,
    part_path,
)
from genomeformer_cli.core.genomes.genome import (
    GENOME_FILE,
    Genome,
    RemoteFile,
    genome_to_json,
    load_genome,
)
from genomeformer_cli.core.genomes.ncbi.paths import name_of
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem, FindDirectory, RemoteFiles
from genomeformer_cli.core.genomes.transport import Transport
from genomeformer_cli.core.store.atomic import explain_write_failure, write_json
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import file_sha256

_STARTS = {"gff": b"##gff", "gbff": b"LOCUS"}

OpenMeter = Callable[[str], AbstractContextManager[Meter]]


@dataclass(frozen=True, kw_only=True)
class InstallResult:
    """Result of installing one assembly."""

    genome: Genome  # Genome as cached.
    num_bytes: int = 0  # Number of bytes downloaded; 0 if the cache was complete.


@dataclass(frozen=True, kw_only=True)
class Installer:
    """Settings and connections for installing assemblies."""

    store: Store  # Cache.
    transport: Transport | None  # HTTP transport; None offline.
    ftp_url: str  # Root of the genomes area.
    find_directory: FindDirectory  # Queries the metadata for the current directory of an assembly.
    formats: tuple[str, ...]  # Requested formats; `fasta` is always included.
    verify: bool  # Check cached entries against their seals, and replace damaged ones.
    open_meter: OpenMeter  # Creates the progress meter of a file.
    # Limits concurrent downloads. Checksum requests and sealing happen outside of it, so that the
    # connection is never idle.
    slots: threading.Semaphore

    def install(self, item: FetchItem) -> InstallResult:
        """Install an assembly, unless the cache has it.

        Raises:
            CorruptError: A file repeatedly fails verification.
            NetworkError: The host is unreachable or does not have the file.
        """
        name = item.assembly.accession
        with self.store.lock(Kind.GENOMES, name):
            cached = self._present(item)
            formats = [kind for kind in self._formats(item) if not _has(cached, kind)]
            if cached is not None and not formats:
                # A kill after the entry was sealed leaves them.
                for file in cached.files:
                    drop_part(part_path(self.store.root / "downloads", file.file))
                return InstallResult(genome=cached)
            if self.transport is None:
                raise NotInCacheError(
                    f"{name} is not in the cache", hint="run again without `--offline`"
                )
            downloads = self._fetch(self.transport, item, formats)
            genome = self._seal(item, cached, downloads)
            new_files = [download for download, _ in downloads.values() if download is not None]
            for download in new_files:
                download.drop()
        size = sum(download.num_bytes for download in new_files)
        return InstallResult(genome=genome, num_bytes=size)

    def is_present(self, item: FetchItem) -> bool:
        """Return True if the cache holds all requested files (without lock or checksums)."""
        if not self.store.has(Kind.GENOMES, item.assembly.accession):
            return False
        try:
            genome = load_genome(self.store.entry(Kind.GENOMES, item.assembly.accession))
        except CorruptError:
            return False
        formats = self._formats(item)
        return _matches(genome, item) and all(_has(genome, kind) for kind in formats)

    def _formats(self, item: FetchItem) -> tuple[str, ...]:
        return tuple(file.format for file in item.pinned) or self.formats

    def _present(self, item: FetchItem) -> Genome | None:
        """Return the cached genome; None if it is absent or has to be replaced."""
        name = item.assembly.accession
        if not self.store.has(Kind.GENOMES, name):
            return None
        entry = self.store.entry(Kind.GENOMES, name)
        try:
            if self.verify:
                self.store.verify(entry)
            genome = load_genome(entry)
        except CorruptError:
            if self.transport is None:
                raise
            return None
        return genome if _matches(genome, item) else None

    def _fetch(
        self, transport: Transport, item: FetchItem, formats: list[str]
    ) -> dict[str, tuple[DownloadedFile | None, RemoteFile | None]]:
        """Download and verify files; the value is `(None, None)` for a format the host lacks."""
        remote = RemoteFiles(transport, item, self.ftp_url, self.find_directory)
        downloads: dict[str, tuple[DownloadedFile | None, RemoteFile | None]] = {}
        for kind in formats:
            url = remote.url_of(kind)
            try:
                downloads[kind] = (
                    (None, None) if url is None else self._download(transport, remote, kind, url)
                )
            except RefusedError as failure:
                if failure.status != 404 or kind == "fasta":
                    raise
                downloads[kind] = (None, None)
        return downloads

    def _download(
        self, transport: Transport, remote: RemoteFiles, kind: str, url: str
    ) -> tuple[DownloadedFile, RemoteFile]:
        def check(path: Path) -> None:
            if kind == "fasta":
                attested = remote.md5_of(kind) is not None
                check_fasta(path, min_bases=0 if attested else remote.item.assembly.num_bases)
            else:
                check_annotation(path, kind)

        name = name_of(url)
        request = DownloadItem(
            url=url,
            path=part_path(self.store.root / "downloads", name),
            read_md5=lambda: remote.md5_of(kind),
            reread_md5=lambda: remote.reread_md5_of(kind),
            check=check,
        )
        with self.slots, self.open_meter(name) as meter:
            download = download_verified(transport, request, meter=meter)
        return download, RemoteFile(
            format=kind,
            file=name,
            url=url,
            md5=download.md5,
            num_bytes=download.num_bytes,
            attested=download.attested and remote.is_official(kind),
            last_modified=download.last_modified,
        )

    def _seal(
        self,
        item: FetchItem,
        cached: Genome | None,
        downloads: Mapping[str, tuple[DownloadedFile | None, RemoteFile | None]],
    ) -> Genome:
        name = item.assembly.accession
        old_folder = self.store.path(Kind.GENOMES, name)
        old_files = cached.files if cached is not None else ()
        added = [
            (download, file)
            for download, file in downloads.values()
            if download is not None and file
        ]
        absent = {kind for kind, (download, _) in downloads.items() if download is None}
        with self.store.create(Kind.GENOMES, name, replace=True) as folder:
            for file in old_files:
                _link(old_folder / file.file, folder / file.file)
            for download, file in added:
                _link(download.path, folder / file.file)
            files = (*old_files, *(file for _, file in added))
            absent |= set(cached.absent if cached is not None else ())
            genome = (
                replace(cached, files=files, absent=tuple(sorted(absent)))
                if cached is not None
                else _describe(item, files, tuple(sorted(absent)), folder)
            )
            write_json(folder / GENOME_FILE, genome_to_json(genome))
        return genome


def _has(genome: Genome | None, kind: str) -> bool:
    if genome is None:
        return False
    return kind in genome.absent or any(file.format == kind for file in genome.files)


def _matches(genome: Genome, item: FetchItem) -> bool:
    """Return True if the cached files are the pinned ones."""
    cached = {file.format: file.md5 for file in genome.files}
    return all(cached.get(file.format, file.md5) == file.md5 for file in item.pinned)


def check_fasta(path: Path, *, min_bases: int = 0) -> None:
    """Check the whole file: gzip checksum, NUL bytes and, with `min_bases`, the number of bases.

    Raises:
        FastaError: The file is damaged or too short.
    """
    inspect_file(path)
    if min_bases:
        num_bases = sum(record_lengths(path))
        if num_bases < min_bases:
            raise FastaError(f"`{path.name}` holds {num_bases} of {min_bases} bases")


def check_annotation(path: Path, kind: str) -> None:
    """Check the whole file: gzip checksum and first line.

    Raises:
        FastaError: The file is damaged or has another format.
    """
    chunks = text_chunks(path, display_name=path.name)
    if not next(chunks, b"").startswith(_STARTS[kind]):
        raise FastaError(f"`{path.name}` is not a {kind.upper()} file")
    for _ in chunks:
        pass


def _describe(
    item: FetchItem, files: tuple[RemoteFile, ...], absent: tuple[str, ...], folder: Path
) -> Genome:
    assembly = item.assembly
    fasta = next(file for file in files if file.format == "fasta")
    lengths = record_lengths(folder / fasta.file)
    return Genome(
        name=assembly.accession,
        fasta=fasta.file,
        sha256=file_sha256(folder / fasta.file),
        num_records=len(lengths),
        num_bases=sum(lengths),
        source=fasta.url,
        retrieved=datetime.now(tz=UTC).date().isoformat(),
        accession=assembly.accession,
        organism=assembly.organism,
        taxid=assembly.taxid,
        licence=item.licence,
        assembly_name=assembly.name,
        level=str(assembly.level),
        status=assembly.status,
        released=assembly.released,
        files=files,
        absent=absent,
        lineage=item.lineage,
    )


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it if the file system cannot link."""
    try:
        os.link(source, target)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as failure:
            raise explain_write_failure(target, failure) from failure
