"""Frozen vectors on test splits: recommended rules, random twin, counts and places.

    python benchmarks/frozen_vectors.py --tasks FOLDER --output lines.jsonl [--part i/n]
    python benchmarks/frozen_vectors.py --read lines.jsonl --table table.tsv

A logistic regression is fitted on training rows; its strength is selected on validation rows, and
so is k of the k-mers of both strands (1 to 7). All are measured on test rows, with paired bootstrap
intervals of the differences. The random twin has the same rules as the model. Rows of a task are
limited, see `ROWS`; `--times 4` takes up to four times as many. Products are in int8 for the model
and for its twin, unless `--exact`.
Shape letters: N rows, B batch, L length, K columns.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from features import draw, family_of

from genomeformer_cli.core.embedding.batch_runner import BatchRunner
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.pooling import Places, base_of_token, pool_rows, words_of
from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import kmer_counts, one_hot, square_roots
from genomeformer_cli.core.evaluation.probe_metrics import mcc_gain, measure_probe
from genomeformer_cli.core.evaluation.probes import Fold, ProbePredictions, run_probe
from genomeformer_cli.core.evaluation.tasks import Task, read_suite
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.layout import Store

Rows = npt.NDArray[np.int64]
# Rows of each split: bases, fewest and most rows.
ROWS = {"train": (70_000, 200, 700), "val": (35_000, 100, 300), "test": (90_000, 300, 900)}
KS = range(1, 8)


def main() -> None:
    """Measure tasks, one JSON line each, or print the table of such lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--tasks", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--part", default="0/1", help="i/n: every n-th task, beginning with i")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=1, help="this many times the rows")
    parser.add_argument("--exact", action="store_true", help="products in float32")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--read", type=Path, nargs="+")
    parser.add_argument("--table", type=Path, help="TSV of all numbers")
    options = parser.parse_args()
    if options.read:
        report([json.loads(line) for path in options.read for line in path.open()], options.table)
        return
    if not (options.model and options.tasks and options.output):
        parser.error("give --model, --tasks and --output, or --read")
    torch.set_num_threads(1)
    loaded = read_model(model_folder(options.model, store=Store(), reporter=SilentReporter()))
    (random,) = random_twins(loaded, options.seed, 1).values()
    models = {"model": loaded, "random": replace(loaded, model=random)}
    if not options.exact:
        for model in models.values():
            convert_linear_layers(model.model, "int8")
    done = set()
    if options.output.exists():
        done = {json.loads(line)["task"] for line in options.output.open()}
    limits = {name: tuple(options.times * n for n in limit) for name, limit in ROWS.items()}
    part, num_parts = map(int, options.part.split("/"))
    for index, task in enumerate(read_suite(options.tasks, options.only)):
        if index % num_parts == part and task.name not in done:
            line = measure(draw(task, options.seed, limits), models, options.seed)
            line["cpu_seconds"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1)
            with options.output.open("a") as file:
                file.write(json.dumps(line) + "\n")


def measure(task: Task, models: dict[str, LoadedModel], seed: int) -> dict[str, Any]:
    """Return correlations with intervals, and differences, of all vectors of one task."""
    family = family_of(task.name)
    codes = [encode_bases(example.sequence) for example in task.examples]
    splits = np.array([example.split for example in task.examples])
    train, validation, test = (np.flatnonzero(splits == name) for name in ("train", "val", "test"))
    fold = Fold(train=train, validation=validation, test=np.concatenate((validation, test)))

    def predict(vectors: Any, *, is_scaled: bool = True) -> tuple[float, ProbePredictions]:
        """Return the correlation on validation rows and the predictions of test rows."""
        both = run_probe("logistic", vectors, task, [fold], is_scaled=is_scaled)
        of_validation = both.rows(slice(validation.size))
        return measure_probe(of_validation, seed).mcc.value, both.rows(slice(validation.size, None))

    predictions: dict[str, ProbePredictions] = {}
    rules = {"default": EmbedOptions()}
    if family in models["model"].rules:
        rules["kind"] = EmbedOptions.of_rule(family)
    for source, loaded in models.items():
        for rule, vectors in embed(loaded, codes, list(rules.values())).items():
            names = [name for name, options in rules.items() if options.resolve(loaded) == rule]
            predicted = predict(vectors)[1]
            predictions |= {f"{source} {name}": predicted for name in names}
    kmers = {}
    for k in KS:
        table = square_roots(kmer_counts(codes, k, both_strands=True), 4**k, len(codes))
        kmers[k] = predict(table, is_scaled=False)
    best = max(KS, key=lambda k: kmers[k][0])
    predictions["k-mers"] = kmers[best][1]
    bases = one_hot(codes)
    if bases is not None:
        predictions["one-hot"] = predict(bases)[1]
    pairs = [(f"model {rule}", f"random {rule}") for rule in rules]
    pairs += [(f"model {rule}", "k-mers") for rule in rules]
    return {
        "task": task.name,
        "family": family,
        "rows": [int(train.size), int(validation.size), int(test.size)],
        "k": best,
        "mcc": {name: interval(measure_probe(p, seed).mcc) for name, p in predictions.items()},
        "gain": {
            f"{one} - {other}": interval(mcc_gain(predictions[one], predictions[other], seed))
            for one, other in pairs
        },
    }


