"""Cost of many inputs: time and memory per item as their number grows.

Sequences: reads of real genomes through `embed`, `score` and, with `--classifier`, `predict`, 2,500
to 20,000 of them. Genomes: files cut from real genomes through `fetch --file` and `tokenize`, then
the first step of `pretrain`, 100 to 1,000 of them. Every command is a process of its own, on one
core: CPU seconds and peak memory. A cost that does not depend on the number is the basis of the
extrapolation to a million; start-up is the intercept of a line through all sizes.

python benchmarks/scale.py sequences --genomes validation.fa.gz
python benchmarks/scale.py genomes --genomes train.fa.gz
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.sequence import decode_bases

READ, PART = 150, 20_000


def pieces(path: Path, width: int) -> Iterator[str]:
    """Yield consecutive pieces of the records of a file."""
    for query in read_any_sequences(path):
        for start in range(0, len(query.codes) - width + 1, width):
            yield decode_bases(query.codes[start : start + width])


def run(home: Path, *arguments: str) -> tuple[float, float]:
    """Run a command on one core; return its CPU seconds and its peak memory in MiB."""
    environment = os.environ | {"GENOMEFORMER_HOME": str(home), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "genomeformer_cli", *arguments, "--quiet"]
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(sys.executable, line, environment, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"failed: {' '.join(line)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(name: str, counts: list[int], costs: list[tuple[float, float]], most: int) -> None:
    """Print the costs of a command, and the line through them at `most` items."""
    for count, (seconds, memory) in zip(counts, costs, strict=True):
        print(f"{name:<22}{count:>8,}{seconds:>10.1f} CPU s{memory:>9.0f} MiB", flush=True)
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
    reads = [
        text for _, text in zip(range(chosen.most), pieces(chosen.genomes, READ), strict=False)
    ]
    counts = [len(reads) // part for part in (8, 4, 2, 1)]
    commands = {
        "embed": ["embed", "-o", str(folder / "x.npy")],
        "score": ["score", "-o", str(folder / "x.tsv")],
    }
    if chosen.classifier:
        table = str(folder / "p.tsv")
        commands["predict"] = ["predict", "--model", chosen.classifier, "-o", table]
    for name, (command, *options) in commands.items():
        costs = []
        for count in counts:
            path = folder / f"{count}.fa"
            path.write_text("".join(f">r{n}\n{text}\n" for n, text in enumerate(reads[:count])))
            costs.append(run(folder / "home", command, str(path), *options))
        report(name, counts, costs, 1_000_000)


def measure_genomes(chosen: argparse.Namespace, folder: Path) -> None:
    """Measure the way from many genomes to the first step of a run."""
    parts = [
        text for _, text in zip(range(chosen.most), pieces(chosen.genomes, PART), strict=False)
    ]
    counts = [len(parts) // part for part in (8, 4, 2, 1)]
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sequences", "genomes"))
    parser.add_argument("--genomes", type=Path, required=True)
    parser.add_argument("--most", type=int, default=20_000)
    parser.add_argument("--classifier", help="fine-tuned model for `predict`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = measure_sequences if options.what == "sequences" else measure_genomes
        work(options, Path(name))
