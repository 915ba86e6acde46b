"""Connections of one fetch: two HTTP transports (metadata, files) and the metadata source.

The API key is sent to the metadata host only. If that host is unreachable, the rest of the fetch
reads metadata from the files of the genomes area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import NetworkError, RefusedError
from genomeformer_cli.core.genomes.genome import Lineage
from genomeformer_cli.core.genomes.ncbi.datasets import Datasets
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata, Page, Taxon
from genomeformer_cli.core.genomes.ncbi.selection import Criteria
from genomeformer_cli.core.genomes.ncbi.summaries import Summaries
from genomeformer_cli.core.genomes.rate_limit import CancelToken
from genomeformer_cli.core.genomes.transport import HttpTransport, TransportSettings
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.settings import api_key, base_url, ftp_url

T = TypeVar("T")

# NCBI allows 5 requests per second, 10 with a key; the file host limits connections instead.
API_RATE = 3.0
API_RATE_WITH_KEY = 8.0
FILES_RATE = 100.0
# Statuses of an invalid request, for which the fallback would not help.
_CLIENT_ERRORS = frozenset({400, 401, 404, 414, 422})


@dataclass(frozen=True, kw_only=True)
class ConnectionConfig:
    """Addresses and limits of the connections to NCBI."""

    jobs: int = 4  # Concurrent downloads.
    retries: int = 8  # Consecutive failures without progress after which a file is given up.
    # Requests per second to each host; by default NCBI's limit, with a margin.
    rate: float | None = None
    # Seconds without data after which a connection is dropped and opened again.
    timeout: float = 60.0
    backoff: float = 1.0  # Longest first wait after a failure, in seconds.
    # Address of NCBI Datasets; by default `GENOMEFORMER_BASE_URL`, or NCBI.
    base_url: str | None = None
    # Address of the genomes area; by default `GENOMEFORMER_FTP_URL`, or NCBI.
    ftp_url: str | None = None

    def __post_init__(self) -> None:
        check_range("connection.jobs", self.jobs, 1)
        check_range("connection.retries", self.retries, 0)
        check_range("connection.rate", self.rate, 0, excluded="lowest")
        check_range("connection.timeout", self.timeout, 0, excluded="lowest")
        check_range("connection.backoff", self.backoff, 0)


@dataclass(frozen=True, kw_only=True)
class Connection(ConnectionConfig):
    """Settings of the connections, with the key of the user."""

    @property
    def key(self) -> str | None:
        """Key of the environment for a higher rate limit; sent to the metadata host only."""
        return api_key()

    @property
    def datasets_address(self) -> str:
        """Address of NCBI Datasets."""
        return self.base_url or base_url()

    @property
    def genomes_address(self) -> str:
        """Address of the genomes area."""
        return self.ftp_url or ftp_url()


class Session:
    """Context manager of the open connections."""

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *,
        offline: bool,
        refresh: bool,
        reporter: Reporter,
    ) -> None:
        self.cancel = CancelToken()
        self.connection = connection
        self._api: HttpTransport | None = None
        self.files: HttpTransport | None = None
        if not offline:
            rate = connection.rate or (API_RATE_WITH_KEY if connection.key else API_RATE)
            headers = {"api-key": connection.key} if connection.key else None
            self._api = self._transport(rate, connections=2, headers=headers)
            rate = connection.rate or FILES_RATE
            self.files = self._transport(rate, connections=2 * connection.jobs)
        self._summaries = Summaries(
            self.files, connection.genomes_address, folder, refresh=refresh, reporter=reporter
        )
        self.metadata: Metadata = self._summaries
        if self._api is not None:
            datasets = Datasets(self._api, connection.datasets_address)
            self.metadata = WithFallback(datasets, self._summaries, reporter=reporter)

    def _transport(
        self, rate: float, *, connections: int, headers: Mapping[str, str] | None = None
    ) -> HttpTransport:
        config = TransportSettings(
            rate=rate,
            retries=self.connection.retries,
            read_timeout=self.connection.timeout,
            connect_timeout=min(10.0, self.connection.timeout),
            speed_window=min(30.0, self.connection.timeout),
            backoff_base=self.connection.backoff,
            connections=connections,
        )
        return HttpTransport(config, headers=headers, cancel=self.cancel)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._summaries.close()
        for transport in (self._api, self.files):
            if transport is not None:
                transport.close()


class WithFallback:
    """Metadata from Datasets, or from the summaries once Datasets has failed."""

    def __init__(self, primary: Metadata, fallback: Metadata, *, reporter: Reporter) -> None:
        self._primary = primary
        self._fallback = fallback
        self._reporter = reporter
        self._failed: NetworkError | None = None

    @property
    def name(self) -> str:
        """Name of the source in use."""
        return self._fallback.name if self._failed else self._primary.name

    def _query(self, query: Callable[[Metadata], T], criteria: Criteria | None = None) -> T:
        if self._failed is None:
            try:
                return query(self._primary)
            except RefusedError as failure:
                if failure.status in _CLIENT_ERRORS:
                    raise
                self._failed = failure
            except NetworkError as failure:
                self._failed = failure
            self._reporter.warn(
                f"{self._primary.name} cannot be reached ({self._failed.message});"
                f" using {self._fallback.name} instead"
            )
        if criteria is not None and criteria.needs_checkm:
            raise NetworkError(
                "`filter.min_completeness` and `filter.max_contamination` need NCBI Datasets, "
                f"which cannot be reached: {self._failed.message}",
                hint="run the command again later, or without these two",
            ) from self._failed
        return query(self._fallback)

    def resolve(self, text: str) -> Taxon:
        """Return the taxon of a name or taxid."""
        return self._query(lambda source: source.resolve(text))

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """Return a page of assemblies of taxa."""
        return self._query(lambda source: source.page(taxids, criteria, token), criteria)

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Return assemblies by accession."""
        return self._query(lambda source: source.page_of(accessions))

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Yield the accessions of taxa."""
        return iter(self._query(lambda source: list(source.members(taxids, criteria))))

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """Return the lineage of every known taxid."""
        ids = list(taxids)
        return self._query(lambda source: source.lineages(ids))

    def directory(self, accession: str) -> str | None:
        """Return the current directory of an assembly's files."""
        return self._query(lambda source: source.directory(accession))
