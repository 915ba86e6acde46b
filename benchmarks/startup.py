"""CPU and wall seconds of starting: help texts and the first vector, beside what they import.

Each command runs in fresh processes with compiled bytecode, as after `pip install`, on one thread;
the least of several runs counts.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEQUENCE = ">a\n" + "ACGTTGCA" * 32 + "\n"


def measure(command: list[str], runs: int, cache: Path) -> tuple[float, float]:
    """Return the least CPU and wall seconds of a command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(runs + 1):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds.append((used, wall))
    seconds = seconds[1:]  # the first run compiles
    return min(used for used, _ in seconds), min(wall for _, wall in seconds)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    chosen = parser.parse_args()
    program = [sys.executable, "-m", "genomeformer_cli"]
    with tempfile.TemporaryDirectory() as scratch:
        sequences = Path(scratch, "one.fa")
        sequences.write_text(SEQUENCE)
        commands = {
            "import typer, rich.console": [sys.executable, "-c", "import typer, rich.console"],
            "genomeformer --help": [*program, "--help"],
            "genomeformer embed --help": [*program, "embed", "--help"],
            "import torch": [sys.executable, "-c", "import torch"],
            "import torch, no collection": [
                *(sys.executable, "-c"),
                "import gc; gc.disable(); import torch",
            ],
            "genomeformer embed one.fa": [*program, "embed", str(sequences)],
        }
        print("| command | CPU s | wall s |\n|---|---:|---:|")
        for name, command in commands.items():
            used, wall = measure(command, chosen.runs, Path(scratch, "bytecode"))
            print(f"| `{name}` | {used:.3f} | {wall:.2f} |", flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
