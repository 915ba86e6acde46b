"""Client of the small NCBI for tests: many tries, short waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.workflows.fetch import (
    FetchNcbiRequest,
    FetchResult,
    fetch_ncbi,
)
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import FakeAssembly

# Genomes of Escherichia coli.
COLI = [
    "GCF_000005845.2",
    "GCF_000008865.2",
    "GCF_900000001.1",
    "GCF_900000002.1",
    "GCF_900000005.2",
    "GCF_900000007.1",
    "GCF_900000008.1",
]


def request_to(ncbi: MiniNcbi, **options: Any) -> FetchNcbiRequest:
    """A request to the small NCBI."""
    quick = FetchNcbiRequest(
        base_url=ncbi.base_url,
        ftp_url=ncbi.url,
        rate=2000.0,
        retries=12,
        timeout=0.6,
        backoff=0.005,
    )
    return replace(quick, **options)


def fetch_from(
    ncbi: MiniNcbi, store: Store, *, reporter: Reporter | None = None, **options: Any
) -> FetchResult:
    """Fetch from the small NCBI into a store."""
    return fetch_ncbi(
        request_to(ncbi, **options), reporter=reporter or SilentReporter(), store=store
    )


def fasta_bytes(store: Store) -> dict[str, bytes]:
    """The FASTA of every genome in a store, by name."""
    found = {}
    for entry in store.entries(Kind.GENOMES):
        (path,) = entry.path.glob("*.fna.gz")
        found[entry.name] = path.read_bytes()
        store.verify(entry)
    return found


def truth(ncbi: MiniNcbi, names: list[str]) -> dict[str, bytes]:
    """Return the planned response of the server."""
    found = {}
    for name in names:
        assembly = ncbi.world.assembly(name)
        assert assembly is not None
        found[name] = assembly.fasta()
    return found


def leftovers(root: Path) -> list[str]:
    """Parts and temporary folders that a finished fetch should not leave."""
    patterns = ("downloads/*", "genomes/.*")
    return sorted(path.name for pattern in patterns for path in root.glob(pattern))


def names(result: FetchResult) -> list[str]:
    return [fetched.genome.name for fetched in result.genomes]


def assembly(ncbi: MiniNcbi, accession: str) -> FakeAssembly:
    found = ncbi.world.assembly(accession)
    assert found is not None
    return found
