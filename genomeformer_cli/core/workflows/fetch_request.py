"""Settings and request of a fetch from NCBI."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.genomes.ncbi.session import Connection, ConnectionConfig

# Name of the default taxonomy.
NCBI = "ncbi"


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Filters on the assemblies of a taxon."""

    # Database: `refseq`, `genbank`, or `both` (of a pair, the RefSeq assembly).
    source: str = "refseq"
    # Assembly levels, comma-separated: `complete`, `chromosome`, `scaffold`, `contig`; empty: all.
    level: str = ""
    reference: bool = False  # Reference genomes only.
    mag: str = "include"  # Metagenome-assembled genomes: `include`, `exclude` or `only`.
    type_material: bool = False  # Type material only.
    released_after: str | None = None  # First release date, YYYY-MM-DD.
    released_before: str | None = None  # Last release date, YYYY-MM-DD.
    min_length: int | None = None  # Minimum number of bases.
    max_contigs: int | None = None  # Maximum number of contigs.
    min_completeness: float | None = None  # Minimum CheckM completeness in percent.
    max_contamination: float | None = None  # Maximum CheckM contamination in percent.
    # With a taxonomy of GTDB: the representative genome of each species only.
    representatives: bool = True
    exclude_atypical: bool = True  # Exclude assemblies that NCBI marks as atypical.

    def __post_init__(self) -> None:
        check_range("filter.min_length", self.min_length, 0)
        check_range("filter.max_contigs", self.max_contigs, 1)
        check_range("filter.min_completeness", self.min_completeness, 0, 100)
        check_range("filter.max_contamination", self.max_contamination, 0)


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Settings of `genomeformer fetch`."""

    # Filters on the assemblies of a taxon.
    filter: FilterConfig = field(default_factory=FilterConfig)
    # Addresses and limits of the connections to NCBI.
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)


@dataclass(frozen=True, kw_only=True)
class FetchNcbiRequest(FilterConfig, Connection):
    """Genomes to fetch from NCBI, with filters and connection."""

    taxa: tuple[str, ...] = ()  # Names or taxids; their descendants are included.
    exclude_taxa: tuple[str, ...] = ()  # Taxa to exclude.
    taxonomy: str = NCBI  # Taxonomy of the names: `ncbi`, `gtdb`, or a file of a GTDB release.
    accessions: tuple[str, ...] = ()  # Assembly accessions, with or without version.
    # List of accessions, see `core/formats/accessions.py`; `-` is standard input.
    accession_file: str | None = None
    lock: Path | None = None  # Lock file whose exact bytes are fetched again.
    limit: int | None = None  # Number of best assemblies to keep.
    top_per: str | None = None  # Best assemblies of each taxon to keep, such as `species:1`.
    formats: str = "fasta"  # `fasta`, and `gff`, `gbff` in addition, comma-separated.
    dry_run: bool = False  # Report what would be fetched without fetching.
    refresh: bool = False  # Query NCBI again, even if the last listing is recent.
    offline: bool = False  # Use the cache only.
    verify: bool = False  # Check cached files, and fetch damaged ones again.
    prune: bool = False  # Remove assemblies superseded or suppressed since the last such fetch.
    save_lock: Path | None = None  # Additional path of the lock file.

    @property
    def names_genomes(self) -> bool:
        """Return True if the request names genomes."""
        return bool(self.taxa or self.accessions or self.accession_file or self.lock)
