"""Vectors of the default model on one and on several cores, beside loops that users write.

Reads, promoters, genes, contigs and a chromosome are embedded by `Embedder` in float32 and in int8,
by a loop over padded batches in input order and by one over batches sorted by length, on torch's
own threads, and by ONNX Runtime on the export, in float32 and with its dynamic quantization. All
use the same weights, windows and layers. Each cell runs in a process of its own; its vectors are
compared with those of the float32 `Embedder`.

python benchmarks/inference.py --output inference.md   # some 7 minutes on two idle cores
python benchmarks/inference.py --seconds 2 --cores 1 --kinds reads
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genomeformer_cli.api import load
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.features import combine_layers
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.release.onnx_export import INPUT, export_onnx
from genomeformer_cli.core.settings import usable_cores

# Shortest and longest sequence of each kind; a chromosome is one sequence.
KINDS = {
    "reads": (100, 150),
    "promoters": (81, 81),
    "genes": (300, 1_700),
    "contigs": (15_000, 25_000),
    "chromosome": (0, 0),
}
METHODS = (
    "genomeformer fp32",
    "genomeformer int8",
    "sorted batches",
    "padded batches",
    "ONNX Runtime fp32",
    "ONNX Runtime int8",
)
PEER_BATCH = 32
# Bases per CPU second, for the size of the inputs.
EXPECTED_SPEED = 22_000
MOST_DIFFERENCE = 1e-3
LEAST_COSINE = 0.9995

Codes = list[np.ndarray]
Features = Callable[[np.ndarray], np.ndarray]


def draw(kind: str, num_bases: int) -> Codes:
    """Draw random sequences of a kind; a tenth of the reads are trimmed."""
    rng = np.random.default_rng(0)
    if kind == "chromosome":
        return [rng.integers(0, 4, num_bases).astype(np.uint8)]
    shortest, longest = KINDS[kind]
    mean = (shortest + longest) / 2
    lengths = rng.integers(shortest, longest + 1, max(2, int(num_bases / mean)))
    if kind == "reads":
        lengths[rng.random(lengths.size) < 0.9] = longest
    return [rng.integers(0, 4, length).astype(np.uint8) for length in lengths]


def loop(features: Features, embedder: Embedder, sequences: Codes, order: str) -> np.ndarray:
    """Embed windows in batches of a fixed number, padded to the longest; mean per sequence."""
    tokenizer = embedder.loaded.tokenizer
    ids = [tokenizer.encode(codes).astype(np.int64) for codes in sequences]
    windows = cut_windows([row.size for row in ids], embedder.window)
    ordered = np.arange(len(windows))
    if order == "sorted":
        ordered = np.argsort(-windows.length, kind="stable")
    sums = np.zeros((len(sequences), embedder.width))
    for first in range(0, ordered.size, PEER_BATCH):
        batch = ordered[first : first + PEER_BATCH]
        tokens_BL = np.full((batch.size, int(windows.length[batch].max())), tokenizer.pad_id)
        for row, window in enumerate(batch):
            start, length = windows.start[window], windows.length[window]
            tokens_BL[row, :length] = ids[windows.row[window]][start : start + length]
        features_BLE = features(tokens_BL) * (tokens_BL != tokenizer.pad_id)[..., None]
        np.add.at(sums, windows.row[batch], features_BLE.sum(axis=1))
    means: np.ndarray = sums / np.array([row.size for row in ids])[:, None]
    return means


def torch_features(embedder: Embedder, tokens_BL: np.ndarray) -> np.ndarray:
    """Return the features of a padded batch, as torch computes them on all of its threads."""
    model = embedder.loaded.model
    inputs_BL = torch.from_numpy(tokens_BL)
    with torch.inference_mode():
        mask_BL = padding_mask(inputs_BL, embedder.loaded.tokenizer.pad_id)
        layers = model.hidden_layers(inputs_BL, mask_BL, embedder.layers)
        return combine_layers(layers, mean=embedder.options.layers == "mean").numpy()


def session_features(path: Path, cores: int) -> Features:
    """Return a function of padded batches that ONNX Runtime computes."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return lambda tokens_BL: np.asarray(session.run(["features"], {INPUT: tokens_BL})[0])


