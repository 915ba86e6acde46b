"""Phage against host: linear probes on frozen vectors, on random weights and on k-mer counts.

Regions of 8 kb are drawn from the bacteria, archaea and phages of FASTA files that a table
describes, as many of either class. Related genomes (hosts of one genus; phages that share 21-mers)
are on one side of the split. A region is one window of 8 kb, two of 4 kb, four of 2 kb; the vector
of a longer window is the mean of its 2-kb parts. Layers are selected on the validation rows.
The manner follows LAMBDA, a benchmark of DNA models on phages.

    python benchmarks/phage_host.py --data FOLDER --output phage_host.json
    python benchmarks/phage_host.py --data FOLDER --write TASKS   # tables for `evaluate --suite`

The folder holds `genomes.tsv` (columns `id`, `group`, `genus`, `file`) and the files it names;
records of a genome are `ID|RECORD`. Every record of the group `phage` is a genome of its own.
Shape letters: N windows, E width, S bootstrap samples.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from phage_genomes import (
    HOST,
    PHAGE,
    PhageHostConfig,
    Regions,
    draw_regions,
    make_task,
    read_genomes,
    write_tasks,
)

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.features import features_width
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.class_metrics import correlation
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import kmer_counts, square_roots
from genomeformer_cli.core.evaluation.probes import LOGISTIC, ProbePredictions, folds, run_probe
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.evaluation.token_scores import percentile_interval
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, weights_digest
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.atomic import atomic_file, write_json
from genomeformer_cli.core.store.layout import Store

KS = (4, 5, 6, 7)
NUM_SAMPLES = 1_000
MODEL, TWIN = "model", "random"
# Regions whose vectors are saved together.
CHUNK = 50
Floats = npt.NDArray[np.float64]


def embed_parts(
    loaded: LoadedModel, regions: Sequence[Codes], config: PhageHostConfig
) -> list[npt.NDArray[np.float32]]:
    """Return the mean vectors of every part, one array (parts, E) per layer."""
    embedder = Embedder(loaded, EmbedOptions(layers="all", pool="mean"))
    parts = [
        codes[start : start + config.part]
        for codes in regions
        for start in range(0, codes.size, config.part)
    ]
    vectors = np.concatenate(
        [embedder.embed(parts[first : first + 64]) for first in range(0, len(parts), 64)]
    )
    layers = range(loaded.model.config.depth + 1)
    widths = [features_width(loaded.model, (layer,), mean=False) for layer in layers]
    return np.split(vectors, np.cumsum(widths)[:-1], axis=1)


def layer_rules(depth: int) -> list[tuple[int, ...]]:
    """Return the candidates: every layer, and a few of them side by side."""
    quarters = tuple(sorted({0, depth * 3 // 8, depth * 3 // 4}))
    return [*((layer,) for layer in range(depth + 1)), quarters, tuple(range(0, depth + 1, 2))]


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Vectors saved between calls."""

    folder: Path | None = None
    seconds: float | None = None  # CPU seconds after which no chunk is begun.


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Test predictions of one kind of vector."""

    name: str
    validation_mcc: float
    predictions: ProbePredictions


def probe(name: str, vectors: Any, task: Task, *, is_scaled: bool, seed: int = 0) -> Probe:
    """Fit on the training rows and predict the validation and the test rows."""
    (split,) = folds(task, seed)
    tested = replace(split, test=np.concatenate([split.validation, split.test]))
    both = run_probe(LOGISTIC, vectors, task, [tested], is_scaled=is_scaled)
    size = split.validation.size
    validation_mcc = mcc(both.rows(slice(size)), np.ones(size))
    return Probe(name=name, validation_mcc=validation_mcc, predictions=both.rows(slice(size, None)))


def mcc(predictions: ProbePredictions, weights_N: Floats) -> float:
    """Return the Matthews correlation of weighted rows."""
    num_classes = predictions.probability_NC.shape[1]
    cells_N = predictions.targets_N * num_classes + predictions.probability_NC.argmax(axis=1)
    cells = np.bincount(cells_N, weights=weights_N, minlength=num_classes**2)
    return float(correlation(cells.astype(np.float64).reshape(num_classes, num_classes)))


def genome_weights(task: Task, seed: int) -> Floats:
    """Return how often each test row is drawn when genomes of either class are drawn, (S, N)."""
    test = [example for example in task.examples if example.split == "test"]
    generator = np.random.default_rng([seed, 41])
    weights = np.zeros((NUM_SAMPLES, len(test)))
    for label in (HOST, PHAGE):
        names = sorted({row.group for row in test if row.label == label})
        columns = np.array([index for index, row in enumerate(test) if row.label == label])
        of_column = np.array([names.index(test[column].group) for column in columns])
        for sample in weights:
            drawn = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
            sample[columns] = drawn[of_column]
    return weights


def measure_length(
    regions: Regions,
    length: int,
    vectors: Mapping[str, Sequence[npt.NDArray[np.float32]]],
    recommended: tuple[int, ...],
    config: PhageHostConfig,
) -> dict[str, Any]:
    """Return the Matthews correlations of all kinds of vectors on the windows of one length."""
    task, windows = make_task(regions, length)
    probes = {}
    for k in KS:
        counts = kmer_counts(windows, k, both_strands=True)
        table = square_roots(counts, NUM_REAL_BASES**k, len(windows))
        probes[f"{k}-mers"] = probe(f"{k}-mers", table, task, is_scaled=False)
    for source, layers in vectors.items():
        pooled = [array.reshape(len(windows), -1, array.shape[1]).mean(axis=1) for array in layers]
        probes[source] = probe(source, _side_by_side(pooled, recommended), task, is_scaled=True)
        candidates = [
            probe(",".join(map(str, rule)), _side_by_side(pooled, rule), task, is_scaled=True)
            for rule in layer_rules(len(layers) - 1)
        ]
        selected = max(candidates, key=lambda candidate: candidate.validation_mcc)
        probes[f"{source}, layers selected"] = selected
    floor = max((f"{k}-mers" for k in KS), key=lambda name: probes[name].validation_mcc)
    weights_SN = genome_weights(task, config.seed)
    ones = np.ones(weights_SN.shape[1])
    samples = {
        name: np.array([mcc(p.predictions, sample) for sample in weights_SN])
        for name, p in probes.items()
    }
    rows = {}
    for name, result in probes.items():
        value = mcc(result.predictions, ones)
        gain = value - mcc(probes[floor].predictions, ones)
        rows[name] = {
            "mcc": _plain(value, samples[name]),
            "gain": _plain(gain, samples[name] - samples[floor]),
            "validation_mcc": round(result.validation_mcc, 4),
            "layers": result.name if "selected" in name else "",
        }
    return {"rows": rows, "floor": floor, "num_test": int(ones.size), "num_rows": len(windows)}


def _side_by_side(pooled: Sequence[npt.NDArray[np.float32]], rule: Sequence[int]) -> Any:
    return np.concatenate([pooled[layer] for layer in rule], axis=1)


def _plain(value: float, samples: Floats) -> list[float]:
    interval = percentile_interval(value, samples)
    return [round(float(number), 4) for number in (value, interval.low, interval.high)]


def measure(
    loaded: LoadedModel, data: Path, config: PhageHostConfig, cache: Cache
) -> dict[str, Any]:
    """Return the results of every length, with the numbers of genomes.

    Args:
        loaded: Model.
        data: Folder of the genomes.
        config: Settings.
        cache: Vectors of an earlier call.

    Raises:
        TimeoutError: The CPU seconds are spent.
    """
    regions = draw_regions(read_genomes(data), config)
    vectors = {
        source: cached_parts(loaded, source, regions, config, cache) for source in (MODEL, TWIN)
    }
    depth = loaded.model.config.depth
    recommended = EmbedOptions(layers=loaded.layers).layer_numbers(depth)
    tested = zip(regions.splits, regions.labels, regions.genomes, strict=True)
    names = {(label, name) for split, label, name in tested if split == "test"}
    return {
        "test_genomes": {kind: sum(label == kind for label, _ in names) for kind in (HOST, PHAGE)},
        "lengths": {
            str(length): measure_length(regions, length, vectors, recommended, config)
            for length in config.lengths
        },
    }


def cached_parts(
    loaded: LoadedModel, source: str, regions: Regions, config: PhageHostConfig, cache: Cache
) -> list[npt.NDArray[np.float32]]:
    """Return the vectors of the model or of its random twin, one array per layer.

    Raises:
        TimeoutError: The CPU seconds are spent; what was computed is in the cache.
    """
    if source == TWIN:
        (random,) = random_twins(loaded, config.seed, 1).values()
        loaded = replace(loaded, model=random)
    weights = f"{weights_digest(loaded.model)} {config.precision}"
    if config.precision == "int8":
        loaded = replace(loaded, model=copy.deepcopy(loaded.model))
        convert_linear_layers(loaded.model, "int8")
    chunks = []
    for first in range(0, len(regions.codes), CHUNK):
        codes = regions.codes[first : first + CHUNK]
        digest = hashlib.sha256(weights.encode() + b"".join(part.tobytes() for part in codes))
        path = cache.folder and cache.folder / f"{source}-{digest.hexdigest()[:20]}.npz"
        if path and path.is_file():
            with np.load(path) as saved:
                chunks.append([saved[f"arr_{index}"] for index in range(len(saved.files))])
            continue
        if cache.seconds is not None and time.process_time() > cache.seconds:
            raise TimeoutError(f"vectors of {source}, region {first}")
        layers = embed_parts(loaded, codes, config)
        if path:
            with atomic_file(path) as file:
                np.savez(file, *layers)
        chunks.append(layers)
    return [np.concatenate(layer) for layer in zip(*chunks, strict=True)]


def main() -> None:
    """Build the task; write it, or measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--regions", type=int, default=PhageHostConfig.regions)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--cache", type=Path, help="folder for vectors")
    parser.add_argument("--seconds", type=float, help="CPU seconds; the same command continues")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    config = PhageHostConfig(regions=options.regions, seed=options.seed)
    if options.write is not None:
        write_tasks(draw_regions(read_genomes(options.data), config), config, options.write)
        return
    torch.set_num_threads(1)
    loaded = read_model(model_folder(options.model, store=Store(), reporter=SilentReporter()))
    cache = Cache(folder=options.cache, seconds=options.seconds)
    results = measure(loaded, options.data, config, cache)
    print(f"genomes with test rows: {results['test_genomes']}")
    print(
        "| windows | vectors | MCC | gain over the k-mers that validation selects |",
        "|---|---|---|---|",
        sep="\n",
    )
    for length, result in results["lengths"].items():
        for name, row in result["rows"].items():
            value, low, high = row["mcc"]
            gain, gain_low, gain_high = row["gain"]
            label = f"{name} ({row['layers']})" if row["layers"] else name
            print(
                f"| {length} | {label} | {value:.3f} [{low:.3f}, {high:.3f}] | "
                f"{gain:+.3f} [{gain_low:+.3f}, {gain_high:+.3f}] |"
            )
        print(f"| {length} | floor: {result['floor']}; {result['num_test']} test rows | | |")
    print(f"{time.process_time():.0f} s of CPU")
    if options.output is not None:
        write_json(options.output, json.loads(json.dumps(results)))


if __name__ == "__main__":
    main()
