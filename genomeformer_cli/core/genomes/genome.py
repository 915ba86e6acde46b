"""Genome in the cache: one FASTA file, unchanged, and `genome.json`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli.core.documents import DocumentError, convert, read_json
from genomeformer_cli.core.errors import CorruptError, UsageError
from genomeformer_cli.core.store.layout import Entry, Kind, Store
from genomeformer_cli.core.store.seal import check_sealed_file

GENOME_FILE = "genome.json"
ANNOTATION_FORMATS = ("gff", "gbff")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """File of a host, or imported annotation."""

    format: str  # `fasta`, `gff` or `gbff`.
    file: str  # File name, at the host and in the entry's folder.
    url: str  # Address of the file; empty for an imported one.
    md5: str  # MD5 checksum.
    num_bytes: int  # Size in bytes.
    # True if the host published the MD5; otherwise only the gzip checksum and the length were
    # verified.
    attested: bool = True
    last_modified: str | None = None  # `Last-Modified` header as sent.


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """Taxon of a lineage."""

    taxid: int  # NCBI taxonomy id.
    name: str = ""  # Scientific name; empty if unknown.
    rank: str = ""  # `species`, `genus`, ...; empty if unknown.


Lineage = tuple[Ancestor, ...]


@dataclass(frozen=True, kw_only=True)
class Genome:
    """Assembly as fetched, or FASTA file as imported."""

    name: str  # Name in the cache: the accession, or the name of the imported file.
    fasta: str  # File name of the FASTA in the entry's folder, bytes unchanged.
    sha256: str  # Checksum of the FASTA file.
    num_records: int  # Number of records in the file.
    num_bases: int  # Number of letters in all records.
    source: str  # Origin: a URL, a package, or `file` (never a path of the user's disk).
    retrieved: str  # Date of fetching or import, YYYY-MM-DD.
    accession: str | None = None  # Accession with version, if any.
    organism: str | None = None  # Scientific name, if known.
    taxid: int | None = None  # NCBI taxonomy id, if known.
    licence: str | None = None  # Terms of use, if known.
    assembly_name: str | None = None  # NCBI's name of the assembly, if any.
    level: str | None = None  # Assembly level: `complete`, `chromosome`, `scaffold`, `contig`.
    status: str | None = None  # `current`, `previous`, `suppressed` or `retired` when fetched.
    released: str | None = None  # Release date, YYYY-MM-DD.
    files: tuple[RemoteFile, ...] = ()  # Fetched files: the FASTA and annotation.
    absent: tuple[str, ...] = ()  # Requested formats that the host does not have.
    # Lineage when it was fetched, from the highest taxon to the organism; empty if unknown.
    lineage: Lineage = ()

    @property
    def label(self) -> str:
        """Name and organism, as shown to the user."""
        return f"{self.name} ({self.organism})" if self.organism else self.name


@dataclass(frozen=True, kw_only=True)
class FetchedGenome:
    """Genome of a request; `new` is True if it was not in the cache before."""

    genome: Genome
    new: bool


def genome_from_json(value: dict[str, Any]) -> Genome:
    """Build a `Genome` from JSON values; keys of later versions are ignored.

    Raises:
        DocumentError: A value has the wrong type, or a required key is absent.
    """
    genome: Genome = convert(
        {key: item for key, item in value.items() if item is not None}, Genome, source=GENOME_FILE
    )
    return genome


def genome_to_json(genome: Genome) -> dict[str, Any]:
    """Convert a genome to JSON values."""
    return asdict(genome)


def load_genome(entry: Entry) -> Genome:
    """Read the description of a cached genome.

    Raises:
        CorruptError: `genome.json` is missing, unreadable, or invalid.
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
    """Return cached genomes (all, or by name, in that order) with the paths of their FASTA files.

    Raises:
        NotInCacheError: A genome is not cached.
    """
    entries = (
        store.entries(Kind.GENOMES)
        if names is None
        else [store.entry(Kind.GENOMES, name) for name in names]
    )
    genomes = [(load_genome(entry), entry.path) for entry in entries]
    return [(genome, path / genome.fasta) for genome, path in genomes]


def annotation_file(genome: Genome, folder: Path) -> Path | None:
    """Return the annotation in the folder of a genome: GFF3 if present, otherwise GenBank."""
    for file_format in ANNOTATION_FORMATS:
        for file in genome.files:
            if file.format == file_format and (folder / file.file).is_file():
                return folder / file.file
    return None


def not_annotated(genome: Genome, option: str) -> UsageError:
    """Build the error for a cached genome without annotation.

    Args:
        genome: The genome.
        option: Option that takes an annotation file.
    """
    advice = f"give its annotation with `{option} FILE`"
    if genome.accession and genome.accession.startswith(("GCF_", "GCA_")):
        advice = f"`genomeformer fetch --accession {genome.accession} --format fasta,gff` brings it"
        if "gff" in genome.absent:
            advice = f"NCBI has none; give one of your own with `{option} FILE`"
    return UsageError(f"{genome.label} has no annotation in the cache", hint=advice)


def genome_file(source: str, store: Store) -> tuple[Path, str]:
    """Return the FASTA file of a genome and its name in messages.

    Args:
        source: Path of a FASTA file, or name of a cached genome; a file takes precedence.
        store: Cache.
    """
    if not Path(source).exists() and store.has(Kind.GENOMES, source):
        ((genome, fasta),) = cached_genomes(store, [source])
        return fasta, f"genome {genome.name}"
    return Path(source), source
