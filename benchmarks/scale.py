"""Cost of many inputs: time and memory per item as their number grows.

Sequences: reads of real genomes through `embed`, `score` and, with `--classifier`, `predict` and
`explain` (gradients as three files, and motifs), an eighth to all of `--most` (`--parts`).
Genomes: files cut from real genomes through `fetch --file` and `tokenize`, then the first step of
`pretrain`. Assemblies: `fetch --taxon` from a small NCBI on the loopback interface that serves one
genome under many accessions and fails 5 % of the requests for files; the largest fetch is also
killed (SIGKILL) at half and run again.

Every command is a process of its own, on one core: CPU seconds and peak memory. A cost that does
not depend on the number is the basis of the extrapolation to a million; start-up is the intercept
of a line through all sizes.

python benchmarks/scale.py sequences --genomes validation.fa.gz
python benchmarks/scale.py genomes --genomes train.fa.gz
python benchmarks/scale.py assemblies --genomes validation.fa.gz --most 10000
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.sequence import decode_bases
from tests.mini_ncbi.faults import Fault
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import FakeAssembly, World

READ, PART = 150, 20_000
FAULTS = (Fault.RESET, Fault.FIN, Fault.HTML, Fault.ERROR_503, Fault.FLIPPED)
# A process that is started by a large one inherits its peak memory; this one is small.
LAUNCHER = """
import json, os, sys
for line in sys.stdin:
    command, environment = json.loads(line)
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, environment, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    print(json.dumps([status, seconds, usage.ru_maxrss / 1024]), flush=True)
"""


def pieces(path: Path, width: int) -> Iterator[str]:
    """Yield consecutive pieces of the records of a file."""
    for query in read_any_sequences(path):
        for start in range(0, len(query.codes) - width + 1, width):
            yield decode_bases(query.codes[start : start + width])


def environment_of(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command: a cache of its own, one thread."""
    return {**os.environ, "GENOMEFORMER_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


def run(home: Path, *arguments: str, **more: str) -> tuple[float, float]:
    """Run a command on one core; return its CPU seconds and its peak memory in MiB."""
    line = [sys.executable, "-m", "genomeformer_cli", *arguments, "--quiet"]
    request = json.dumps([line, environment_of(home, **more)])
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER],
        input=request,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    status, seconds, memory = json.loads(done.stdout)
    if status:
        sys.exit(f"failed: {' '.join(line)[:1000]}")
    return seconds, memory


def report(name: str, counts: list[int], costs: list[tuple[float, float]], most: int) -> None:
    """Print the costs of a command, and the line through them at `most` items."""
    for count, (seconds, memory) in zip(counts, costs, strict=True):
        print(f"{name:<22}{count:>8,}{seconds:>10.1f} CPU s{memory:>9.0f} MiB", flush=True)
    if len(counts) == 1:
        return
    slope, start = np.polyfit(counts, [seconds for seconds, _ in costs], 1)
    growth = (costs[-1][1] - costs[0][1]) * 1024 / (counts[-1] - counts[0])
    hours = (start + slope * most) / 3600
    print(
        f"  start-up {start:.1f} s, {1000 * slope:.2f} ms an item: {hours:.1f} CPU hours for"
        f" {most:,}; memory {growth:+.2f} KiB an item",
        flush=True,
    )


