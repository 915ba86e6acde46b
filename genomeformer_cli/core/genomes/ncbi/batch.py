"""Bring in many assemblies, a few at once; failures are listed, a dead network is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

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
from genomeformer_cli.core.genomes.ncbi.install import Installed, Installer
from genomeformer_cli.core.genomes.ncbi.query_dir import Failure
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem
from genomeformer_cli.core.genomes.rate_limit import CancelToken
from genomeformer_cli.core.reporting import Reporter, Tracker

_FEWEST_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What came of many orders.

    Attributes:
        genomes: All that are in the cache now, by accession.
        num_bytes: Bytes of what came now.
        failures: What could not be had.
    """

    genomes: tuple[FetchedGenome, ...] = ()
    num_bytes: int = 0
    failures: tuple[Failure, ...] = ()


class FileMeter:
    """A bar for one file, drawn once its size is known."""

    def __init__(self, name: str, reporter: Reporter) -> None:
        self._name = name
        self._reporter = reporter
        self._stack = ExitStack()
        self._tracker: Tracker | None = None
        self._have = 0

    def __enter__(self) -> FileMeter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def begin(self, total: int | None, have: int) -> None:
        """Draw the bar, or set it back."""
        if self._tracker is None:
            bar = self._reporter.track(self._name, total, "bytes")
            self._tracker = self._stack.enter_context(bar)
        self.advance(have - self._have)

    def advance(self, num_bytes: int) -> None:
        """Move the bar."""
        self._have += num_bytes
        if self._tracker is not None:
            self._tracker.advance(num_bytes)


def install_all(
    orders: Sequence[FetchItem],
    installer: Installer,
    *,
    workers: int,
    halt: CancelToken,
    reporter: Reporter,
) -> Batch:
    """Bring in every order, some at once.

    Raises:
        NetworkError: The network is down: nothing comes any more.
        StoreError: The cache cannot be written.
    """
    genomes: list[FetchedGenome] = []
    failures: list[Failure] = []
    num_bytes = in_a_row = 0

    def work(order: FetchItem) -> Installed | GenomeformerError:
        try:
            return installer.install(order)
        except (CorruptError, NotInCacheError) as failure:
            return failure
        except StoreError:
            raise
        except GenomeformerError as failure:
            return failure

    with reporter.track("genomes", len(orders), "genomes") as tracker:
        for order, outcome in run_all(orders, work, jobs=workers, halt=halt):
            name, organism = order.assembly.accession, order.assembly.organism
            tracker.advance(1)
            if isinstance(outcome, GenomeformerError):
                down = isinstance(outcome, NetworkError) and not isinstance(outcome, RefusedError)
                failures.append(Failure(accession=name, reason=outcome.message, network=down))
                reporter.record(
                    GenomeFetched(accession=name, organism=organism, reason=outcome.message)
                )
                in_a_row = in_a_row + 1 if down else 0
                if in_a_row >= max(workers, _FEWEST_IN_A_ROW):
                    raise _down(outcome)
                continue
            in_a_row = 0
            genomes.append(FetchedGenome(genome=outcome.genome, new=outcome.fetched > 0))
            num_bytes += outcome.fetched
            reporter.record(
                GenomeFetched(accession=name, organism=organism, num_bytes=outcome.fetched)
            )
    if not genomes and failures and all(failure.network for failure in failures):
        raise NetworkError(failures[0].reason, hint="run the command again: it goes on")
    return Batch(
        genomes=tuple(sorted(genomes, key=lambda fetched: fetched.genome.name)),
        num_bytes=num_bytes,
        failures=tuple(sorted(failures, key=lambda failure: failure.accession)),
    )


def _down(failure: GenomeformerError) -> NetworkError:
    return NetworkError(
        f"the network is down, nothing comes any more: {failure.message}",
        hint="run the command again: it goes on where it stopped",
    )
