"""Two processes do not write the same output."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import StoreError, UsageError
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.output_lock import lock_outputs
from tests.files import names_in


class Warnings(SilentReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_the_error_of_a_second_writer_names_the_process_of_the_first(tmp_path: Path) -> None:
    output = tmp_path / "x.npy"
    refused = pytest.raises(StoreError, match=f"`x.npy` is being written by process {os.getpid()}$")
    with lock_outputs(output, reporter=SilentReporter()):
        with refused, lock_outputs(output, reporter=SilentReporter()):
            pass
        with lock_outputs(tmp_path / "y.npy", None, reporter=SilentReporter()):
            assert names_in(tmp_path) == [".x.npy.lock", ".y.npy.lock"]
    assert names_in(tmp_path) == []
    with lock_outputs(output, reporter=SilentReporter()):
        pass


def test_the_lock_of_a_killed_writer_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".x.npy.lock").write_text("1 elsewhere\n")
    (tmp_path / ".x.npy.abcdefgh.tmp").write_bytes(b"half")
    (tmp_path / ".x.npy.json.abcdefgh.tmp").write_bytes(b"of another output")
    with lock_outputs(tmp_path / "x.npy", reporter=SilentReporter()):
        assert names_in(tmp_path) == [".x.npy.json.abcdefgh.tmp", ".x.npy.lock"]
    assert names_in(tmp_path) == [".x.npy.json.abcdefgh.tmp"]


def test_a_lock_of_another_machine_is_named(tmp_path: Path) -> None:
    lock = tmp_path / ".x.npy.lock"
    lock.write_text("77 node12\n")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(StoreError, match="written by process 77 on `node12`"),
            lock_outputs(tmp_path / "x.npy", reporter=SilentReporter()),
        ):
            pass


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with (
        pytest.raises(UsageError, match="two outputs"),
        lock_outputs(path, path, reporter=SilentReporter()),
    ):
        pass


def test_a_folder_covers_what_is_written_into_it(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    with lock_outputs(folder, folder / "bundle.tar.zst", reporter=SilentReporter()):
        assert names_in(tmp_path) == [".bundle.lock"]


def test_a_device_is_refused_before_a_lock_is_made() -> None:
    with (
        pytest.raises(StoreError, match="not an ordinary file"),
        lock_outputs(Path("/dev/full"), reporter=SilentReporter()),
    ):
        pass
    assert not Path("/dev/.full.lock").exists()


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    reporter = Warnings()
    with lock_outputs(tmp_path / "x.npy", reporter=reporter):
        pass
    (warning,) = reporter.warnings
    assert "has no locks" in warning


def _take_turns(folder: Path, rounds: int, results: Any) -> None:
    """Append to a file by reading and writing it whole, which loses lines without a lock."""
    done = 0
    while done < rounds:
        try:
            with lock_outputs(folder / "x", reporter=SilentReporter()):
                number = int((folder / "count").read_text())
                (folder / "count").write_text(str(number + 1))
                done += 1
        except StoreError:
            continue
    results.put(done)


def test_the_lock_is_exclusive_though_its_file_is_removed_every_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_take_turns, args=(tmp_path, 100, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(results.get(timeout=10) for _ in workers) == 400
    assert (tmp_path / "count").read_text() == "400"
    assert names_in(tmp_path) == ["count"]


@pytest.mark.parametrize("spelling", ["{}/x.tsv", "{}/../{}/x.tsv", "{}/soft.tsv", "{}/hard.tsv"])
def test_an_output_never_replaces_an_input(tmp_path: Path, spelling: str) -> None:
    source = tmp_path / "x.tsv"
    source.write_text("data")
    (tmp_path / "soft.tsv").symlink_to(source)
    (tmp_path / "hard.tsv").hardlink_to(source)
    output = tmp_path.parent / spelling.format(tmp_path.name, tmp_path.name)
    inputs = [Path("-"), tmp_path / "absent", source]
    refused = pytest.raises(UsageError, match="is an input, and the output would replace it")
    with refused, lock_outputs(output, reporter=SilentReporter(), inputs=inputs):
        pass
    assert names_in(tmp_path) == ["hard.tsv", "soft.tsv", "x.tsv"]
    with lock_outputs(tmp_path / "y.tsv", reporter=SilentReporter(), inputs=inputs):
        pass
