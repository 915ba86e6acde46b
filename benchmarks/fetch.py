"""`genomeformer fetch` beside `ncbi-genome-download`, over one loopback server with a slow line.

200 synthetic assemblies of 1 MB, 40 ms a request, one bandwidth for all connections, four jobs
each. Three scenes: all goes well; the client is killed at half and run again; 5 % of the requests
for genomes fail in one of five ways. Then the peak memory of a catalogue of 50,000 assemblies.

    python benchmarks/fetch.py --peer path/to/ncbi-genome-download

The peer lives in an environment of its own (`pip install ncbi-genome-download`); without it the
scenes run with ours alone. Everything is synthetic, made here, and thrown away.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scale import fail_some

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import FakeAssembly, World

LATENCY = 0.040
BANDWIDTH = 16e6
JOBS = "4"


@dataclass(frozen=True, kw_only=True)
class Client:
    """One of the two programs."""

    name: str
    command: tuple[str, ...]
    pattern: str

    def start(self, ncbi: MiniNcbi, home: Path) -> subprocess.Popen[bytes]:
        """Run it against the server, in a process group of its own."""
        places = {"home": str(home), "url": ncbi.url}
        return subprocess.Popen(
            [word.format(**places) for word in self.command],
            env={
                **os.environ,
                "GENOMEFORMER_HOME": str(home),
                "GENOMEFORMER_BASE_URL": ncbi.base_url,
                "GENOMEFORMER_FTP_URL": ncbi.url,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def state(self, ncbi: MiniNcbi, home: Path) -> tuple[int, int]:
        """Right and wrong files under final names."""
        right = {hashlib.md5(a.fasta(), usedforsecurity=False).digest() for a in all_of(ncbi)}
        digests = [
            hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()
            for path in home.glob(self.pattern)
        ]
        good = sum(digest in right for digest in digests)
        return good, len(digests) - good


class Large(FakeAssembly):
    """An assembly whose bytes are made once."""

    def fasta(self) -> bytes:
        """The file's bytes."""
        made = self.__dict__.get("_made")
        if made is None:
            made = self.__dict__["_made"] = super().fasta()
        return bytes(made)


def all_of(ncbi: MiniNcbi) -> list[FakeAssembly]:
    """The assemblies of the server."""
    return ncbi.world.assemblies


def make_assemblies(number: int, length: int) -> World:
    """Assemblies of random bases."""
    draw = np.random.default_rng(1)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    assemblies: list[FakeAssembly] = [
        Large(
            accession=f"GCF_{index:09d}.1",
            taxid=562,
            name=f"SYN{index}",
            records=[("chr1", letters[draw.integers(0, 4, length)].tobytes().decode())],
        )
        for index in range(1, number + 1)
    ]
    return World(assemblies=assemblies, page_size=1000)


def run(client: Client, ncbi: MiniNcbi, home: Path) -> tuple[float, int, int]:
    """Wall time, exit code, bytes of genomes that the server sent."""
    ncbi.log.clear()
    started = time.perf_counter()
    code = client.start(ncbi, home).wait()
    return time.perf_counter() - started, code, sum(asked.sent for asked in ncbi.bodies())


def scene_plain(clients: list[Client], ncbi: MiniNcbi, root: Path, repeats: int) -> None:
    """All goes well."""
    times: dict[str, list[float]] = {client.name: [] for client in clients}
    for repeat in range(repeats):
        for client in clients:
            home = root / f"plain-{client.name}-{repeat}"
            wall, code, _ = run(client, ncbi, home)
            good, wrong = client.state(ncbi, home)
            times[client.name].append(wall)
            print(
                f"plain   {client.name:22} {wall:6.2f} s  exit {code}  right {good} wrong {wrong}"
            )
            shutil.rmtree(home, ignore_errors=True)
    best = {name: min(walls) for name, walls in times.items()}
    if len(best) == 2:
        ours, peer = best.values()
        ratio = f"{ours:.2f} s / {peer:.2f} s = {ours / peer:.2f}"
        print(f"plain   best of {repeats}: ours / peer = {ratio}")


def scene_killed(clients: list[Client], ncbi: MiniNcbi, root: Path) -> None:
    """Killed at half, run again."""
    total = sum(len(a.fasta()) for a in all_of(ncbi))
    for client in clients:
        home = root / f"killed-{client.name}"
        ncbi.log.clear()
        process = client.start(ncbi, home)
        while sum(asked.sent for asked in ncbi.bodies()) < total / 2 and process.poll() is None:
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.5)
        before = sum(asked.sent for asked in ncbi.bodies())
        left_good, left_wrong = client.state(ncbi, home)
        _, code, after = run(client, ncbi, home)
        good, wrong = client.state(ncbi, home)
        extra = (before + after) / total - 1
        print(
            f"killed  {client.name:22} after the kill: right {left_good} wrong {left_wrong};"
            f" then exit {code} right {good} wrong {wrong}; extra bytes {extra:+.2%}"
        )
        shutil.rmtree(home, ignore_errors=True)


