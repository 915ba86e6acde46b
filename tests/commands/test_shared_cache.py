"""One cache that many processes read, and that they may not be allowed to write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.model_io.archive import pack
from genomeformer_cli.core.store.layout import Kind, Store
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.files import everything_in, ordinary_rights
from tests.models import CORPUS, RELEASED, RUN

GENOME = "NC_001422.1"


@pytest.fixture
def archive(trained: Path, tmp_path: Path) -> str:
    """The released model as a file, not yet unpacked in the cache."""
    path = tmp_path / "model.tar.gz"
    pack(Store().path(Kind.WEIGHTS, RELEASED), RELEASED, path)
    return str(path)


def reading_commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return commands that read genomes, corpora and models of the cache, and write elsewhere."""
    out = str(folder / "x.npy")
    return {
        "embed": ("embed", "--genome", GENOME, "--tile", "500", "--model", RUN, "-o", out),
        "score": ("score", GENOME, "--model", RELEASED),
        "evaluate": ("evaluate", RUN, "-o", str(folder / "report"), "--json"),
        "tokenize": ("tokenize", "--stats", "--name", CORPUS, "--plot", str(folder / "x.png")),
        "cache": ("cache", "verify"),
        "release": ("release", "--verify", str(Store().path(Kind.WEIGHTS, RELEASED))),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("embed", "score", "tokenize", "cache", "release"),
        pytest.param("evaluate", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("one_process")
def test_a_read_only_cache_is_read(
    name: str, trained: Path, run_cli: RunCommand, tmp_path: Path
) -> None:
    """The trained cache comes without `locks` and without what remembers verified files."""
    before = everything_in(trained)
    with ordinary_rights(read_only=trained):
        done = run_cli(*reading_commands(tmp_path)[name])
    assert done.exit_code == 0, done.err
    assert everything_in(trained) == before


def test_an_archive_needs_a_cache_that_holds_it_already(
    archive: str, trained: Path, run_cli: RunCommand
) -> None:
    command = ("score", "-", "--model", archive)
    with ordinary_rights(read_only=trained):
        refused = run_cli(*command, stdin=b">a\nACGT\n")
    assert_failure(refused, "cannot write to the cache", hint="GENOMEFORMER_HOME", exit_code=1)
    first = run_cli(*command, stdin=b">a\nACGT\n")
    with ordinary_rights(read_only=trained):
        second = run_cli(*command, stdin=b">a\nACGT\n")
    assert (first.exit_code, first.stdout) == (0, second.stdout), second.err


@pytest.mark.parametrize(
    "command",
    [
        ("tokenize", "--genome", GENOME, "--name", "other"),
        ("pretrain", "--corpus", CORPUS, "--name", "other", "--steps", "1"),
        ("fetch", "--sample"),
        ("cache", "rm", RUN),
        ("release", RUN, "--name", "other"),
    ],
    ids=lambda command: command[0],
)
def test_commands_that_write_say_that_the_cache_is_read_only(
    command: tuple[str, ...], trained: Path, run_cli: RunCommand
) -> None:
    with ordinary_rights(read_only=trained):
        done = run_cli(*command)
    assert_failure(done, "cannot write", hint="GENOMEFORMER_HOME", exit_code=1)


@pytest.mark.slow
def test_many_processes_read_while_one_writes(trained: Path, archive: str, tmp_path: Path) -> None:
    """Readers start together, also on the archive that the first of them unpacks."""
    arguments = ["embed", "--genome", GENOME, "--tile", "500", "--model"]
    readers = [
        (tmp_path / f"{number}.npy", archive if number % 2 else RELEASED) for number in range(6)
    ]
    command = [sys.executable, "-m", "genomeformer_cli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([*command, *arguments, model, "-o", str(path)], env=environment)
        for path, model in readers
    ]
    writer = [*command, "tokenize", "--genome", GENOME, "--name"]
    for number in range(3):
        subprocess.run([*writer, f"c{number}"], env=environment, check=True)
        subprocess.run([*command, "cache", "rm", f"corpora/c{number}"], check=True)
    assert [process.wait() for process in running] == [0] * len(readers)
    first, *rest = (np.load(path) for path, _ in readers)
    for array in rest:
        np.testing.assert_array_equal(array, first)
    unpacked = [entry for entry in Store().entries(Kind.UNPACKED) if entry.path.is_dir()]
    assert len(unpacked) == 1
