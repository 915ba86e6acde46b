"""Install many assemblies in parallel; list failures, stop when the network is down."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from genomeformer_cli.core.errors import (
    CorruptError,
    GenomeformerError,
    NetworkError,
    NotInCacheError,
    RefusedError,
    StoreError,
)
from genomeformer_cli.core.genomes.cancellable_pool import run_all
from genomeformer_cli.core.genomes.events import GenomeFetched
from genomeformer_cli.core.genomes.genome import FetchedGenome
from genomeformer_cli.core.genomes.ncbi.install import Installer, InstallResult
from genomeformer_cli.core.genomes.ncbi.query_dir import Failure
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem
from genomeformer_cli.core.genomes.rate_limit import CancelToken
from genomeformer_cli.core.reporting import Reporter, Tracker

_MIN_CONSECUTIVE = 3


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Result of installing many assemblies."""

    genomes: tuple[FetchedGenome, ...] = ()  # Genomes in the cache, by accession.
    num_bytes: int = 0  # Number of bytes downloaded.
    failures: tuple[Failure, ...] = ()  # Assemblies that could not be installed.


class FileMeter:
    """Progress bar of one file, drawn once its size is known."""

    def __init__(self, name: str, reporter: Reporter) -> None:
        self._name = name
        self._reporter = reporter
        self._stack = ExitStack()
        self._tracker: Tracker | None = None
        self._have = 0

    def __enter__(self) -> FileMeter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, total: int | None, have: int) -> None:
        """Draw the bar, or reset it to `have` bytes."""
        if self._tracker is None:
            bar = self._reporter.track(self._name, total, "bytes")
            self._tracker = self._stack.enter_context(bar)
        self.advance(have - self._have)

    def advance(self, num_bytes: int) -> None:
        """Advance the bar."""
        self._have += num_bytes
        if self._tracker is not None:
            self._tracker.advance(num_bytes)


def install_all(
    items: Sequence[FetchItem],
    installer: Installer,
    *,
    workers: int,
    cancel: CancelToken,
    reporter: Reporter,
) -> Batch:
    """Install all items, several in parallel.

    Raises:
        NetworkError: The network is down.
        StoreError: The cache cannot be written.
    """
    genomes: list[FetchedGenome] = []
    failures: list[Failure] = []
    num_bytes = num_consecutive = 0

    def work(item: FetchItem) -> InstallResult | GenomeformerError:
        try:
            return installer.install(item)
        except (CorruptError, NotInCacheError) as failure:
            return failure
        except StoreError:
            raise
        except GenomeformerError as failure:
            return failure

    with reporter.track("genomes", len(items), "genomes") as tracker:
        for item, result in run_all(items, work, jobs=workers, cancel=cancel):
            name, organism = item.assembly.accession, item.assembly.organism
            tracker.advance(1)
            if isinstance(result, GenomeformerError):
                is_down = isinstance(result, NetworkError) and not isinstance(result, RefusedError)
                failures.append(Failure(accession=name, reason=result.message, network=is_down))
                reporter.record(
                    GenomeFetched(accession=name, organism=organism, reason=result.message)
                )
                num_consecutive = num_consecutive + 1 if is_down else 0
                if num_consecutive >= max(workers, _MIN_CONSECUTIVE):
                    raise _network_down(result)
                continue
            num_consecutive = 0
            genomes.append(FetchedGenome(genome=result.genome, new=result.num_bytes > 0))
            num_bytes += result.num_bytes
            reporter.record(
                GenomeFetched(accession=name, organism=organism, num_bytes=result.num_bytes)
            )
    if not genomes and failures and all(failure.network for failure in failures):
        raise NetworkError(failures[0].reason, hint="run the command again to resume")
    return Batch(
        genomes=tuple(sorted(genomes, key=lambda fetched: fetched.genome.name)),
        num_bytes=num_bytes,
        failures=tuple(sorted(failures, key=lambda failure: failure.accession)),
    )


def _network_down(failure: GenomeformerError) -> NetworkError:
    return NetworkError(
        f"the network is down: {failure.message}", hint="run the command again to resume"
    )
