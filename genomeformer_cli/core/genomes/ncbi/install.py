"""Bring one assembly into the cache: find its files, download, verify, seal.

Under the entry's lock, so that of two processes one fetches and the other finds. Parts lie outside
the entry, in `ROOT/downloads`; a verified file is linked into the new entry, and the part goes
only when the entry stands. An entry that lacks a format asked for is made anew with it, its other
files linked over. What is there already costs no request.
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError, FastaError, RefusedError
from genomeformer_cli.core.genomes.download import (
    Downloaded,
    Meter,
    Wanted,
    download_verified,
    part_path,
)
from genomeformer_cli.core.genomes.fasta import inspect_file, read_records
from genomeformer_cli.core.genomes.genome import (
    GENOME_FILE,
    Genome,
    RemoteFile,
    genome_to_json,
    load_genome,
)
from genomeformer_cli.core.genomes.lockfile import LockRow
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly
from genomeformer_cli.core.genomes.ncbi.paths import (
    MD5_FILE,
    SUFFIXES,
    computed_directory,
    file_name,
    file_url,
    name_of,
    parse_md5s,
    rebase,
)
from genomeformer_cli.core.genomes.transport import Transport
from genomeformer_cli.core.store.atomic import explain_write_failure, write_json
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import file_sha256

LICENCE = "INSDC/RefSeq sequence: NCBI places no restriction on its use or distribution"
_STARTS = {"gff": b"##gff", "gbff": b"LOCUS"}

FindDirectory = Callable[[str], str | None]
OpenMeter = Callable[[str], Meter]


@dataclass(frozen=True, kw_only=True)
class Order:
    """An assembly to bring in.

    Attributes:
        assembly: What is known of it.
        licence: Terms of use.
        pinned: Its files, if a lock file says exactly which bytes.
    """

    assembly: Assembly
    licence: str = LICENCE
    pinned: tuple[RemoteFile, ...] = ()


def order_of(row: LockRow) -> Order:
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
    return Order(assembly=assembly, licence=row.licence or LICENCE, pinned=row.files)


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
    """

    store: Store
    transport: Transport | None
    ftp_url: str
    find_directory: FindDirectory
    formats: tuple[str, ...]
    verify: bool
    open_meter: OpenMeter

    def install(self, order: Order) -> Installed:
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
                raise CorruptError(
                    f"{name} is not in the cache", hint="run again without `--offline`"
                )
            fetched = self._fetch(self.transport, order, formats)
            genome = self._seal(order, present, fetched)
            for got, _ in fetched.values():
                if got is not None:
                    got.drop()
        size = sum(got.num_bytes for got, _ in fetched.values() if got is not None)
        return Installed(genome=genome, fetched=size, repaired=damaged)

    def is_present(self, order: Order) -> bool:
        """Whether the cache holds everything ordered (a look without lock or checksums)."""
        if not self.store.has(Kind.GENOMES, order.assembly.accession):
            return False
        try:
            genome = load_genome(self.store.entry(Kind.GENOMES, order.assembly.accession))
        except CorruptError:
            return False
        wanted = self._formats(order)
        return _matches(genome, order) and all(_has(genome, kind) for kind in wanted)

    def _formats(self, order: Order) -> tuple[str, ...]:
        return tuple(file.format for file in order.pinned) or self.formats

    def _present(self, order: Order) -> tuple[Genome | None, bool]:
        """The genome as cached, and whether what was cached is damaged."""
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
        return (genome, False) if _matches(genome, order) else (None, False)

    def _fetch(
        self, transport: Transport, order: Order, formats: list[str]
    ) -> dict[str, tuple[Downloaded | None, RemoteFile | None]]:
        """Download and verify; a format that the host does not have is there with `None`."""
        shelf = _Shelf(transport, order, self.ftp_url, self.find_directory)
        found: dict[str, tuple[Downloaded | None, RemoteFile | None]] = {}
        for kind in formats:
            url = shelf.url_of(kind)
            if url is None:
                found[kind] = (None, None)
                continue
            name = name_of(url)
            wanted = Wanted(
                url=url,
                path=part_path(self.store.root / "downloads", name),
                read_md5=lambda kind=kind: shelf.md5_of(kind),  # type: ignore[misc]
                reread_md5=lambda kind=kind: shelf.reread_md5_of(kind),  # type: ignore[misc]
                check=check_fasta if kind == "fasta" else _annotation_check(kind),
            )
            got = download_verified(transport, wanted, meter=self.open_meter(name))
            file = RemoteFile(
                format=kind,
                file=name,
                url=url,
                md5=got.md5,
                num_bytes=got.num_bytes,
                attested=got.attested,
                last_modified=got.last_modified,
            )
            found[kind] = (got, file)
        return found

    def _seal(
        self,
        order: Order,
        present: Genome | None,
        fetched: Mapping[str, tuple[Downloaded | None, RemoteFile | None]],
    ) -> Genome:
        name = order.assembly.accession
        old = self.store.path(Kind.GENOMES, name)
        kept = present.files if present is not None else ()
        added = [(got, file) for got, file in fetched.values() if got is not None and file]
        absent = {kind for kind, (got, _) in fetched.items() if got is None}
        _sweep(old)
        with self.store.create(Kind.GENOMES, name, replace=old.exists()) as folder:
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


