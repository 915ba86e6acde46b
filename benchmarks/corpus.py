"""The whole `tokenize` command beside `gzip -dc FILE > /dev/null`, in turns, and its peak memory.

python benchmarks/corpus.py genomes.fa.gz [--tokenizer kmer --k 6]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TURNS = 5


def run(command: list[str], home: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB of a command."""
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GENOMEFORMER_HOME": str(home)},
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{command} failed")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Take turns, print medians."""
    file = sys.argv[1]
    tokenize = [sys.executable, "-m", "genomeformer_cli", "tokenize", file, "--name", "c"]
    tokenize += sys.argv[2:]
    floors, ours = [], []
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as folder:
            floors.append(run(["gzip", "-dc", file], Path(folder)))
            ours.append(run(tokenize, Path(folder)))
    floor, own = (
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in (floors, ours)
    )
    print(f"gzip -dc   {floor[0]:.2f} s wall  {floor[1]:.2f} s CPU")
    print(f"tokenize   {own[0]:.2f} s wall  {own[1]:.2f} s CPU  peak {own[2]:.0f} MB")
    print(f"ratio      {own[0] / floor[0]:.2f} wall  {own[1] / floor[1]:.2f} CPU")
    print(f"load       {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
