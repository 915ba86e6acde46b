"""The connections of one fetch: two transports (metadata, files) and where metadata comes from.

The API key goes to the metadata host alone. If that host is out of reach, the same questions are
put to the files of the genomes area, once and for the rest of the fetch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from genomeformer_cli.core.errors import NetworkError, RefusedError
from genomeformer_cli.core.genomes.genome import Lineage
from genomeformer_cli.core.genomes.ncbi.datasets import Datasets
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata, Page, Taxon
from genomeformer_cli.core.genomes.ncbi.selection import Criteria
from genomeformer_cli.core.genomes.ncbi.summaries import Summaries
from genomeformer_cli.core.genomes.rate_limit import CancelToken
from genomeformer_cli.core.genomes.transport import HttpTransport, TransportSettings
from genomeformer_cli.core.reporting import Reporter

T = TypeVar("T")

# NCBI allows 5 requests a second, 10 with a key; the files' host minds connections more.
API_RATE = 3.0
API_RATE_WITH_KEY = 8.0
FILES_RATE = 100.0
# Statuses that say that the question is wrong, not that the host is out of reach.
_OUR_FAULT = frozenset({400, 401, 404, 414, 422})


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach NCBI.

    Attributes:
        base_url: NCBI Datasets.
        ftp_url: The genomes area.
        jobs: Files at once.
        retries: Failures in a row, without progress, after which a file is given up.
        rate: Requests a second to each host; else what NCBI allows, with a margin.
        timeout: Seconds without a byte after which a line is dropped.
        backoff: Longest first wait after a failure, in seconds.
        api_key: More requests a second; sent to the metadata host alone, never shown.
    """

    base_url: str
    ftp_url: str
    jobs: int = 4
    retries: int = 8
    rate: float | None = None
    timeout: float = 60.0
    backoff: float = 1.0
    api_key: str | None = field(default=None, repr=False)


class Session:
    """Open connections; close them by leaving the block."""

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *,
        offline: bool,
        refresh: bool,
        reporter: Reporter,
    ) -> None:
        self.halt = CancelToken()
        self.connection = connection
        self._api: HttpTransport | None = None
        self.files: HttpTransport | None = None
        if not offline:
            key = connection.api_key
            rate = connection.rate or (API_RATE_WITH_KEY if key else API_RATE)
            headers = {"api-key": key} if key else None
            self._api = self._transport(rate, connections=2, headers=headers)
            rate = connection.rate or FILES_RATE
            self.files = self._transport(rate, connections=2 * connection.jobs)
        self._summaries = Summaries(
            self.files, connection.ftp_url, folder, refresh=refresh, reporter=reporter
        )
        self.metadata: Metadata = self._summaries
        if self._api is not None:
            datasets = Datasets(self._api, connection.base_url)
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
        return HttpTransport(config, headers=headers, halt=self.halt)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._summaries.close()
        for transport in (self._api, self.files):
            if transport is not None:
                transport.close()


class WithFallback:
    """Datasets, until it is out of reach; from then on the summaries."""

    def __init__(self, first: Metadata, second: Metadata, *, reporter: Reporter) -> None:
        self._first = first
        self._second = second
        self._reporter = reporter
        self._failed: NetworkError | None = None

    @property
    def name(self) -> str:
        """The source that answers now."""
        return self._second.name if self._failed else self._first.name

    def _ask(self, question: Callable[[Metadata], T], criteria: Criteria | None = None) -> T:
        if self._failed is None:
            try:
                return question(self._first)
            except RefusedError as failure:
                if failure.status in _OUR_FAULT:
                    raise
                self._failed = failure
            except NetworkError as failure:
                self._failed = failure
            self._reporter.warn(
                f"{self._first.name} is out of reach ({self._failed.message});"
                f" asking {self._second.name} instead"
            )
        if criteria is not None and criteria.needs_checkm:
            raise NetworkError(
                "`--min-completeness` and `--max-contamination` need NCBI Datasets, which is out"
                f" of reach: {self._failed.message}",
                hint="run the command again later, or without these two",
            ) from self._failed
        return question(self._second)

    def resolve(self, text: str) -> Taxon:
        """The taxon of a name or id."""
        return self._ask(lambda source: source.resolve(text))

    def page(self, taxids: Sequence[int], criteria: Criteria, token: str | None) -> Page:
        """A page of assemblies of taxa."""
        return self._ask(lambda source: source.page(taxids, criteria, token), criteria)

    def page_of(self, accessions: Sequence[str]) -> Page:
        """Assemblies by accession."""
        return self._ask(lambda source: source.page_of(accessions))

    def members(self, taxids: Sequence[int], criteria: Criteria) -> Iterator[str]:
        """Accessions of taxa."""
        return iter(self._ask(lambda source: list(source.members(taxids, criteria))))

    def lineages(self, taxids: Iterable[int]) -> Mapping[int, Lineage]:
        """For each taxid that is known, its ancestors."""
        wanted = list(taxids)
        return self._ask(lambda source: source.lineages(wanted))

    def directory(self, accession: str) -> str | None:
        """Where the files of an assembly lie."""
        return self._ask(lambda source: source.directory(accession))
