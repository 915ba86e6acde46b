"""Import of a user's FASTA or GenBank file: every record is kept, the sequence unchanged.

A GenBank file becomes FASTA in upper case (its lower case marks no repeats), with the file itself
beside it as annotation.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from genomeformer_cli.core.errors import EntryExistsError, UsageError
from genomeformer_cli.core.formats.fasta import Block, FastaReader, inspect_file
from genomeformer_cli.core.formats.genbank import is_genbank
from genomeformer_cli.core.formats.genbank_sequences import write_genbank_sequences
from genomeformer_cli.core.formats.packing import PACKINGS, is_gzip
from genomeformer_cli.core.formats.text import STDIN, NamedFile, TextFile, is_pipe, local_copy
from genomeformer_cli.core.genomes.genome import (
    GENOME_FILE,
    Genome,
    RemoteFile,
    annotation_file,
    genome_to_json,
    load_genome,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import file_sha256

_SUFFIXES = (
    *(packing.suffix for packing in PACKINGS),
    ".fasta",
    ".fa",
    ".fna",
    ".ffn",
    ".fas",
    ".fastq",
    ".fq",
    ".gbff",
    ".gbk",
    ".gb",
    ".genbank",
)
_ANNOTATION = "gbff"

Consume = Callable[[Iterator[Block], FastaReader], None]


def name_from_path(path: Path) -> str:
    """Return the cache name of an imported file: its own, without suffixes and odd characters."""
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    cleaned = "".join(
        letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "_"
        for letter in name
    )
    return check_name(cleaned.lstrip("._-") or "genome")


def import_fasta(
    path: Path,
    *,
    store: Store,
    reporter: Reporter,
    name: str | None = None,
    consume: Consume | None = None,
) -> tuple[Genome, bool]:
    """Check a file and copy it into the cache, compressed by gzip.

    Args:
        path: FASTA, FASTQ or GenBank file, plain or compressed; `-` is standard input.
        store: Cache.
        reporter: Receives warnings about duplicate ids and empty records.
        name: Name in the cache; by default derived from the file name.
        consume: Receives all blocks of a new genome, in the pass that checks it.

    Returns:
        The genome, and True if it was new.

    Raises:
        FastaError: The file is missing, empty, damaged or not FASTA.
        AnnotationError: A GenBank file is invalid, or a record of it has no sequence.
        AlphabetError: A character is not a nucleotide code.
        EntryExistsError: The cache has a genome of this name with other content.
        UsageError: A pipe was given without a name.
    """
    if name is None and (str(path) == STDIN or is_pipe(path)):
        raise UsageError("a genome from a pipe needs a name", hint="name it with `--name`")
    name = check_name(name) if name else name_from_path(path)
    with ExitStack() as stack:
        file, display_name = stack.enter_context(local_copy(str(path)))
        stack.enter_context(store.lock(Kind.GENOMES, name))
        annotation = None
        if is_genbank(NamedFile(file, display_name)):
            annotation = file
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="genomeformer-")))
            file = write_genbank_sequences(NamedFile(file, display_name), folder / "sequences.fa")
        if store.has(Kind.GENOMES, name):
            return _existing_genome(file, annotation, store, name), False
        census = _Census(display_name, reporter)
        return _import(_Import(file, annotation, name, census), store, consume), True


@dataclass(frozen=True)
class _Import:
    """Checked files of a new genome."""

    file: Path
    annotation: Path | None
    name: str
    census: _Census


def _import(new: _Import, store: Store, consume: Consume | None) -> Genome:
    name, census, annotation = new.name, new.census, new.annotation
    checksums: dict[str, str] = {}
    with store.create(Kind.GENOMES, name, checksums=checksums) as folder:
        fasta = folder / f"{name}.fa.gz"
        sha256 = _copy_compressed(new.file, fasta, census, consume)
        checksums[fasta.name] = sha256
        files: tuple[RemoteFile, ...] = ()
        if annotation is not None:
            copy = folder / f"{name}.{_ANNOTATION}.gz"
            _compress(annotation, copy, census.display_name)
            checksums[copy.name] = file_sha256(copy)
            files = (_describe(copy),)
        genome = Genome(
            name=name,
            fasta=fasta.name,
            sha256=sha256,
            num_records=census.num_records,
            num_bases=census.num_bases,
            source="file",
            retrieved=datetime.now(tz=UTC).date().isoformat(),
            files=files,
        )
        write_json(folder / GENOME_FILE, genome_to_json(genome))
    return genome


def _compress(source: Path, target: Path, display_name: str) -> None:
    """Copy a file of text, compressed by gzip; its letters stay as they are."""
    with target.open("wb") as output:
        if is_gzip(source):
            with source.open("rb") as file:
                shutil.copyfileobj(file, output)
            return
        with gzip.GzipFile("", "wb", 6, output, mtime=0) as packed:
            for _ in TextFile(source, display_name=display_name, copy_text=packed).chunks():
                pass


def _describe(path: Path) -> RemoteFile:
    """Return the description of an annotation that was imported, not fetched."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    return RemoteFile(
        format=_ANNOTATION,
        file=path.name,
        url="",
        md5=md5,
        num_bytes=path.stat().st_size,
        attested=False,
    )