def scene_faults(clients: list[Client], ncbi: MiniNcbi, root: Path) -> None:
    """5 % of requests for genomes fail, the same ones for both."""
    for client in clients:
        met = fail_some(ncbi)
        home = root / f"faults-{client.name}"
        _, code, _ = run(client, ncbi, home)
        good, wrong = client.state(ncbi, home)
        ncbi.find_fault = None
        missing = len(all_of(ncbi)) - good - wrong
        print(
            f"faults  {client.name:22} {sum(met.values())} faults met: exit {code}"
            f"  right {good} wrong {wrong} missing {missing}"
        )
        shutil.rmtree(home, ignore_errors=True)


def high_water(process: int) -> int:
    """Peak resident memory of a process so far, in kB; `ru_maxrss` would count its parent's too."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(r.split()[1]) for r in status.splitlines() if r.startswith("VmHWM")), 0)


def scene_catalogue(ours: Client, root: Path, number: int) -> None:
    """Peak memory while listing and choosing from a large catalogue."""
    record = [("chr1", "ACGT" * 25)]
    assemblies = [
        FakeAssembly(
            accession=f"GCF_{n:09d}.1", taxid=562, name=f"SYN{n}", records=record, num_attributes=40
        )
        for n in range(1, number + 1)
    ]
    with MiniNcbi(world=World(assemblies=assemblies, page_size=1000)) as ncbi:
        home = root / "catalogue"
        dry = Client(name="ours", command=(*ours.command, "--dry-run"), pattern="")
        started = time.perf_counter()
        process = dry.start(ncbi, home)
        peak = 0
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            time.sleep(0.02)
        wall = time.perf_counter() - started
        pages = sum("/genome/taxon/" in asked.path for asked in ncbi.log)
    print(
        f"memory  ours: {number} assemblies in {pages} pages, {wall:.1f} s, exit"
        f" {process.returncode}: peak {peak / 1024:.0f} MB"
    )


def main() -> None:
    """Run the scenes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="path of the ncbi-genome-download program")
    parser.add_argument("--number", type=int, default=200, help="assemblies")
    parser.add_argument("--length", type=int, default=1_000_000, help="bases of each")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--catalogue", type=int, default=50_000)
    parser.add_argument("--memory-only", action="store_true")
    options = parser.parse_args()
    ours = Client(
        name="genomeformer",
        command=(
            sys.executable,
            "-m",
            "genomeformer_cli",
            "fetch",
            "--taxon",
            "562",
            "--set",
            f"connection.jobs={JOBS}",
        ),
        pattern="genomes/GC*/*.fna.gz",
    )
    if options.memory_only:
        with tempfile.TemporaryDirectory(prefix="genomeformer-") as folder:
            scene_catalogue(ours, Path(folder), options.catalogue)
        return
    clients = [ours]
    peer = options.peer or shutil.which("ncbi-genome-download")
    if peer:
        arguments = [
            "-s",
            "refseq",
            "-F",
            "fasta",
            "--no-cache",
            "--uri",
            "{url}/genomes",
            "-o",
            "{home}",
        ]
        clients.append(
            Client(
                name="ncbi-genome-download",
                command=(peer, "-p", JOBS, *arguments, "bacteria"),
                pattern="refseq/bacteria/*/*_genomic.fna.gz",
            )
        )
    else:
        print("no peer: give --peer to compare")
    world = make_assemblies(options.number, options.length)
    total = sum(len(assembly.fasta()) for assembly in world.assemblies)
    print(
        f"{options.number} assemblies, {total / 1e6:.1f} MB gzip'd, {LATENCY * 1000:.0f} ms a"
        f" request, {BANDWIDTH / 1e6:.0f} MB/s, {JOBS} jobs; load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as folder:
        root = Path(folder)
        with MiniNcbi(
            world=world, latency=LATENCY, bandwidth=BANDWIDTH, summaries_name_us=True
        ) as ncbi:
            scene_plain(clients, ncbi, root, options.repeats)
            scene_killed(clients, ncbi, root)
            scene_faults(clients, ncbi, root)
        scene_catalogue(ours, root, options.catalogue)


if __name__ == "__main__":
    main()