def measure_sequences(chosen: argparse.Namespace, folder: Path) -> None:
    """Measure commands that have a row per sequence."""
    reads = list(islice(pieces(chosen.genomes, chosen.length), chosen.most))
    counts = [len(reads) // part for part in chosen.parts]
    commands = {
        "embed": ["embed", "-o", str(folder / "x.npy")],
        "score": ["score", "-o", str(folder / "x.tsv")],
    }
    if chosen.classifier:
        table = str(folder / "p.tsv")
        commands["predict"] = ["predict", "--model", chosen.classifier, "-o", table]
        explain = ["explain", "--model", chosen.classifier, "--attribution", "grad", "-o", table]
        arrays, track = str(folder / "x.npz"), str(folder / "x.bedgraph")
        commands["explain"] = [*explain, "-o", arrays, "-o", track]
        commands["motifs"] = [*explain, "--motifs"]
    if chosen.only:
        commands = {chosen.only: commands[chosen.only]}
    for name, (command, *options) in commands.items():
        costs = []
        for count in counts:
            path = folder / f"{count}.fa"
            path.write_text("".join(f">r{n}\n{text}\n" for n, text in enumerate(reads[:count])))
            costs.append(run(folder / "home", command, str(path), *options))
        report(name, counts, costs, 1_000_000)


def measure_genomes(chosen: argparse.Namespace, folder: Path) -> None:
    """Measure the way from many genomes to the first step of a run."""
    parts = list(islice(pieces(chosen.genomes, PART), chosen.most))
    counts = [len(parts) // part for part in chosen.parts]
    costs: dict[str, list[tuple[float, float]]] = {"fetch": [], "tokenize": [], "pretrain": []}
    for count in counts:
        home, source = folder / f"home{count}", folder / f"genomes{count}"
        source.mkdir()
        files = []
        for number, text in enumerate(parts[:count]):
            path = source / f"g{number:05}.fa.gz"
            path.write_bytes(gzip.compress(f">g{number}\n{text}\n".encode(), compresslevel=1))
            files += ["--file", str(path)]
        costs["fetch"].append(run(home, "fetch", *files))
        costs["tokenize"].append(run(home, "tokenize", "--all", "--name", "c"))
        train = ["pretrain", "--corpus", "c", "--name", "r", "--steps", "1"]
        costs["pretrain"].append(run(home, *train))
    for name, each in costs.items():
        report(name, counts, each, 10_000)


def world_of(text: str, number: int) -> World:
    """Return a small NCBI that serves one genome under many accessions."""
    content = gzip.compress(f">chr1\n{text}\n".encode(), mtime=0)

    class Copy(FakeAssembly):
        def fasta(self) -> bytes:
            """Return the bytes of the file, made once for all."""
            return content

    copies: list[FakeAssembly] = [
        Copy(
            accession=f"GCF_{index:09d}.1",
            taxid=562,
            name=f"COPY{index}",
            records=[("chr1", text)],
            num_attributes=40,
        )
        for index in range(1, number + 1)
    ]
    return World(assemblies=copies, page_size=1000)


def fail_some(ncbi: MiniNcbi) -> Counter[str]:
    """Let 5 % of the requests for genomes fail; return the counter of faults met."""
    seen: Counter[str] = Counter()
    met: Counter[str] = Counter()

    def find_fault(path: str) -> Fault:
        if not path.endswith("_genomic.fna.gz"):
            return Fault.OK
        seen[path] += 1
        value = hashlib.sha256(f"{path}#{seen[path]}".encode()).digest()
        fault = FAULTS[value[1] % len(FAULTS)] if value[0] < 0.05 * 256 else Fault.OK
        met[fault] += fault is not Fault.OK
        return fault

    ncbi.find_fault = find_fault
    return met


def kill_at_half(ncbi: MiniNcbi, home: Path, number: int, command: list[str]) -> int:
    """Kill a fetch when half of the genomes are in the cache; return the number there."""
    places = {"GENOMEFORMER_BASE_URL": ncbi.base_url, "GENOMEFORMER_FTP_URL": ncbi.url}
    running = subprocess.Popen(
        [sys.executable, "-m", "genomeformer_cli", *command, "--quiet"],
        env=environment_of(home, **places),
        start_new_session=True,
    )
    while running.poll() is None and len(ncbi.bodies()) < number // 2:
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return sum(1 for _ in (home / "genomes").glob("GC*/genome.json"))


def measure_assemblies(chosen: argparse.Namespace, folder: Path) -> None:
    """Measure a fetch of many assemblies, with faults, and after a kill."""
    text = next(pieces(chosen.genomes, 2000))
    counts = [chosen.most // part for part in chosen.parts]
    command = ["fetch", "--taxon", "562", "--set", "connection.jobs=4"]
    costs = []
    for count in counts:
        with MiniNcbi(world=world_of(text, count)) as ncbi:
            places = {"GENOMEFORMER_BASE_URL": ncbi.base_url, "GENOMEFORMER_FTP_URL": ncbi.url}
            met = fail_some(ncbi)
            home = folder / f"fetch{count}"
            costs.append(run(home, *command, **places))
            kept = sum(1 for _ in (home / "genomes").glob("GC*/genome.json"))
            print(
                f"{count:,} assemblies: {kept:,} kept, {sum(met.values())} faults met", flush=True
            )
            if count == counts[-1] and chosen.kill:
                home = folder / "killed"
                ncbi.log.clear()
                before = kill_at_half(ncbi, home, count, command)
                ncbi.log.clear()
                seconds, memory = run(home, *command, **places)
                kept = sum(1 for _ in (home / "genomes").glob("GC*/genome.json"))
                again = len(ncbi.bodies())
                print(
                    f"killed with {before:,} kept; then {again:,} requests for genomes,"
                    f" {seconds:.1f} CPU s, {memory:.0f} MiB, {kept:,} kept"
                )
            shutil.rmtree(folder / f"fetch{count}")
    report("fetch --taxon", counts, costs, 1_000_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sequences", "genomes", "assemblies"))
    parser.add_argument("--genomes", type=Path, required=True)
    parser.add_argument("--most", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=READ, help="bases of a read")
    parser.add_argument("--classifier", help="fine-tuned model for `predict`, `explain`")
    parser.add_argument(
        "--parts", type=int, nargs="+", default=[8, 4, 2, 1], help="divisors of `--most`: the sizes"
    )
    parser.add_argument("--no-kill", dest="kill", action="store_false")
    commands = ("embed", "score", "predict", "explain", "motifs")
    parser.add_argument("--only", choices=commands, help="one command")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        works = {
            "sequences": measure_sequences,
            "genomes": measure_genomes,
            "assemblies": measure_assemblies,
        }
        works[options.what](options, Path(name))
