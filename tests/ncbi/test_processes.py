"""Processes that are killed, interrupted, or want the same thing at the same time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from genomeformer_cli.core.store.layout import Store
from tests.mini_ncbi.client import fasta_bytes, leftovers, truth
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import World, make_world

BIG = ("GCF_000005845.2", "GCF_000008865.2", "GCF_900000008.1", "GCF_900000005.2")


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(smallest=600_000, largest=700_000, only=BIG)


@pytest.fixture
def ncbi(world: World) -> Iterator[MiniNcbi]:
    with MiniNcbi(world=world) as server:
        yield server


def start(ncbi: MiniNcbi, home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = ("fetch", "--taxon", "562", "--set", "connection.rate=500", "--json", *arguments)
    return subprocess.Popen(
        [sys.executable, "-m", "genomeformer_cli", *command],
        env={
            **os.environ,
            "GENOMEFORMER_HOME": str(home),
            "GENOMEFORMER_BASE_URL": ncbi.base_url,
            "GENOMEFORMER_FTP_URL": ncbi.url,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell ignores SIGINT, and what it starts would too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def parts(home: Path) -> dict[str, int]:
    """Bytes of each part, by the file's name."""
    found = (home / "downloads").glob("*.part")
    return {path.name.removesuffix(".part"): path.stat().st_size for path in found}


def wait_for_bodies(ncbi: MiniNcbi, num_bytes: int) -> None:
    deadline = time.monotonic() + 60
    while sum(asked.sent for asked in ncbi.bodies()) < num_bytes:
        assert time.monotonic() < deadline, "the client never came"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))]
)
def test_killed_at_random_points_it_loses_nothing(
    ncbi: MiniNcbi, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    sizes = {a.fasta_path: len(a.fasta()) for a in ncbi.world.assemblies}
    total = sum(sizes.values())
    ncbi.bandwidth = total / 3.0
    for _ in range(3):
        before = parts(tmp_path)
        ncbi.log.clear()
        process = start(ncbi, tmp_path)
        wait_for_bodies(ncbi, draw.randrange(1, total // 3))
        process.kill()
        finish(process)
        check_resumed(ncbi, before)
        got = fasta_bytes(Store(tmp_path))
        assert got == truth(ncbi, list(got)), "a final name holds a right file or does not exist"
    before, ncbi.bandwidth = parts(tmp_path), None
    ncbi.log.clear()
    code, _, err = finish(start(ncbi, tmp_path))
    assert code == 0, err
    check_resumed(ncbi, before)
    assert fasta_bytes(Store(tmp_path)) == truth(ncbi, list(BIG))
    assert leftovers(tmp_path) == []


def check_resumed(ncbi: MiniNcbi, before: dict[str, int]) -> None:
    """Check that files on disk are not requested again."""
    for asked in ncbi.bodies():
        have = before.get(asked.path.rsplit("/", 1)[1], 0)
        offset = int(asked.headers.get("range", "bytes=0-")[6:-1])
        assert offset >= have


def test_an_interrupted_fetch_keeps_its_parts(ncbi: MiniNcbi, tmp_path: Path) -> None:
    total = sum(len(a.fasta()) for a in ncbi.world.assemblies)
    ncbi.bandwidth = total / 4.0
    process = start(ncbi, tmp_path)
    wait_for_bodies(ncbi, total // 3)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130, err
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert out == b""
    assert sum(parts(tmp_path).values()) + sum(map(len, fasta_bytes(Store(tmp_path)).values()))
    ncbi.bandwidth = None
    assert finish(start(ncbi, tmp_path))[0] == 0
    assert fasta_bytes(Store(tmp_path)) == truth(ncbi, list(BIG))


def test_two_processes_fetch_each_file_once(ncbi: MiniNcbi, tmp_path: Path) -> None:
    ncbi.latency = 0.05
    results = [finish(process) for process in [start(ncbi, tmp_path) for _ in range(2)]]
    assert [code for code, _, _ in results] == [0, 0], results
    asked = Counter(one.path for one in ncbi.bodies())
    assert asked == dict.fromkeys((a.fasta_path for a in ncbi.world.assemblies), 1)
    assert sum(asked.sent for asked in ncbi.bodies()) == sum(
        len(a.fasta()) for a in ncbi.world.assemblies
    )
    new = [[row["new"] for row in json.loads(out)["genomes"]] for _, out, _ in results]
    assert [sum(pair) for pair in zip(*new, strict=True)] == [1, 1, 1, 1]
    assert fasta_bytes(Store(tmp_path)) == truth(ncbi, list(BIG))
    assert leftovers(tmp_path) == []
