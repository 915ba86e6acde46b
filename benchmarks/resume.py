"""Is an interrupted run the uninterrupted one, bit for bit? Killed (SIGKILL) at ten random points.

Trains one run to its end, and the same run again and again under another name, killed each time
after a random while; then compares metrics, weights, optimizer and average, byte by byte. Every
dial is on: packed contigs, growing windows, accumulated gradients, Muon, EMA, spike guard, redrawn
features.

    python benchmarks/resume.py              # some minutes on one core
    python benchmarks/resume.py --kills 3 --steps 60
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COMPARED = ("model.safetensors", "optimizer.safetensors", "ema.safetensors")
DIALS = """
--attention performer --context 64:256 --batch-size 2
--set training.tokens_per_step=1024 --set training.optimizer=muon --set training.ema=0.99
--set training.spike_factor=1.2 --set training.redraw_every=7 --set masking.span=2
--set training.both_strands=true --set training.validate_every=20
--device cpu --threads 1
"""


EVERY = 5
SMALL = """
[model]
width = 32
depth = 2
num_heads = 2
mlp_width = 64
[training]
validation_windows = 8
"""


def main() -> None:
    """Train, kill, go on, compare; end with 1 if a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENOMEFORMER_HOME"] = folder
        make_corpus(Path(folder))
        call(pretrain("whole", chosen.steps)).wait()
        kills = kill(chosen)
        same = compare(Path(folder) / "runs", chosen.steps)
    print(f"{kills} kills, {chosen.steps} steps: {'the same bytes' if same else 'DIFFERENT'}")
    sys.exit(0 if same and kills else 1)


def make_corpus(folder: Path) -> None:
    """Contigs of 30 to 400 bases, most of them shorter than a row."""
    generator = np.random.default_rng(0)
    fasta = folder / "contigs.fa"
    with fasta.open("w", encoding="ascii") as file:
        for number, size in enumerate(generator.integers(30, 400, 300)):
            letters = "".join("ACGT"[code] for code in generator.integers(0, 4, size))
            file.write(f">c{number}\n{letters}\n")
    for line in (f"fetch --file {fasta} --name contigs", "tokenize --genome contigs --name corpus"):
        if call(line.split()).wait():
            sys.exit(f"failed: {line}")


def pretrain(name: str, steps: int) -> list[str]:
    """The command of a run."""
    config = Path(os.environ["GENOMEFORMER_HOME"]) / "small.toml"
    config.write_text(SMALL, encoding="utf-8")
    run = ["--corpus", "corpus", "--name", name, "--steps", str(steps), "--config", str(config)]
    return ["pretrain", *run, "--set", f"training.checkpoint_every={EVERY}", *DIALS.split()]


def call(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start the program."""
    command = [sys.executable, "-m", "genomeformer_cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(chosen: argparse.Namespace) -> int:
    """Start the run, kill it at random steps, as often as asked; then let it end."""
    generator = np.random.default_rng(chosen.seed)
    saved = np.arange(0, chosen.steps, EVERY)
    points = np.sort(generator.choice(saved, chosen.kills, replace=False))
    arguments = pretrain("killed", chosen.steps)
    kills = 0
    for point in points:
        process = call(arguments)
        while process.poll() is None and newest() < point:
            time.sleep(0.005)
        # From there to some steps further, in the midst of a checkpoint or of a step.
        time.sleep(float(generator.uniform(0, 0.4)))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        print(f"kill {kills}: the newest checkpoint is after step {newest()}", flush=True)
    call(arguments).wait()
    return kills


def newest() -> int:
    """Steps that the newest checkpoint of the killed run has seen."""
    folder = Path(os.environ["GENOMEFORMER_HOME"]) / "runs" / "killed" / "checkpoints"
    return max((int(path.name.partition("-")[2]) for path in folder.glob("step-*")), default=0)


def compare(runs: Path, steps: int) -> bool:
    """Return True if metrics and last checkpoint are equal to the byte."""
    last = Path("checkpoints") / f"step-{steps:08d}"
    same = True
    for name in (Path("metrics.jsonl"), *(last / one for one in COMPARED)):
        whole, killed = (runs / run / name for run in ("whole", "killed"))
        alike = whole.read_bytes() == killed.read_bytes()
        print(f"{name}: {'same' if alike else 'DIFFERENT'} ({whole.stat().st_size:,} bytes)")
        same = same and alike
    return same


if __name__ == "__main__":
    main()