def interval(value: Any) -> list[float]:
    """Return a value and its interval."""
    return [round(number, 4) for number in (value.value, value.low, value.high)]


@torch.inference_mode()
def embed(
    loaded: LoadedModel, codes: Sequence[Codes], choices: Sequence[EmbedOptions]
) -> dict[EmbedOptions, npt.NDArray[np.float32]]:
    """Return the vectors of several rules, from one pass over the sequences."""
    model, tokenizer = loaded.model, loaded.tokenizer
    rules = list({options.resolve(loaded): None for options in choices})
    numbers = {rule: rule.layer_numbers(model.config.depth) for rule in rules}
    layers = tuple(sorted({layer for group in numbers.values() for layer in group}))
    widths = [model.layer_width(layer) for layer in layers]
    ids = [tokenizer.encode(row) for row in codes]
    windows = cut_windows([row.size for row in ids], model.config.context)
    assert len(windows) == len(ids), "every sequence fits into one window"
    bases_V = base_of_token(tokenizer)
    rows: dict[EmbedOptions, list[Any]] = {rule: [None] * len(ids) for rule in rules}

    def use(batch: Rows, tokens_BL: npt.NDArray[Any], features_BLK: torch.Tensor) -> None:
        real_BL = torch.from_numpy(tokenizer.is_real[tokens_BL])
        by_layer = dict(zip(layers, torch.split(features_BLK, widths, dim=-1), strict=True))
        for rule in rules:
            joined = torch.cat([by_layer[layer] for layer in numbers[rule]], dim=-1)
            words = np.stack([words_of(bases_V[row]) for row in tokens_BL])
            places = Places(windows.start[batch], windows.length[batch], torch.from_numpy(words))
            pooled = pool_rows(joined, real_BL, rule.pool, places)
            for row, vector in zip(batch, pooled.float().numpy(), strict=True):
                rows[rule][row] = vector

    runner = BatchRunner(loaded, layers, mean=False, tokens_per_batch=None)
    runner.run_batches(ids, windows, set(), use, lambda num_bases: None)
    return {rule: np.stack(vectors) for rule, vectors in rows.items()}


def report(lines: list[dict[str, Any]], table: Path | None) -> None:
    """Print the table of all tasks and the counts."""
    lines = sorted(lines, key=lambda line: (line["family"], line["task"]))
    columns = ("model default", "random default", "model kind", "random kind")
    print(f"| task | kind | {' | '.join(columns)} | k-mers | one-hot |")
    print("|---" * (len(columns) + 4) + "|")
    for line in lines:
        mcc = line["mcc"]
        cells = [f"{mcc[name][0]:.3f}" for name in columns]
        cells += [f"{mcc['k-mers'][0]:.3f} ({line['k']})"]
        cells += [f"{mcc['one-hot'][0]:.3f}" if "one-hot" in mcc else "-"]
        print(f"| {line['task']} | {line['family']} | {' | '.join(cells)} |")
    means = [f"{np.mean([line['mcc'][name][0] for line in lines]):.3f}" for name in columns]
    kmers = np.mean([line["mcc"]["k-mers"][0] for line in lines])
    print(f"| mean of {len(lines)} | | {' | '.join(means)} | {kmers:.3f} | |")
    print()
    print("| difference | mean | ahead | beyond the interval | behind beyond the interval |")
    print("|---|---|---|---|---|")
    for pair in lines[0]["gain"]:
        gains = np.array([line["gain"][pair] for line in lines])
        ahead, beyond, behind = (gains > 0)[:, 0].sum(), (gains[:, 1] > 0).sum(), gains[:, 2] < 0
        print(f"| {pair} | {gains[:, 0].mean():.3f} | {ahead} | {beyond} | {behind.sum()} |")
    for rule in ("default", "kind"):
        placed = [line for line in lines if "one-hot" in line["mcc"]]
        wins = [
            line["task"]
            for line in placed
            if line["mcc"]["one-hot"][0] > line["mcc"][f"model {rule}"][0]
        ]
        print(f"\none-hot wins over `model {rule}` on {len(wins)} of {len(placed)}: {wins}")
    if table is not None:
        with table.open("w") as file:
            file.write("task\tkind\ttrain\tval\ttest\tk\tvectors\tmcc\tlow\thigh\n")
            for line in lines:
                start = [line["task"], line["family"], *line["rows"], line["k"]]
                for name, numbers in {**line["mcc"], **line["gain"]}.items():
                    file.write("\t".join(map(str, [*start, name, *numbers])) + "\n")


if __name__ == "__main__":
    main()
