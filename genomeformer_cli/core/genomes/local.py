"""Import a user's own FASTA file: the bytes are kept as they came, every record of them."""

from __future__ import annotations

import gzip
import shutil
from datetime import UTC, datetime
from pathlib import Path

from genomeformer_cli.core.errors import EntryExistsError, UsageError
from genomeformer_cli.core.genomes.fasta import (
    STDIN,
    inspect_file,
    is_gzip,
    is_pipe,
    local_copy,
    read_records,
)
from genomeformer_cli.core.genomes.genome import GENOME_FILE, Genome, genome_to_json, load_genome
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import file_sha256

_SUFFIXES = (".gz", ".fasta", ".fa", ".fna", ".ffn", ".fas", ".fastq", ".fq")


def name_from_path(path: Path) -> str:
    """The cache name of an imported file: its own, without suffixes and odd characters."""
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    kept = "".join(
        letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "_"
        for letter in name
    )
    return check_name(kept.lstrip("._-") or "genome")


def import_fasta(
    path: Path, *, store: Store, reporter: Reporter, name: str | None = None
) -> tuple[Genome, bool]:
    """Check a FASTA file and copy it into the cache (gzip'd if it was not).

    Args:
        path: FASTA, plain or gzip'd; `-` is standard input.
        store: The cache.
        reporter: Is told of duplicate ids and empty records.
        name: Name in the cache; else made from the file's name.

    Returns:
        The genome, and whether it was new.

    Raises:
        FastaError: The file is missing, empty, damaged or no FASTA.
        AlphabetError: A record holds something that is no nucleotide.
        EntryExistsError: The name is taken by a genome of other content.
        UsageError: A pipe was given without a name.
    """
    if name is None and (str(path) == STDIN or is_pipe(path)):
        raise UsageError("a genome that is piped in has no name", hint="give it one with `--name`")
    name = check_name(name) if name else name_from_path(path)
    with local_copy(str(path)) as (file, shown):
        inspect_file(file, shown=shown)
        with store.lock(Kind.GENOMES, name):
            if store.has(Kind.GENOMES, name):
                return _known(file, store, name), False
            return _import(file, shown, name, store, reporter), True


def _import(file: Path, shown: str, name: str, store: Store, reporter: Reporter) -> Genome:
    num_records, num_bases = _count(file, shown, reporter)
    with store.create(Kind.GENOMES, name) as folder:
        fasta = folder / f"{name}.fa.gz"
        _copy_compressed(file, fasta)
        genome = Genome(
            name=name,
            fasta=fasta.name,
            sha256=file_sha256(fasta),
            num_records=num_records,
            num_bases=num_bases,
            source="file",
            retrieved=datetime.now(tz=UTC).date().isoformat(),
        )
        write_json(folder / GENOME_FILE, genome_to_json(genome))
    return genome


def _known(path: Path, store: Store, name: str) -> Genome:
    genome = load_genome(store.entry(Kind.GENOMES, name))
    cached = store.path(Kind.GENOMES, name) / genome.fasta
    if inspect_file(path) == inspect_file(cached):
        return genome
    raise EntryExistsError(
        f"the cache already has a genome `{name}` of other content",
        hint=f"give another `--name`, or first `genomeformer cache rm genomes/{name}`",
    )


def _count(path: Path, shown: str, reporter: Reporter) -> tuple[int, int]:
    seen: set[str] = set()
    num_records = num_bases = 0
    for record in read_records(path, inspect=False):
        encode_bases(record.sequence, where=f"`{shown}`: record `{record.id}`")
        if record.id in seen:
            reporter.warn(
                f"`{shown}`: the id `{record.id}` occurs more than once; all its records are kept"
            )
        if not record.sequence:
            reporter.warn(f"`{shown}`: record `{record.id}` is empty")
        seen.add(record.id)
        num_records += 1
        num_bases += len(record.sequence)
    return num_records, num_bases


def _copy_compressed(source: Path, target: Path) -> None:
    if is_gzip(source):
        shutil.copyfile(source, target)
        return
    with (
        source.open("rb") as read,
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as write,
    ):
        shutil.copyfileobj(read, write)
