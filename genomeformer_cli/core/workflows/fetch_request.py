"""Settings and request of a fetch from NCBI."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Filters on the assemblies of a taxon.

    Attributes:
        source: Database: `refseq`, `genbank`, or `both` (of a pair, the RefSeq assembly).
        level: Assembly levels, comma-separated: `complete`, `chromosome`, `scaffold`, `contig`;
            empty: all.
        reference: Reference genomes only.
        mag: Metagenome-assembled genomes: `include`, `exclude` or `only`.
        type_material: Type material only.
        released_after: First release date, YYYY-MM-DD.
        released_before: Last release date, YYYY-MM-DD.
        min_length: Minimum number of bases.
        max_contigs: Maximum number of contigs.
        min_completeness: Minimum CheckM completeness in percent.
        max_contamination: Maximum CheckM contamination in percent.
        exclude_atypical: Exclude assemblies that NCBI marks as atypical.
    """

    source: str = "refseq"
    level: str = ""
    reference: bool = False
    mag: str = "include"
    type_material: bool = False
    released_after: str | None = None
    released_before: str | None = None
    min_length: int | None = None
    max_contigs: int | None = None
    min_completeness: float | None = None
    max_contamination: float | None = None
    exclude_atypical: bool = True


@dataclass(frozen=True, kw_only=True)
class ConnectionConfig:
    """Addresses and limits of the connections to NCBI.

    Attributes:
        jobs: Concurrent downloads.
        retries: Consecutive failures without progress after which a file is given up.
        rate: Requests per second to each host; by default NCBI's limit, with a margin.
        timeout: Seconds without data after which a connection is dropped and opened again.
        backoff: Longest first wait after a failure, in seconds.
        base_url: Address of NCBI Datasets; by default `GENOMEFORMER_BASE_URL`, or NCBI.
        ftp_url: Address of the genomes area; by default `GENOMEFORMER_FTP_URL`, or NCBI.
    """

    jobs: int = 4
    retries: int = 8
    rate: float | None = None
    timeout: float = 60.0
    backoff: float = 1.0
    base_url: str | None = None
    ftp_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Settings of `genomeformer fetch`.

    Attributes:
        filter: Filters on the assemblies of a taxon.
        connection: Addresses and limits of the connections to NCBI.
    """

    filter: FilterConfig = field(default_factory=FilterConfig)
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)


@dataclass(frozen=True, kw_only=True)
class FetchNcbiRequest(FilterConfig, ConnectionConfig):
    """Genomes to fetch from NCBI, with filters and connection.

    Attributes:
        taxa: Names or taxids; their descendants are included.
        exclude_taxa: Taxa to exclude.
        accessions: Assembly accessions, with or without version.
        accession_file: List of accessions, see `core/formats/accessions.py`; `-` is standard input.
        lock: Lock file whose exact bytes are fetched again.
        limit: Number of best assemblies to keep.
        top_per: Best assemblies of each taxon to keep, such as `species:1`.
        formats: `fasta`, and `gff`, `gbff` in addition, comma-separated.
        api_key: NCBI key; by default that of the environment.
        dry_run: Report what would be fetched without fetching.
        refresh: Query NCBI again, even if the last listing is recent.
        offline: Use the cache only.
        verify: Check cached files, and fetch damaged ones again.
        prune: Remove assemblies superseded or suppressed since the last fetch of this request.
        save_lock: Additional path of the lock file.
    """

    taxa: tuple[str, ...] = ()
    exclude_taxa: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    accession_file: str | None = None
    lock: Path | None = None
    limit: int | None = None
    top_per: str | None = None
    formats: str = "fasta"
    api_key: str | None = field(default=None, repr=False)
    dry_run: bool = False
    refresh: bool = False
    offline: bool = False
    verify: bool = False
    prune: bool = False
    save_lock: Path | None = None

    @property
    def names_genomes(self) -> bool:
        """Return True if the request names genomes."""
        return bool(self.taxa or self.accessions or self.accession_file or self.lock)
