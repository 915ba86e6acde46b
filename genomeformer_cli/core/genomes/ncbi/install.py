"""Bring one assembly into the cache: find its files, download, verify, seal.

Under the entry's lock, so that of two processes one fetches and the other finds. Parts lie outside
the entry, in `ROOT/downloads`; a verified file is linked into the new entry, and the part goes
only when the entry stands. An entry that lacks a format asked for is made anew with it, its other
files linked over. What is there already costs no request.
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
    Downloaded,
    DownloadItem,
    Meter,
    download_verified,
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
class Installed:
    """What became of an order.

    Attributes:
        genome: As it is in the cache now.
        fetched: Bytes that the new files hold; 0 if all was there.
        repaired: Whether a damaged entry was replaced.
    """

    genome: Genome
    fetched: int = 0
    repaired: bool = False


@dataclass(frozen=True, kw_only=True)
class Installer:
    """Everything that bringing assemblies in needs.

    Attributes:
        store: The cache.
        transport: The network; `None` offline.
        ftp_url: Root of the genomes area.
        find_directory: Asks the metadata where an assembly's files lie now.
        formats: What to bring; `fasta` is always of them.
        verify: Check what is there against its seal, and replace what is damaged.
        open_meter: Gives a meter for a file.
        slots: Held while a file comes in: how many do at once. Checksums are asked for and entries
            are sealed outside of it, so that the line is never idle.
    """

    store: Store
    transport: Transport | None
    ftp_url: str
    find_directory: FindDirectory
    formats: tuple[str, ...]
    verify: bool
    open_meter: OpenMeter
    slots: threading.Semaphore

    def install(self, order: FetchItem) -> Installed:
        """Bring an assembly in, unless it is there.

        Raises:
            CorruptError: A file never arrives as it should be.
            NetworkError: The host cannot be reached, or does not have it.
        """
        name = order.assembly.accession
        with self.store.lock(Kind.GENOMES, name):
            present, damaged = self._present(order)
            formats = [kind for kind in self._formats(order) if not _has(present, kind)]
            if present is not None and not formats:
                return Installed(genome=present)
            if self.transport is None:
                raise NotInCacheError(
                    f"{name} is not in the cache", hint="run again without `--offline`"
                )
            fetched = self._fetch(self.transport, order, formats)
            genome = self._seal(order, present, fetched)
            for got, _ in fetched.values():
                if got is not None:
                    got.drop()
        size = sum(got.num_bytes for got, _ in fetched.values() if got is not None)
        return Installed(genome=genome, fetched=size, repaired=damaged)

    def is_present(self, order: FetchItem) -> bool:
        """Whether the cache holds everything ordered (a look without lock or checksums)."""
        if not self.store.has(Kind.GENOMES, order.assembly.accession):
            return False
        try:
            genome = load_genome(self.store.entry(Kind.GENOMES, order.assembly.accession))
        except CorruptError:
            return False
        wanted = self._formats(order)
        return _matches(genome, order) and all(_has(genome, kind) for kind in wanted)

    def _formats(self, order: FetchItem) -> tuple[str, ...]:
        return tuple(file.format for file in order.pinned) or self.formats

    def _present(self, order: FetchItem) -> tuple[Genome | None, bool]:
        """The genome as cached, and whether what is cached has to be replaced."""
        name = order.assembly.accession
        if not self.store.has(Kind.GENOMES, name):
            return None, False
        entry = self.store.entry(Kind.GENOMES, name)
        try:
            if self.verify:
                self.store.verify(entry)
            genome = load_genome(entry)
        except CorruptError:
            if self.transport is None:
                raise
            return None, True
        return (genome, False) if _matches(genome, order) else (None, True)

    def _fetch(
        self, transport: Transport, order: FetchItem, formats: list[str]
    ) -> dict[str, tuple[Downloaded | None, RemoteFile | None]]:
        """Download and verify; a format that the host does not have is there with `None`."""
        shelf = RemoteFiles(transport, order, self.ftp_url, self.find_directory)
        found: dict[str, tuple[Downloaded | None, RemoteFile | None]] = {}
        for kind in formats:
            url = shelf.url_of(kind)
            try:
                found[kind] = (
                    (None, None) if url is None else self._bring(transport, shelf, kind, url)
                )
            except RefusedError as failure:
                if failure.status != 404 or kind == "fasta":
                    raise
                found[kind] = (None, None)
        return found

    def _bring(
        self, transport: Transport, shelf: RemoteFiles, kind: str, url: str
    ) -> tuple[Downloaded, RemoteFile]:
        def check(path: Path) -> None:
            if kind == "fasta":
                attested = shelf.md5_of(kind) is not None
                check_fasta(path, min_bases=0 if attested else shelf.order.assembly.num_bases)
            else:
                check_annotation(path, kind)

        name = name_of(url)
        wanted = DownloadItem(
            url=url,
            path=part_path(self.store.root / "downloads", name),
            read_md5=lambda: shelf.md5_of(kind),
            reread_md5=lambda: shelf.reread_md5_of(kind),
            check=check,
        )
        with self.slots, self.open_meter(name) as meter:
            got = download_verified(transport, wanted, meter=meter)
        return got, RemoteFile(
            format=kind,
            file=name,
            url=url,
            md5=got.md5,
            num_bytes=got.num_bytes,
            attested=got.attested and shelf.is_official(kind),
            last_modified=got.last_modified,
        )

    def _seal(
        self,
        order: FetchItem,
        present: Genome | None,
        fetched: Mapping[str, tuple[Downloaded | None, RemoteFile | None]],
    ) -> Genome:
        name = order.assembly.accession
        old = self.store.path(Kind.GENOMES, name)
        kept = present.files if present is not None else ()
        added = [(got, file) for got, file in fetched.values() if got is not None and file]
        absent = {kind for kind, (got, _) in fetched.items() if got is None}
        with self.store.create(Kind.GENOMES, name, replace=True) as folder:
            for file in kept:
                _link(old / file.file, folder / file.file)
            for got, file in added:
                _link(got.path, folder / file.file)
            files = (*kept, *(file for _, file in added))
            absent |= set(present.absent if present is not None else ())
            genome = (
                replace(present, files=files, absent=tuple(sorted(absent)))
                if present is not None
                else _describe(order, files, tuple(sorted(absent)), folder)
            )
            write_json(folder / GENOME_FILE, genome_to_json(genome))
        return genome


def _has(genome: Genome | None, kind: str) -> bool:
    if genome is None:
        return False
    return kind in genome.absent or any(file.format == kind for file in genome.files)


def _matches(genome: Genome, order: FetchItem) -> bool:
    """Whether the cached files are the pinned ones."""
    cached = {file.format: file.md5 for file in genome.files}
    return all(cached.get(file.format, file.md5) == file.md5 for file in order.pinned)


def check_fasta(path: Path, *, min_bases: int = 0) -> None:
    """Look at every byte: gzip checksum, NULs; and, if told how many, that the bases are there.

    Raises:
        FastaError: Something is wrong.
    """
    inspect_file(path)
    if min_bases:
        num_bases = sum(record_lengths(path))
        if num_bases < min_bases:
            raise FastaError(f"`{path.name}` holds {num_bases} of {min_bases} bases")


def check_annotation(path: Path, kind: str) -> None:
    """Look at every byte: gzip checksum, and the first line.

    Raises:
        FastaError: Something is wrong.
    """
    chunks = text_chunks(path, shown=path.name)
    if not next(chunks, b"").startswith(_STARTS[kind]):
        raise FastaError(f"`{path.name}` is not a {kind.upper()} file")
    for _ in chunks:
        pass


def _describe(
    order: FetchItem, files: tuple[RemoteFile, ...], absent: tuple[str, ...], folder: Path
) -> Genome:
    assembly = order.assembly
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
        licence=order.licence,
        assembly_name=assembly.name,
        level=str(assembly.level),
        status=assembly.status,
        released=assembly.released,
        files=files,
        absent=absent,
        lineage=order.lineage,
    )


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the disk cannot."""
    try:
        os.link(source, target)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as failure:
            raise explain_write_failure(target, failure) from failure