def work_of(method: str, cores: int, folder: Path) -> Callable[[Codes], np.ndarray]:
    """Return the function of a method: vectors of sequences."""
    loaded = load(device="cpu").loaded
    torch.set_num_threads(cores)
    embedder = Embedder(loaded, EmbedOptions())
    if method.startswith("genomeformer"):
        if method.endswith("int8"):
            convert_linear_layers(loaded.model, "int8")
        return embedder.embed
    if method.startswith("ONNX"):
        features = session_features(folder / f"{method.split()[-1]}.onnx", cores)
        return lambda sequences: loop(features, embedder, sequences, "sorted")
    order = method.split()[0]
    return lambda sequences: loop(partial(torch_features, embedder), embedder, sequences, order)


def run_cell(chosen: argparse.Namespace) -> None:
    """Measure one cell and print it as JSON."""
    kind, method = chosen.cell
    (cores,) = chosen.cores
    work = work_of(method, cores, chosen.folder)
    sequences = draw(kind, int(chosen.seconds * EXPECTED_SPEED))
    work(draw("promoters", 10_000))
    wall, cpu = time.perf_counter(), time.process_time()
    vectors = work(sequences)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(chosen.folder / "vectors.npy", vectors)
    # The peak of `getrusage` is that of the parent where it is larger.
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    peak = int(status.split()[0]) / 1024
    num_bases = sum(codes.size for codes in sequences)
    cell = {"wall": wall, "cpu": cpu, "peak": peak, "bases": num_bases, "rows": len(sequences)}
    print(json.dumps(cell))


def write_graphs(folder: Path) -> None:
    """Export the model to ONNX, and quantize a copy."""
    quantization = importlib.import_module("onnxruntime.quantization")
    exact, rounded = folder / "fp32.onnx", folder / "int8.onnx"
    export_onnx(load(device="cpu").loaded, exact)
    int8 = quantization.QuantType.QInt8
    quantization.quantize_dynamic(exact, rounded, weight_type=int8, per_channel=True)


def measure(kind: str, method: str, cores: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run a cell in a fresh process; return its numbers and its vectors."""
    options = ["--cores", str(cores), "--seconds", str(chosen.seconds)]
    command = [sys.executable, "-W", "ignore", __file__, "--cell", kind, method, *options]
    done = subprocess.run(
        [*command, "--folder", str(chosen.folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    cell: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**cell, "vectors": np.load(chosen.folder / "vectors.npy").astype(float)}


def compare(exact_NE: np.ndarray, vectors_NE: np.ndarray) -> tuple[float, float]:
    """Return the largest difference of two tables of vectors and their mean cosine."""
    norms = [np.linalg.norm(rows_NE, axis=1) for rows_NE in (exact_NE, vectors_NE)]
    cosines_N = (exact_NE * vectors_NE).sum(axis=1) / norms[0] / norms[1]
    return float(np.abs(exact_NE - vectors_NE).max()), float(cosines_N.mean())


def table(chosen: argparse.Namespace) -> list[str]:
    """Measure all cells; print and return the lines of the table."""
    lines: list[str] = []

    def put(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    put(
        "| input | cores | method | sequences/s | bases/s | CPU µs per base | peak MiB | cosine |\n"
        "|---|---:|---|---:|---:|---:|---:|---:|"
    )
    for kind in chosen.kinds:
        exact_NE: np.ndarray | None = None
        for cores in dict.fromkeys(chosen.cores):
            for method in chosen.methods:
                cell = measure(kind, method, cores, chosen)
                if exact_NE is None:
                    exact_NE = cell["vectors"]
                difference, cosine = compare(exact_NE, cell["vectors"])
                is_exact = not method.endswith("int8")
                if is_exact and difference > MOST_DIFFERENCE:
                    raise SystemExit(f"{kind}, {method}: the vectors differ by {difference}")
                if method == "genomeformer int8" and cosine < LEAST_COSINE:
                    raise SystemExit(f"{kind}, {method}: mean cosine {cosine}")
                put(
                    f"| {kind} | {cores} | {method} | {cell['rows'] / cell['wall']:,.1f} | "
                    f"{cell['bases'] / cell['wall']:,.0f} | "
                    f"{cell['cpu'] / cell['bases'] * 1e6:.1f} | {cell['peak']:,.0f} | "
                    f"{cosine:.5f} |"
                )
    return lines


def main() -> None:
    """Measure every chosen kind by every method on every chosen number of cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="CPU seconds of an input, about")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, usable_cores()])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--output", type=Path, help="Markdown file of the table")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cell:
        run_cell(chosen)
        return
    with tempfile.TemporaryDirectory() as folder:
        chosen.folder = Path(folder)
        if any(method.startswith("ONNX") for method in chosen.methods):
            write_graphs(chosen.folder)
        lines = table(chosen)
    if chosen.output:
        chosen.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
