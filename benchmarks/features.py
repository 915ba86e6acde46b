"""Frozen features of every layer and pooling on validation splits, beside counts and a random twin.

    python benchmarks/features.py --tasks FOLDER --output features.jsonl
    python benchmarks/features.py --read features.jsonl

Rows are drawn from `train` and `val` of each task; `test` is never read. A logistic regression is
fitted on the training rows (its strength is selected on a fifth of them) and measured on the
validation rows. Each task is embedded once; layers, poolings and strands are combined afterwards.
Shape letters: N rows, L length, E width, C combined columns.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import kmer_counts, one_hot
from genomeformer_cli.core.evaluation.probe_metrics import measure_probe
from genomeformer_cli.core.evaluation.probes import Fold, run_probe
from genomeformer_cli.core.evaluation.tasks import Task, read_suite
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.layout import Store

Floats = npt.NDArray[np.float32]
NUM_BINS = 4
TOKENS_PER_BATCH = 2_048
POOLS = {
    "mean": ("mean",),
    "max": ("max",),
    "mean-max": ("mean", "max"),
    "moments": ("mean", "deviation"),
    "bins": ("bins",),
}
FAMILIES = {
    "composition": (
        "taxon",
        "coding",
        "celegans",
        "guelow_EMP",
        "ienhancer",
        "gbresplit_human_enh",
    ),
    "anywhere": ("gue_tf", "gue_mouse", "guelow_mouse"),
    "fixed place": ("",),
}


def main() -> None:
    """Measure and print one JSON line per task, or summarise such lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--tasks", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--part", default="0/1", help="i/n: every n-th task, beginning with i")
    parser.add_argument("--max-train", type=int, default=300)
    parser.add_argument("--max-validation", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--read", type=Path, nargs="+")
    options = parser.parse_args()
    if options.read:
        summarise([json.loads(line) for path in options.read for line in path.open()])
        return
    torch.set_num_threads(1)
    folder = model_folder(options.model, store=Store(), reporter=SilentReporter())
    loaded = read_model(folder)
    (random,) = random_twins(loaded, options.seed, 1).values()
    twin = LoadedModel(model=random, tokenizer=loaded.tokenizer, folder=loaded.folder)
    part, num_parts = map(int, options.part.split("/"))
    for index, whole in enumerate(read_suite(options.tasks, options.only)):
        if index % num_parts != part:
            continue
        task = draw(whole, options.max_train, options.max_validation, options.seed)
        scores = measure_task(task, loaded, twin, options.seed)
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        line = {"task": task.name, "scores": scores, "cpu_seconds": round(seconds, 1)}
        with options.output.open("a") as file:
            file.write(json.dumps(line) + "\n")


def draw(task: Task, max_train: int, max_validation: int, seed: int) -> Task:
    """Draw training rows, and validation rows as those to be tested."""
    generator = np.random.default_rng([seed, 23])
    splits = np.array([example.split for example in task.examples])
    rows = []
    for split, limit in (("train", max_train), ("val", max_validation)):
        of_split = np.flatnonzero(splits == split)
        size = min(limit, of_split.size)
        rows.append(generator.choice(of_split, size, replace=False))
    return task.take(np.sort(np.concatenate(rows)))


def validation_fold(task: Task, seed: int) -> Fold:
    """Return training rows less a fifth, that fifth, and the validation rows."""
    splits = np.array([example.split for example in task.examples])
    train = np.random.default_rng([seed, 29]).permutation(np.flatnonzero(splits == "train"))
    size = train.size // 5
    return Fold(
        train=np.sort(train[size:]),
        validation=np.sort(train[:size]),
        test=np.flatnonzero(splits == "val"),
    )


def measure_task(
    task: Task, loaded: LoadedModel, twin: LoadedModel, seed: int
) -> dict[str, dict[str, float]]:
    """Return the Matthews correlation of every candidate, by source."""
    codes = [encode_bases(example.sequence) for example in task.examples]
    fold = validation_fold(task, seed)

    def correlation(vectors: Any, *, is_scaled: bool = True) -> float:
        predictions = run_probe("logistic", vectors, task, [fold], is_scaled=is_scaled)
        return round(measure_probe(predictions, seed).mcc.value, 4)

    counted = {f"{k}-mers": strand_kmers(codes, k) for k in (4, 5, 6, 7)}
    bases = one_hot(codes)
    if bases is not None:
        counted["one-hot"] = bases
    scores = {
        "counts": {
            name: correlation(vectors, is_scaled=name == "one-hot")
            for name, vectors in counted.items()
        }
    }
    for source, model in (("model", loaded), ("random", twin)):
        features = embed(model, codes)
        scores[source] = {
            name: correlation(vectors) for name, vectors in candidates(model, features)
        }
    return scores


def strand_kmers(codes: list[Codes], k: int) -> Any:
    """Return the square roots of the k-mer counts of both strands."""
    entries = kmer_counts(codes, k, both_strands=True)
    table = entries.table((len(codes), 4**k))
    table.data = np.sqrt(table.data)
    return table


@torch.inference_mode()
def embed(loaded: LoadedModel, codes: list[Codes]) -> dict[str, Floats]:
    """Return statistics of all layers over the real positions, each (layers, N, E or bins E)."""
    model, tokenizer = loaded.model, loaded.tokenizer
    layers = tuple(range(model.config.depth))
    names = ("mean", "max", "deviation", "bins")
    rows: dict[str, list[Any]] = {name: [None] * len(codes) for name in names}
    for size in sorted({code.size for code in codes}):
        of_size = [row for row, code in enumerate(codes) if code.size == size]
        per_batch = max(1, TOKENS_PER_BATCH // size)
        for first in range(0, len(of_size), per_batch):
            batch = of_size[first : first + per_batch]
            ids = np.stack([tokenizer.encode(codes[row]) for row in batch])
            hidden = model.hidden_layers(torch.from_numpy(ids.astype(np.int64)), None, layers)
            for index, row in enumerate(batch):
                real = torch.from_numpy(tokenizer.is_real[ids[index]])
                stacked = torch.stack([layer[index][real] for layer in hidden])
                rows["mean"][row] = stacked.mean(dim=1).numpy()
                rows["max"][row] = stacked.amax(dim=1).numpy()
                rows["deviation"][row] = stacked.std(dim=1).numpy()
                pieces = torch.tensor_split(stacked, NUM_BINS, dim=1)
                means = [piece.mean(dim=1) for piece in pieces]
                rows["bins"][row] = torch.cat(means, dim=1).numpy()
    return {name: np.stack(values, axis=1) for name, values in rows.items()}


def candidates(loaded: LoadedModel, features: dict[str, Floats]) -> Iterator[tuple[str, Floats]]:
    """Yield the name and the vectors (N, C) of every rule."""

    def vectors(layers: tuple[int, ...], pool: str) -> Floats:
        parts = [features[name][layer] for layer in layers for name in POOLS[pool]]
        return np.concatenate(parts, axis=1)

    rules: list[tuple[tuple[int, ...], str]] = [
        ((layer,), "mean") for layer in range(loaded.model.config.depth)
    ]
    rules += [(layers, "mean") for layers in ((1, 6), (0, 3, 6), (1, 3, 6), (2, 3, 4))]
    rules += [(layers, pool) for layers in ((3,), (6,)) for pool in list(POOLS)[1:]]
    rules += [(layers, pool) for layers in ((1, 6), (0, 3, 6)) for pool in list(POOLS)[2:]]
    for layers, pool in rules:
        yield f"{','.join(map(str, layers))} {pool}", vectors(layers, pool)
    if loaded.model.is_equivariant:
        symmetric: list[tuple[tuple[int, ...], str]] = [
            ((6,), "mean"),
            ((0, 3, 6), "mean"),
            ((0, 3, 6), "mean-max"),
        ]
        for layers, pool in symmetric:
            parts = []
            for layer in layers:
                for name in POOLS[pool]:
                    values = torch.from_numpy(features[name][layer])
                    both = (values + loaded.model.swap_strands(values)) / 2
                    parts.append(both[:, : both.shape[1] // 2].numpy())
            label = ",".join(map(str, layers))
            yield f"{label} {pool} rc", np.concatenate(parts, axis=1)


def family_of(task: str) -> str:
    """Return the family of a task."""
    return next(name for name, starts in FAMILIES.items() if task.startswith(starts))


def summarise(lines: list[dict[str, Any]]) -> None:
    """Print the mean correlation of every rule, over all tasks and per family."""
    families = {name: [x for x in lines if family_of(x["task"]) == name] for name in FAMILIES}
    groups = {"all": lines, **families}
    header = " | ".join(f"{name} ({len(group)})" for name, group in groups.items())
    print(f"| rule | {header} | random, all | ahead of twin | ahead of k-mers |")
    print("|---" * (len(groups) + 4) + "|")

    def mean(group: list[dict[str, Any]], source: str, rule: str) -> str:
        return f"{np.mean([line['scores'][source][rule] for line in group]):.3f}" if group else "-"

    def ahead(rule: str, line: dict[str, Any]) -> tuple[bool, bool]:
        value, counts = line["scores"]["model"][rule], line["scores"]["counts"]
        kmers = max(score for name, score in counts.items() if name.endswith("-mers"))
        return value > line["scores"]["random"][rule], value > kmers

    for rule in lines[0]["scores"]["model"]:
        cells = [mean(group, "model", rule) for group in groups.values()]
        pairs = [ahead(rule, line) for line in lines]
        cells += [mean(lines, "random", rule)]
        cells += [str(sum(pair[index] for pair in pairs)) for index in range(2)]
        print(f"| {rule} | {' | '.join(cells)} |")
    for k in (4, 5, 6, 7):
        cells = [mean(group, "counts", f"{k}-mers") for group in groups.values()]
        print(f"| {k}-mers, both strands | {' | '.join(cells)} | | | |")
    best_by_task = [max(line["scores"]["counts"].values()) for line in lines]
    print(f"the best counted features of each task: {np.mean(best_by_task):.3f}")


if __name__ == "__main__":
    main()
