"""Locks of the cache, with and without `flock` of the file system."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path
from typing import Any

import filelock
import pytest

from genomeformer_cli.core.errors import StoreError
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.locks import hold_lock
from tests.files import names_in, ordinary_rights


@pytest.fixture(params=[None, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of the kernel, or a file system that refuses them with this error."""
    if request.param is None:
        return

    def refuse(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def _add(path: Path, rounds: int) -> None:
    """Add to a number by reading and writing it, which loses rounds without a lock."""
    for _ in range(rounds):
        with hold_lock(path.with_name("lock")):
            path.write_text(str(int(path.read_text()) + 1))


@pytest.mark.usefixtures("flock")
def test_locks_exclude_other_processes(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(number, 3)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert number.read_text() == "9"


@pytest.mark.usefixtures("flock")
def test_a_held_lock_is_waited_for_no_longer_than_the_timeout(tmp_path: Path) -> None:
    store = Store(tmp_path)
    context = multiprocessing.get_context("fork")
    with store.lock(Kind.RUNS, "a"):

        def try_it() -> None:
            with pytest.raises(StoreError, match="in use"), store.lock(Kind.RUNS, "a", timeout=0):
                raise AssertionError("two hold the lock")

        other = context.Process(target=try_it)
        other.start()
        other.join(60)
        assert other.exitcode == 0
    with store.lock(Kind.RUNS, "a", timeout=0):
        pass


@pytest.mark.usefixtures("flock")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def die() -> None:
        with hold_lock(path):
            os._exit(9)

    other = multiprocessing.get_context("fork").Process(target=die)
    other.start()
    other.join(60)
    assert other.exitcode == 9
    with hold_lock(path, timeout=10):
        assert "lock" in names_in(tmp_path)


def test_errors_of_the_body_pass_unchanged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for failure in (OSError(errno.ENOSPC, "full"), filelock.Timeout("x")):
        with pytest.raises(type(failure)) as raised, store.lock(Kind.RUNS, "a"):
            raise failure
        assert raised.value is failure


def test_an_entry_that_exists_is_read_without_a_lock(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "x").write_text("data")

    store = Store(tmp_path / "cache")
    made = store.ensure(Kind.UNPACKED, "a", fill)
    with ordinary_rights(read_only=tmp_path / "cache"):
        assert store.ensure(Kind.UNPACKED, "a", fill) == made
        with pytest.raises(StoreError, match="cannot write to the cache"):
            store.ensure(Kind.UNPACKED, "b", fill)
