"""Scan of a genome by `predict --tile`: memory against length, CPU time per Mb, and a plain loop.

Synthetic genomes of seeded bases and a model of random weights: what is measured does not depend on
them. The plain loop cuts the windows of the shortest genome and predicts each by itself. With
`--default` the model is the default with a random head. Each `--contexts` is a scan in which tiles
share stretches of that many bases.

python benchmarks/scan.py                      # a minute: 50, 100 and 200 kbp
python benchmarks/scan.py --lengths 1e6 5e6    # the whole claim
python benchmarks/scan.py --default --contexts 1024 2048 4096 --lengths 30e3
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned, write_finetuned
from genomeformer_cli.core.finetuning.head import attach_head
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer

# Peak memory and CPU time of the child alone.
CHILD = """
import re, sys, time
from genomeformer_cli.app import main
try:
    main()
finally:
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    sys.stderr.write(f"\\n{peak} {time.process_time()}\\n")
"""


def save_model(folder: Path, width: int, depth: int) -> Path:
    """Write a fine-tuned model of random weights, with two classes."""
    config = ModelConfig(
        context=512,
        width=width,
        depth=depth,
        num_heads=4,
        mlp_width=2 * width,
        attention=AttentionConfig(name="softmax"),
    )
    model = build_model(config)
    attach_and_save(model, folder)
    return folder


def attach_and_save(model: Model, folder: Path) -> None:
    """Write a model with a random head."""
    space = LabelSpace(kind=TaskKind.CLASSIFICATION, names=("0", "1"))
    task = SavedTask(name="scan", targets=space, pool="mean", window=512, longest=200)
    attach_head(model, task.build_head(model))
    folder.mkdir()
    write_finetuned(
        LoadedModel(model=model, tokenizer=CharTokenizer(), folder=folder), task, folder
    )
    seal(folder)


def load_default() -> Model:
    """Return the default model."""
    folder = model_folder(DEFAULT_MODEL, store=Store(), reporter=SilentReporter())
    return read_model(folder).model


def write_genome(path: Path, length: int) -> bytes:
    """Write a record of seeded bases."""
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), length).tobytes()
    path.write_bytes(b">genome\n" + letters + b"\n")
    return letters


def scan(
    genome: Path, model: Path, tile: int, step: int, context: int | None = None
) -> tuple[float, float]:
    """Return the peak memory in MiB and the CPU seconds of a scan."""
    options = ["--tile", str(tile), "--step", str(step), "--workers", "1", "--device", "cpu"]
    if context is not None:
        options += ["--set", f"regions.context={context}"]
    line = ["predict", str(genome), "--model", str(model), *options]
    output = ["-o", str(genome.with_suffix(".bedgraph"))]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *line, *output], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    peak, seconds = done.stderr.split("\n")[-2].split()
    return float(peak), float(seconds)


def plain_loop(letters: bytes, model: Path, tile: int, step: int) -> float:
    """Return the CPU seconds of cutting the windows and predicting each by itself."""
    torch.set_num_threads(1)
    loaded, task = read_finetuned(model)
    predictor = task.predictor(loaded.model, loaded.tokenizer, 16_384)
    codes = encode_bases(letters)
    start = time.process_time()
    for first in range(0, codes.size - tile + 1, step):
        predictor.predict([codes[first : first + tile]])
    return time.process_time() - start


def main() -> None:
    """Print a table: length, peak, CPU seconds, CPU seconds per Mb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=float, nargs="+", default=[50e3, 100e3, 200e3])
    parser.add_argument("--tile", type=int, default=200)
    parser.add_argument("--step", type=int, default=50)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--default", action="store_true", help="the default model")
    parser.add_argument("--contexts", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    tile, step = arguments.tile, arguments.step
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        if arguments.default:
            attach_and_save(load_default(), model)
        else:
            save_model(model, arguments.width, arguments.depth)
        print("bases\tpeak_MiB\tcpu_s\tcpu_s_per_Mb")
        empty = Path(folder) / "short.fa"
        write_genome(empty, tile)
        _, start = scan(empty, model, tile, step)
        for length in map(int, arguments.lengths):
            genome = Path(folder) / f"{length}.fa"
            write_genome(genome, length)
            for context in (None, *arguments.contexts):
                peak, seconds = scan(genome, model, tile, step, context)
                name = f"{length}" if context is None else f"{length}, context {context}"
                per_mb = (seconds - start) / length * 1e6
                print(f"{name}\t{peak:.0f}\t{seconds:.1f}\t{per_mb:.1f}", flush=True)
        length = min(int(min(arguments.lengths)), 50_000)
        seconds = plain_loop(write_genome(empty, length), model, tile, step)
        print(f"plain loop, {length}\t-\t{seconds:.1f}\t{seconds / length * 1e6:.1f}")


if __name__ == "__main__":
    main()
