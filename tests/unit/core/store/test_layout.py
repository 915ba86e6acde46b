"""Entries of the cache: names, lists, removal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import (
    CorruptError,
    EntryExistsError,
    NotInCacheError,
    StoreError,
    UsageError,
)
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import SEAL, seal
from tests.files import names_in


@pytest.fixture
def store(cache_home: Path) -> Store:
    return Store(cache_home)


def add(store: Store, kind: Kind, name: str, content: bytes = b"content") -> None:
    with store.create(kind, name) as folder:
        (folder / "file").write_bytes(content)


def test_the_store_uses_the_root_of_the_settings(cache_home: Path) -> None:
    assert Store().root == cache_home


@pytest.mark.parametrize("name", ["a", "NC_000908.2", "gf-char-8m", "0", "a" * 128])
def test_a_name_that_can_be(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-o", "_x", "a/b", "../a", "a b", "é", "a\n", "a" * 129]
)
def test_a_name_that_cannot_be(name: str, store: Store) -> None:
    with pytest.raises(UsageError):
        check_name(name)
    with pytest.raises(UsageError):
        store.path(Kind.GENOMES, name)
    assert not store.has(Kind.GENOMES, name)


def test_entries_are_listed_by_kind_and_name(store: Store) -> None:
    assert store.entries() == []
    for kind, name in ((Kind.CORPORA, "b"), (Kind.GENOMES, "z"), (Kind.GENOMES, "a")):
        add(store, kind, name)
    assert [(e.kind, e.name) for e in store.entries()] == [
        (Kind.GENOMES, "a"),
        (Kind.GENOMES, "z"),
        (Kind.CORPORA, "b"),
    ]
    assert [e.name for e in store.entries(Kind.CORPORA)] == ["b"]


def test_an_entry_is_sealed_and_verifies(store: Store) -> None:
    add(store, Kind.GENOMES, "a", b"12345")
    entry = store.entry(Kind.GENOMES, "a")
    assert store.verify(entry) == 1
    assert entry.num_bytes == 5 + (entry.path / SEAL).stat().st_size
    assert entry.changed <= datetime.now(tz=UTC)
    (entry.path / "file").write_bytes(b"12346")
    with pytest.raises(CorruptError):
        store.verify(entry)


def test_of_a_run_every_sealed_folder_is_verified(store: Store) -> None:
    run = store.path(Kind.RUNS, "r")
    for step in ("one", "two"):
        (run / "checkpoints" / step).mkdir(parents=True)
        (run / "checkpoints" / step / "weights").write_bytes(b"w")
        seal(run / "checkpoints" / step)
    (run / "growing.jsonl").write_bytes(b"{}")
    assert store.verify(store.entry(Kind.RUNS, "r")) == 2
    (run / "checkpoints" / "one" / "weights").write_bytes(b"v")
    with pytest.raises(CorruptError):
        store.verify(store.entry(Kind.RUNS, "r"))


def test_an_entry_is_overwritten_only_on_request(store: Store) -> None:
    add(store, Kind.GENOMES, "a", b"old")
    with pytest.raises(EntryExistsError), store.create(Kind.GENOMES, "a"):
        pytest.fail("the block must not run")
    with store.create(Kind.GENOMES, "a", replace=True) as folder:
        (folder / "file").write_bytes(b"new")
    assert (store.path(Kind.GENOMES, "a") / "file").read_bytes() == b"new"


def test_an_incomplete_entry_is_not_listed(store: Store) -> None:
    def write_half(folder: Path) -> None:
        (folder / "file").write_bytes(b"half")
        assert store.entries() == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.create(Kind.GENOMES, "a") as folder:
        write_half(folder)
    assert names_in(store.root / "genomes") == []


def test_a_missing_entry_is_named_with_the_existing_ones(store: Store) -> None:
    with pytest.raises(NotInCacheError, match="`b`") as caught:
        store.entry(Kind.GENOMES, "b")
    assert "nothing yet" in str(caught.value.hint)
    add(store, Kind.GENOMES, "a")
    with pytest.raises(NotInCacheError) as caught:
        store.entry(Kind.GENOMES, "b")
    assert "`a`" in str(caught.value.hint)


def test_a_bare_name_is_looked_up_in_every_kind(store: Store) -> None:
    add(store, Kind.GENOMES, "a")
    add(store, Kind.CORPORA, "a")
    assert {entry.kind for entry in store.find("a")} == {Kind.GENOMES, Kind.CORPORA}
    assert [entry.kind for entry in store.find("corpora/a")] == [Kind.CORPORA]
    assert store.find("b") == []
    with pytest.raises(NotInCacheError):
        store.find("genomes/b")
    with pytest.raises(UsageError, match="`pictures`"):
        store.find("pictures/a")


def test_removing_leaves_nothing(store: Store) -> None:
    add(store, Kind.GENOMES, "a")
    add(store, Kind.GENOMES, "b")
    store.remove(store.entry(Kind.GENOMES, "a"))
    assert names_in(store.root / "genomes") == ["b"]


def test_a_lock_covers_one_entry_only(store: Store) -> None:
    with store.lock(Kind.GENOMES, "a"):
        with (
            pytest.raises(StoreError, match="`genomes/a` is in use"),
            Store(store.root).lock(Kind.GENOMES, "a", timeout=0),
        ):
            pytest.fail("two hold the lock")
        with store.lock(Kind.GENOMES, "b", timeout=0):
            pass
    with store.lock(Kind.GENOMES, "a", timeout=0):
        pass


def test_a_cache_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StoreError, match="cannot write to the cache") as caught,
        Store(tmp_path / "file").lock(Kind.GENOMES, "a"),
    ):
        pytest.fail("there is no cache")
    assert "GENOMEFORMER_HOME" in str(caught.value.hint)
