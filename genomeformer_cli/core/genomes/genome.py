"""A genome in the cache: one FASTA file as it came, and `genome.json` beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.documents import DocumentError, convert, read_json
from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store.layout import Entry, Kind, Store
from genomeformer_cli.core.store.seal import check_sealed_file

GENOME_FILE = "genome.json"


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file as its host has it.

    Attributes:
        format: `fasta`, `gff` or `gbff`.
        file: Its name, at the host and in the entry's folder.
        url: Where it was fetched from.
        md5: Of its bytes.
        num_bytes: Its size.
        attested: Whether the MD5 is the host's own; else the host had none, and the file's inner
            checksum and its length alone vouch for it.
        last_modified: As the host said.
    """

    format: str
    file: str
    url: str
    md5: str
    num_bytes: int
    attested: bool = True
    last_modified: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A taxon above an organism, or its own.

    Attributes:
        taxid: NCBI taxonomy id.
        name: Scientific name; empty if the source gave the id alone.
        rank: `species`, `genus`, ...; empty if unknown.
    """

    taxid: int
    name: str = ""
    rank: str = ""


Lineage = tuple[Ancestor, ...]


@dataclass(frozen=True, kw_only=True)
class Genome:
    """One assembly, or one file of a user's own, as fetched or imported.

    Attributes:
        name: Its name in the cache: the accession, or the name of the imported file.
        fasta: File name of the (compressed) FASTA in the entry's folder, bytes as they came.
        sha256: Checksum of that file.
        num_records: Records in the file, all of them kept.
        num_bases: Letters in all records.
        source: Where it came from: a URL, a package, or `file` (never a path of the user's disk).
        retrieved: Date of fetching or import, YYYY-MM-DD.
        accession: Accession with version, if it has one.
        organism: Scientific name, if known.
        taxid: NCBI taxonomy id, if known.
        licence: What is known of the terms of use.
        assembly_name: Name of the assembly, if it is one of NCBI's.
        level: How far it is put together: `complete`, `chromosome`, `scaffold`, `contig`.
        status: `current`, `previous`, `suppressed` or `retired`, when it was fetched.
        released: Date of release, YYYY-MM-DD.
        files: What was fetched: the FASTA and annotation beside it.
        absent: Formats that were asked for and that the host does not have.
        lineage: Its place in the taxonomy when it was fetched, the highest taxon first, its own
            last; empty if nobody said.
    """

    name: str
    fasta: str
    sha256: str
    num_records: int
    num_bases: int
    source: str
    retrieved: str
    accession: str | None = None
    organism: str | None = None
    taxid: int | None = None
    licence: str | None = None
    assembly_name: str | None = None
    level: str | None = None
    status: str | None = None
    released: str | None = None
    files: tuple[RemoteFile, ...] = ()
    absent: tuple[str, ...] = ()
    lineage: Lineage = ()

    @property
    def label(self) -> str:
        """Name and organism, for people."""
        return f"{self.name} ({self.organism})" if self.organism else self.name


@dataclass(frozen=True, kw_only=True)
class FetchedGenome:
    """One genome of a request, and whether it was not in the cache before."""

    genome: Genome
    new: bool


def genome_from_json(value: dict[str, Any]) -> Genome:
    """Build a `Genome` from its JSON, ignoring keys of later versions.

    Raises:
        DocumentError: A value is of another type, or a required key is absent.
    """
    genome: Genome = convert(
        {key: item for key, item in value.items() if item is not None}, Genome, source=GENOME_FILE
    )
    return genome


def genome_to_json(genome: Genome) -> dict[str, Any]:
    """The genome as plain JSON values."""
    return asdict(genome)


def load_genome(entry: Entry) -> Genome:
    """Read what is known of a cached genome.

    Raises:
        CorruptError: `genome.json` is missing, unreadable, or not as it was written.
    """
    check_sealed_file(entry.path, GENOME_FILE)
    try:
        return genome_from_json(read_json(entry.path / GENOME_FILE))
    except DocumentError as failure:
        raise CorruptError(
            f"genome `{entry.name}` in the cache is damaged: {failure}",
            hint=f"remove it with `genomeformer cache rm genomes/{entry.name}` and fetch it again",
        ) from failure


def cached_genomes(store: Store, names: Iterable[str] | None = None) -> list[tuple[Genome, Path]]:
    """Genomes of the cache (all, or those named, in that order) and the paths of their FASTA files.

    Raises:
        NotInCacheError: A name is not there.
    """
    entries = (
        store.entries(Kind.GENOMES)
        if names is None
        else [store.entry(Kind.GENOMES, name) for name in names]
    )
    genomes = [(load_genome(entry), entry.path) for entry in entries]
    return [(genome, path / genome.fasta) for genome, path in genomes]


def genome_file(source: str, store: Store) -> tuple[Path, str]:
    """Return the FASTA file of a genome and its name in messages.

    Args:
        source: Path of a FASTA file, or name of a genome of the cache; a file comes first.
        store: Cache.
    """
    if not Path(source).exists() and store.has(Kind.GENOMES, source):
        ((genome, fasta),) = cached_genomes(store, [source])
        return fasta, f"genome {genome.name}"
    return Path(source), source
