"""Speed of `pretrain` in two processes on two cores (gloo), beside one process on one core.

The same run both times, one thread per process: the bases per second between the first step and the
last but one, so that neither start nor validation counts. The losses of every step are compared.

    python benchmarks/scaling.py                    # width 256, 4 blocks: some minutes
    python benchmarks/scaling.py --steps 20 --width 128
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from processes import conditions, markdown

TARGET = 1.7


def main() -> None:
    """Run both, print the table; end with 1 if two are not so much faster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--attention", default="linear")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENOMEFORMER_HOME"] = folder
        prepare(Path(folder), chosen)
        found = [measure(Path(folder), chosen, number) for number in (1, 2)]
    gain = found[1]["bases_per_second"] / found[0]["bases_per_second"]
    apart = max(
        abs(one / two - 1) for one, two in zip(found[0]["loss"], found[1]["loss"], strict=True)
    )
    rows = [
        [str(number), f"{one['bases_per_second']:,.0f}", f"{one['loss'][-1]:.6f}"]
        for number, one in zip((1, 2), found, strict=True)
    ]
    print(markdown(["processes", "bases/s", "training bits, last step"], rows))
    print(f"{gain:.2f} times (wanted: {TARGET}); losses at most {apart:.1e} apart")
    print(conditions())
    sys.exit(0 if gain >= TARGET else 1)


def prepare(home: Path, chosen: argparse.Namespace) -> None:
    """A corpus of two million random bases and the configuration of the run."""
    generator = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[generator.integers(0, 4, 2_000_000)]
    fasta = home / "random.fa"
    fasta.write_bytes(b">r\n" + letters.tobytes() + b"\n")
    for line in (
        f"fetch --file {fasta} --name r",
        "tokenize --genome r --name corpus --split tail",
    ):
        command = [sys.executable, "-m", "genomeformer_cli", *line.split()]
        subprocess.run(command, check=True, capture_output=True)
    (home / "run.toml").write_text(
        f"""
[model]
context = {chosen.length}
width = {chosen.width}
num_heads = {chosen.width // 64}
mlp_width = {chosen.width * 11 // 4}
[training]
steps = {chosen.steps}
batch_size = {chosen.rows}
validate_every = {chosen.steps}
checkpoint_every = {chosen.steps}
validation_windows = 4
[memory]
plan = "full"
[compute]
precision = "fp32"
compile = "off"
""",
        encoding="utf-8",
    )


def measure(home: Path, chosen: argparse.Namespace, processes: int) -> dict[str, Any]:
    """Bases a second after the first step, and the loss of every step."""
    name = f"p{processes}"
    run = ["--corpus", "corpus", "--name", name, "--config", str(home / "run.toml")]
    run += ["--attention", chosen.attention, "--threads", "1"]
    if processes > 1:
        run += ["--gpus", "0", "--set", f"parallel.processes={processes}"]
    else:
        run += ["--device", "cpu"]
    cores = sorted(os.sched_getaffinity(0))[:processes]
    assert len(cores) == processes, "a core a process is needed"
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))]
    command = [*pinned, sys.executable, "-m", "genomeformer_cli", "pretrain", *run]
    subprocess.run(command, check=True, capture_output=True)
    rows = [json.loads(row) for row in (home / "runs" / name / "metrics.jsonl").open()]
    speeds = [json.loads(row) for row in (home / "runs" / name / "throughput.jsonl").open()]
    bases = {row["step"]: row["num_bases"] for row in rows}
    # The last one validated too.
    first, last = speeds[0], [one for one in speeds if one["step"] < chosen.steps][-1]
    trained = sum(bases[step] for step in range(first["step"] + 1, last["step"] + 1))
    seconds = last["seconds"] - first["seconds"]
    return {
        "bases_per_second": trained / seconds,
        "loss": [row["training"]["bits_per_base"] for row in rows],
    }


if __name__ == "__main__":
    main()