def _text_sha256(path: Path, display_name: str) -> str:
    """Return the checksum of the text of a file, however it is packed."""
    digest = hashlib.sha256()
    for chunk in TextFile(path, display_name=display_name).chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _existing_genome(path: Path, annotation: Path | None, store: Store, name: str) -> Genome:
    genome = load_genome(store.entry(Kind.GENOMES, name))
    folder = store.path(Kind.GENOMES, name)
    cached = folder / genome.fasta
    is_equal = path.is_file() and is_gzip(path) and file_sha256(path) == genome.sha256
    is_equal = is_equal or inspect_file(path) == inspect_file(cached)
    if is_equal and annotation is not None:
        cached_annotation = annotation_file(genome, folder)
        is_equal = cached_annotation is not None and (
            _text_sha256(annotation, name) == _text_sha256(cached_annotation, name)
        )
    if is_equal:
        return genome
    raise EntryExistsError(
        f"the cache already has a genome `{name}` with other content",
        hint=f"give another `--name`, or first `genomeformer cache rm genomes/{name}`",
    )


class _Census:
    """Count records and bases, and warn about duplicate ids and empty records."""

    def __init__(self, display_name: str, reporter: Reporter) -> None:
        self.display_name = display_name
        self.reporter = reporter
        self._ids: set[str] = set()
        self._open_id: str | None = None
        self._open_bases = 0
        self.num_records = 0
        self.num_bases = 0

    def watch(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Count blocks while passing them through."""
        for block in blocks:
            start = 0
            for stop, name in block.starts:
                self._open_bases += stop - start
                self._close()
                self._begin(name)
                start = stop
            self._open_bases += block.marked.size - start
            self.num_bases += block.marked.size
            yield block
        self._close()

    def _begin(self, name: str) -> None:
        if name in self._ids:
            self.reporter.warn(
                f"`{self.display_name}`: the id `{name}` occurs more than once; all its "
                "records are kept"
            )
        self._ids.add(name)
        self._open_id, self._open_bases = name, 0
        self.num_records += 1

    def _close(self) -> None:
        if self._open_id is not None and not self._open_bases:
            self.reporter.warn(f"`{self.display_name}`: record `{self._open_id}` is empty")
        self._open_id, self._open_bases = None, 0


def _copy_compressed(source: Path, target: Path, census: _Census, consume: Consume | None) -> str:
    """Check a file and copy it, compressing it if needed; return the checksum of the copy."""
    with ExitStack() as stack:
        output = stack.enter_context(target.open("wb"))
        is_packed = is_gzip(source)
        if is_packed:
            text = TextFile(source, display_name=census.display_name, copy=output)
        else:
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, output, mtime=0))
            text = TextFile(source, display_name=census.display_name, copy_text=file)
        reader = FastaReader(text)
        blocks = census.watch(reader.blocks())
        if consume:
            consume(blocks, reader)
        for _ in blocks:
            pass
        reader.changes.report(census.display_name, census.reporter)
    return text.packed.sha256 if is_packed else file_sha256(target)
