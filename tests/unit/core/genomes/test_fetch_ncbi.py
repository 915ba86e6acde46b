"""Fetching from the small NCBI: what is chosen, what arrives, what a second run does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genomeformer_cli.core.store.layout import Kind, Store
from tests.mini_ncbi.client import fasta_bytes, fetch_from, leftovers, truth
from tests.mini_ncbi.server import MiniNcbi


@pytest.fixture
def ncbi() -> Iterator[MiniNcbi]:
    with MiniNcbi() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def names(store: Store) -> list[str]:
    return [entry.name for entry in store.entries(Kind.GENOMES)]


def test_taxon_brings_all_descendants_byte_for_byte(ncbi: MiniNcbi, store: Store) -> None:
    result = fetch_from(ncbi, store, taxa=("Escherichia coli",))
    assert not result.failures
    assert names(store) == [
        "GCF_000005845.2",
        "GCF_000008865.2",
        "GCF_900000001.1",
        "GCF_900000002.1",
        "GCF_900000005.2",
        "GCF_900000007.1",
        "GCF_900000008.1",
    ]
    assert fasta_bytes(store) == truth(ncbi, names(store))
    assert leftovers(store.root) == []
