"""Vectors of the default model on one and on several cores, beside loops that users write.

Reads, promoters, genes and contigs are embedded by `Embedder`, by a loop over padded batches in
input order, and by a loop over padded batches sorted by length. The loops use torch's own threads;
all three use the same weights and pool the same windows, and their vectors are compared. Wall and
CPU seconds are printed, and the speed in sequences and bases per second.

python benchmarks/inference.py                       # about 4 minutes on two cores
python benchmarks/inference.py --seconds 5 --cores 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from genomeformer_cli.api import load
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.settings import usable_cores

# Shortest and longest sequence of each kind.
KINDS = {
    "reads": (100, 150),
    "promoters": (81, 81),
    "genes": (300, 1_700),
    "contigs": (15_000, 25_000),
}
PEER_BATCH = 32
# Bases per CPU second, for the size of the inputs.
EXPECTED_SPEED = 15_000
MOST_DIFFERENCE = 1e-3

Codes = list[np.ndarray]


def draw(kind: str, num_bases: int) -> Codes:
    """Draw random sequences of a kind; a tenth of the reads are trimmed."""
    rng = np.random.default_rng(0)
    shortest, longest = KINDS[kind]
    mean = (shortest + longest) / 2
    lengths = rng.integers(shortest, longest + 1, max(2, int(num_bases / mean)))
    if kind == "reads":
        lengths[rng.random(lengths.size) < 0.9] = longest
    return [rng.integers(0, 4, length).astype(np.uint8) for length in lengths]


def loop(loaded: LoadedModel, sequences: Codes, *, is_sorted: bool) -> np.ndarray:
    """Embed windows in batches of a fixed number, padded to the longest; mean per sequence."""
    model, tokenizer = loaded.model, loaded.tokenizer
    ids = [tokenizer.encode(codes).astype(np.int64) for codes in sequences]
    windows = cut_windows([row.size for row in ids], model.config.context)
    order = np.argsort(-windows.length, kind="stable") if is_sorted else np.arange(len(windows))
    sums = np.zeros((len(sequences), model.feature_width))
    with torch.inference_mode():
        for first in range(0, order.size, PEER_BATCH):
            batch = order[first : first + PEER_BATCH]
            width = int(windows.length[batch].max())
            tokens_BL = np.full((batch.size, width), tokenizer.pad_id)
            for row, window in enumerate(batch):
                start, length = windows.start[window], windows.length[window]
                tokens_BL[row, :length] = ids[windows.row[window]][start : start + length]
            inputs_BL = torch.from_numpy(tokens_BL)
            mask_BL = padding_mask(inputs_BL, tokenizer.pad_id)
            features_BLE = model.hidden(inputs_BL, mask_BL)
            if mask_BL is not None:
                features_BLE = features_BLE * mask_BL[..., None]
            np.add.at(sums, windows.row[batch], features_BLE.sum(dim=1).numpy())
    means: np.ndarray = sums / np.array([row.size for row in ids])[:, None]
    return means


def measure(name: str, work: Callable[[], np.ndarray], sequences: Codes) -> np.ndarray:
    """Run, print the speed, and return the vectors."""
    wall, cpu = time.perf_counter(), time.process_time()
    vectors = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    num_bases = sum(codes.size for codes in sequences)
    print(
        f"  {name:18} {wall:7.2f} s  {cpu:7.2f} CPU s  {len(sequences) / wall:8.0f} sequences/s  "
        f"{num_bases / wall:8.0f} bases/s",
        flush=True,
    )
    return vectors


def main() -> None:
    """Measure every chosen kind on every chosen number of cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8, help="CPU seconds of an input, about")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, usable_cores()])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    chosen = parser.parse_args()
    loaded = load(device="cpu").loaded
    embedder = Embedder(loaded, EmbedOptions(layers="last"))
    embedder.embed(draw("promoters", 20_000))
    for kind in chosen.kinds:
        sequences = draw(kind, int(chosen.seconds * EXPECTED_SPEED))
        for cores in dict.fromkeys(chosen.cores):
            torch.set_num_threads(cores)
            print(f"{kind}: {len(sequences)} sequences, {cores} cores")
            ours = measure("genomeformer", partial(embedder.embed, sequences), sequences)
            for name, is_sorted in (("sorted batches", True), ("batches", False)):
                work = partial(loop, loaded, sequences, is_sorted=is_sorted)
                vectors = measure(name, work, sequences)
                difference = float(np.abs(ours - vectors).max())
                if difference > MOST_DIFFERENCE:
                    raise SystemExit(f"the vectors differ by {difference}")


if __name__ == "__main__":
    main()
