"""Sources of a command: files or cached genomes, each with the annotation that belongs to it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.genbank import is_genbank
from genomeformer_cli.core.formats.text import STDIN, STDIN_NAME, NamedFile, is_pipe, local_copy
from genomeformer_cli.core.genomes.genome import (
    Genome,
    annotation_file,
    cached_genomes,
    not_annotated,
)
from genomeformer_cli.core.genomes.local import name_from_path
from genomeformer_cli.core.store.layout import Kind, Store

# Name, size and time of a file.
Identity = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Found source: a file that can be read twice, and its annotation if it has one."""

    file: NamedFile  # Sequences.
    identity: Identity  # Name, size and time, which identify the content.
    is_file: bool  # False for a pipe, whose content cannot be compared later.
    genome: Genome | None = None  # Cached genome; None for a file.
    annotation: Path | None = None  # Annotation in the cache.

    @property
    def name(self) -> str:
        """Name of the genome: that in the cache, or of the file without suffixes."""
        if self.genome is not None:
            return self.genome.name
        if self.file.display_name == STDIN_NAME:
            return "stdin"
        return name_from_path(Path(self.file.display_name))


def find_source(source: str, *, store: Store, stack: ExitStack) -> Source:
    """Find a file, a pipe or a cached genome.

    Args:
        source: Path, `-`, or name of a genome in the cache.
        store: Cache.
        stack: Keeps the copy of a pipe until it is closed.

    Raises:
        InputError: The file is missing.
    """
    path = Path(source)
    if source != STDIN and not path.exists() and store.has(Kind.GENOMES, source):
        ((genome, fasta),) = cached_genomes(store, [source])
        return Source(
            file=NamedFile(fasta, f"genome {genome.name}"),
            identity=(genome.name, *file_identity(fasta)[1:]),
            is_file=True,
            genome=genome,
            annotation=annotation_file(genome, fasta.parent),
        )
    is_file = source != STDIN and not is_pipe(path)
    file = NamedFile(*stack.enter_context(local_copy(source)))
    return Source(
        file=file, identity=file_identity(path) if is_file else (source, 0, 0), is_file=is_file
    )


def file_identity(path: Path) -> Identity:
    """Return the name, size and time of a file, which stand for its content."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def required_annotation(place: Source, rows: NamedFile | None) -> NamedFile:
    """Return the annotation of a source: the given file, that of the cache, or the file itself.

    Raises:
        UsageError: There is none.
    """
    annotation = rows or known_annotation(place)
    if annotation is not None:
        return annotation
    if place.genome is not None:
        raise not_annotated(place.genome, "--gff")
    raise UsageError(
        f"`{place.file.display_name}` has no annotation",
        hint="give it with `--genome FILE --gff FILE`, or a GenBank file instead",
    )


def known_annotation(place: Source) -> NamedFile | None:
    """Return the annotation in the cache, or a GenBank file itself; None without one."""
    if place.annotation is not None and place.genome is not None:
        return NamedFile(place.annotation, f"annotation of {place.genome.name}")
    return place.file if is_genbank(place.file) else None