def _matches(genome: Genome, order: Order) -> bool:
    """Whether the cached files are the pinned ones."""
    cached = {file.format: file.md5 for file in genome.files}
    return all(cached.get(file.format, file.md5) == file.md5 for file in order.pinned)


class _Shelf:
    """Where an assembly's files lie, and their checksums, asked for once."""

    def __init__(
        self, transport: Transport, order: Order, ftp_url: str, find: FindDirectory
    ) -> None:
        self._transport = transport
        self._order = order
        self._root = ftp_url
        self._pinned = {file.format: file for file in order.pinned}
        self._find = find
        self._directory = ""
        self._md5s: dict[str, str] | None = None
        if not self._pinned:
            self._look()

    def _look(self) -> None:
        assembly = self._order.assembly
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
        start, end = self._order.assembly.accession + "_", SUFFIXES[kind]
        others = [n for n in self._md5s if n.startswith(start) and n.endswith(end)]
        return next((n for n in others if "_from_genomic" not in n and "/" not in n), None)

    def url_of(self, kind: str) -> str | None:
        """The URL of the file of a format; `None` if the host has no such file."""
        if kind in self._pinned:
            return rebase(self._pinned[kind].url, self._root)
        name = self._name(kind)
        if name is None and kind == "fasta":
            name = file_name(self._directory, kind)
        if name is None or (self._md5s is None and kind != "fasta"):
            return None
        return file_url(self._directory, name)

    def md5_of(self, kind: str) -> str | None:
        """The MD5 of the file of a format; `None` if nobody has one."""
        if kind in self._pinned:
            return self._pinned[kind].md5
        name = self._name(kind)
        return self._md5s.get(name) if self._md5s is not None and name else None

    def reread_md5_of(self, kind: str) -> str | None:
        """The same, asking the host again; a pinned file's stays what it is."""
        if kind not in self._pinned:
            self._md5s = self._ask(self._directory) or self._md5s
        return self.md5_of(kind)


def check_fasta(path: Path) -> None:
    """Look at every byte: gzip checksum, NULs, and that every record can be read.

    Raises:
        FastaError: Something is wrong.
    """
    inspect_file(path)


def _annotation_check(kind: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        try:
            with gzip.open(path, "rb") as file:
                chunk = file.read(1 << 20)
                if not chunk.startswith(_STARTS[kind]):
                    raise FastaError(f"`{path.name}` is no {kind.upper()} file")
                while chunk:
                    chunk = file.read(1 << 20)
        except (EOFError, zlib.error, OSError) as failure:
            raise FastaError(f"`{path.name}` is a damaged gzip file: {failure}") from failure

    return check


def _describe(
    order: Order, files: tuple[RemoteFile, ...], absent: tuple[str, ...], folder: Path
) -> Genome:
    assembly = order.assembly
    fasta = next(file for file in files if file.format == "fasta")
    lengths = [len(r.sequence) for r in read_records(folder / fasta.file, inspect=False)]
    if not fasta.attested and sum(lengths) < assembly.num_bases:
        raise CorruptError(
            f"{assembly.accession} is short: {sum(lengths)} of {assembly.num_bases} bases",
            hint="NCBI gives no checksum for it; run the command again later",
        )
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


def _sweep(entry: Path) -> None:
    """Remove unfinished copies of an entry that a killed process left; its lock is ours now."""
    for pattern in (f".{entry.name}.*.tmp", f".{entry.name}.*.old"):
        for left in entry.parent.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)
