"""Choice of frozen features on validation splits: layers, pooling and strands, beside counts.

    python benchmarks/features.py embed --tasks FOLDER --cache CACHE [--source random]
    python benchmarks/features.py score --tasks FOLDER --cache CACHE --output scores.tsv
    python benchmarks/features.py probe --tasks FOLDER --cache CACHE --output probes.tsv
    python benchmarks/features.py choose scores.tsv --output rules.tsv

Rows are drawn from `train` and `val` of each task; `test` is never read. `embed` stores the
statistics of all layers of each row. `score` fits a ridge classifier on the training rows for every
rule (its strength is selected on a fifth of them) and measures it on the validation rows: kernels
of concatenated features are sums of kernels, so that a rule costs one factorisation. `probe` fits
the logistic regression of `evaluate` for the rules of `FINALISTS`, in the same format.
Shape letters: N rows, L length, E width, C combined columns, F folds' rows.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.embedding.pooling import NUM_BINS
from genomeformer_cli.core.evaluation.class_metrics import correlation
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import kmer_counts, one_hot, square_roots
from genomeformer_cli.core.evaluation.probe_metrics import measure_probe
from genomeformer_cli.core.evaluation.probes import Fold, class_numbers, run_probe
from genomeformer_cli.core.evaluation.tasks import Task, read_suite
from genomeformer_cli.core.inference.precision import convert_linear_layers
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.layout import Store

Floats = npt.NDArray[np.float32]
BINNED_LAYERS = (0, 1, 2, 3, 4, 6, 8)
PRODUCT_LAYERS = (8,)
TOKENS_PER_BATCH = 2_048
FINALISTS = ("6 mean", "7 mean", "8 mean", "1+6 mean", "6+8 mean", "8 moments", "6 bins8")
STRENGTHS = (0.003, 0.03, 0.3, 3.0)
# Rows of each split: bases, fewest and most rows.
ROWS = {"train": (90_000, 240, 700), "val": (50_000, 120, 350)}
# Kinds of labels by the beginnings of task names, first match.
FAMILIES = {
    "composition": ("taxon", "coding", "celegans", "guelow_EMP", "ienhancer", "gbresplit_human_en"),
    "motif": ("gue_tf", "gue_mouse", "guelow_mouse"),
    "placed": ("",),
}


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("embed", "score", "probe", "choose"))
    parser.add_argument("scores", type=Path, nargs="*")
    parser.add_argument("--model")
    parser.add_argument("--source", choices=("model", "random"), default="model")
    parser.add_argument("--tasks", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--part", default="0/1", help="i/n: every n-th task, beginning with i")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step == "choose":
        choose(options.scores, options.output)
        return
    part, num_parts = map(int, options.part.split("/"))
    tasks = [
        draw(task, options.seed, ROWS)
        for index, task in enumerate(read_suite(options.tasks, options.only))
        if index % num_parts == part
    ]
    if options.step == "embed":
        loaded = load(options)
        for task in tasks:
            file = options.cache / f"{task.name}.{options.source}.npz"
            if not file.exists():
                arrays: dict[str, Any] = embed(loaded, task)
                np.savez(file.with_suffix(".part.npz"), **arrays)
                file.with_suffix(".part.npz").rename(file)
                print(task.name, len(task.examples), cpu_seconds(), flush=True)
        return
    done = set()
    if options.output.exists():
        done = {line.split("\t")[0] for line in options.output.open()}
    for task in tasks:
        if task.name not in done:
            measure = score if options.step == "score" else probe
            rows = list(measure(task, options.cache, options.seed))
            with options.output.open("a") as file:
                for source, rule, width, value in rows:
                    file.write(f"{task.name}\t{source}\t{rule}\t{width}\t{value:.4f}\n")
            print(task.name, cpu_seconds(), flush=True)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1)


def load(options: argparse.Namespace) -> LoadedModel:
    """Load the model or a random twin, with products in int8."""
    folder = model_folder(options.model, store=Store(), reporter=SilentReporter())
    loaded = read_model(folder)
    if options.source == "random":
        (random,) = random_twins(loaded, options.seed, 1).values()
        loaded = LoadedModel(model=random, tokenizer=loaded.tokenizer, folder=loaded.folder)
    convert_linear_layers(loaded.model, "int8")
    return loaded


def family_of(task: str) -> str:
    """Return the kind of label of a task."""
    return next(name for name, starts in FAMILIES.items() if task.startswith(starts))


def draw(task: Task, seed: int, limits: dict[str, tuple[int, int, int]]) -> Task:
    """Draw rows of some splits."""
    generator = np.random.default_rng([seed, 23])
    splits = np.array([example.split for example in task.examples])
    length = np.mean([len(example.sequence) for example in task.examples])
    rows = []
    for split, (bases, fewest, most) in limits.items():
        of_split = np.flatnonzero(splits == split)
        size = min(of_split.size, max(fewest, min(most, int(bases / length))))
        rows.append(generator.choice(of_split, size, replace=False))
    return task.take(np.sort(np.concatenate(rows)))


@torch.inference_mode()
def embed(loaded: LoadedModel, task: Task) -> dict[str, npt.NDArray[np.float16]]:
    """Return statistics of each layer over the real positions of each row."""
    model, tokenizer = loaded.model, loaded.tokenizer
    layers = tuple(range(model.config.depth + 1))
    codes = [encode_bases(example.sequence) for example in task.examples]
    rows: dict[str, list[Any]] = {}
    for size in sorted({code.size for code in codes}):
        of_size = [row for row, code in enumerate(codes) if code.size == size]
        per_batch = max(1, TOKENS_PER_BATCH // size)
        for first in range(0, len(of_size), per_batch):
            batch = of_size[first : first + per_batch]
            ids = np.stack([tokenizer.encode(codes[row]) for row in batch])
            hidden = model.hidden_layers(torch.from_numpy(ids.astype(np.int64)), None, layers)
            real = torch.from_numpy(tokenizer.is_real[ids])
            for name, values in statistics(hidden, real):
                full = rows.setdefault(name, [None] * len(codes))
                for index, row in enumerate(batch):
                    full[row] = values[index].to(torch.float16).numpy()
    return {name: np.stack(values) for name, values in rows.items()}


def statistics(hidden: list[Any], real: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the values (B, C) of each statistic."""
    mask = real[..., None].float()
    parts = bin_weights(real.shape[1], NUM_BINS)[None] * mask.transpose(1, 2)
    weights = torch.cat((mask.transpose(1, 2), parts), dim=1)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp_min(1e-6)
    for layer, x in enumerate(hidden):
        means = weights @ x
        yield f"mean {layer}", means[:, 0]
        if layer in BINNED_LAYERS:
            yield f"bins {layer}", means[:, 1:].flatten(1)
        shown = x if real.all() else x.masked_fill(mask == 0, -torch.inf)
        yield f"max {layer}", shown.amax(dim=1)
        square = (weights[:, :1] @ x.square())[:, 0]
        yield f"deviation {layer}", (square - means[:, 0].square()).clamp_min(0).sqrt()
        if layer in PRODUCT_LAYERS:
            product = (x * weights[:, 0, :, None]).transpose(1, 2) @ x
            upper = torch.triu_indices(x.shape[2], x.shape[2])
            yield f"products {layer}", product[:, upper[0], upper[1]]


def bin_weights(length: int, num_bins: int) -> Any:
    """Return the overlap of each position with each of some equal parts of a row, (bins, L)."""
    edges = torch.arange(num_bins + 1) * length / num_bins
    start = torch.arange(length, dtype=torch.float32)
    low = torch.maximum(edges[:-1, None], start)
    high = torch.minimum(edges[1:, None], start + 1)
    return (high - low).clamp_min(0)


class Kernels:
    """Kernels of the standardised statistics of one task."""

    def __init__(self, features: Any, train: npt.NDArray[np.int64]) -> None:
        self._features, self._train = features, train
        self._kernels: dict[str, Floats] = {}
        self.widths: dict[str, int] = {}

    def of(self, name: str) -> Floats:
        """Return the kernel (N, training rows) of one statistic."""
        if name not in self._kernels:
            values = self._values(name)
            mean = values[self._train].mean(axis=0)
            values = (values - mean) / np.maximum(values[self._train].std(axis=0), 1e-4)
            self.widths[name] = values.shape[1]
            self._kernels[name] = values @ values[self._train].T
        return self._kernels[name]

    def _values(self, name: str) -> Floats:
        kind, layer, *rest = name.split()
        if kind in ("bins4", "bins2"):
            bins = self._features[f"bins {layer}"].astype(np.float32)
            number = int(kind[-1])
            parts = bins.reshape(len(bins), number, NUM_BINS // number, -1)
            values = parts.mean(axis=2).reshape(len(bins), -1)
        else:
            values = self._features[f"{kind} {layer}"].astype(np.float32)
        if rest == ["rc"]:
            number = {"bins": NUM_BINS, "bins4": 4, "bins2": 2}.get(kind, 1)
            halves = values.reshape(len(values), number, 2, -1)
            values = (halves + halves[:, ::-1, ::-1])[:, :, 0].reshape(len(values), -1) / 2
        return np.asarray(values, dtype=np.float32)


def rules() -> dict[str, list[str]]:
    """Return the statistics of each rule."""
    pools = {
        "mean": ["mean"],
        "max": ["max"],
        "mean-max": ["mean", "max"],
        "moments": ["mean", "deviation"],
        "bins4": ["bins4"],
        "bins8": ["bins"],
    }
    single = [((layer,), pool) for layer in range(9) for pool in pools]
    several = [(0, 6), (0, 8), (1, 6), (3, 6), (6, 8), (0, 3, 6), (0, 4, 8), (1, 3, 6), (1, 6, 8)]
    several += [(0, 3, 6, 8)]
    joined = [
        (layers, pool) for layers in several for pool in ("mean", "moments", "bins4", "bins8")
    ]
    joined += [((0, 3, 6), "mean-max"), ((1, 6), "mean-max")]
    result = {}
    for layers, pool in [*single, *joined]:
        if pool.startswith("bins") and not set(layers) <= set(BINNED_LAYERS):
            continue
        label = f"{'+'.join(map(str, layers))} {pool}"
        result[label] = [f"{kind} {layer}" for layer in layers for kind in pools[pool]]
    for rule in ("6 mean", "6 moments", "6 bins8", "0+3+6 mean", "0+3+6 moments"):
        result[f"{rule} rc"] = [f"{name} rc" for name in result[rule]]
    for label in ("6", "1+6", "0+3+6", "6+8"):
        for bins in ("bins4", "bins8"):
            both = result[f"{label} moments"] + result[f"{label} {bins}"]
            result[f"{label} moments {bins}"] = both
    result["6 moments max"] = [*result["6 moments"], "max 6"]
    result["8 products"] = ["products 8"]
    result["6 moments, 8 products"] = [*result["6 moments"], "products 8"]
    return result


def score(task: Task, cache: Path, seed: int) -> Iterator[tuple[str, str, int, float]]:
    """Yield source, rule, width and Matthews correlation on the validation rows."""
    splits = np.array([example.split for example in task.examples])
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
    targets = class_numbers(task)
    shuffled = np.random.default_rng([seed, 29]).permutation(train.size)
    inner = shuffled[: train.size // 5], shuffled[train.size // 5 :]

    def measure(kernel: Floats) -> float:
        return ridge(kernel, targets, train, test, inner)

    codes = [encode_bases(example.sequence) for example in task.examples]
    counts: dict[str, Any] = {
        f"{k}-mers": square_roots(kmer_counts(codes, k, both_strands=True), 4**k, len(codes))
        for k in range(1, 8)
    }
    bases = one_hot(codes)
    counts |= {} if bases is None else {"one-hot": bases}
    for name, table in counts.items():
        dense = table.toarray().astype(np.float32)
        dense -= dense[train].mean(axis=0)
        yield "counts", name, dense.shape[1], measure(dense @ dense[train].T)
    for source in ("model", "random"):
        file = cache / f"{task.name}.{source}.npz"
        if file.exists():
            with np.load(file) as features:
                kernels = Kernels(dict(features), train)
            for rule, names in rules().items():
                kernel = np.sum([kernels.of(name) for name in names], axis=0)
                width = sum(kernels.widths[name] for name in names)
                yield source, rule, width, measure(kernel)


def choose(paths: list[Path], output: Path | None) -> None:
    """Print rules by their mean correlation, over all tasks and by kind of label.

    Args:
        paths: Files of `score`.
        output: TSV to write, with one row per rule and one column per task.
    """
    by_source: dict[str, dict[str, dict[str, float]]] = {}
    widths: dict[str, str] = {}
    for line in (line for path in paths for line in path.read_text().splitlines()):
        task, source, rule, width, value = line.split("\t")
        by_source.setdefault(source, {}).setdefault(task, {})[rule] = float(value)
        widths[rule] = width
    model, counts = by_source["model"], by_source.get("counts", {})
    tasks = sorted(model)
    kmers = {
        task: max((v for r, v in counts.get(task, {}).items() if "mers" in r), default=np.nan)
        for task in tasks
    }
    groups = {"all": tasks}
    groups |= {kind: [task for task in tasks if family_of(task) == kind] for kind in FAMILIES}
    names = [rule for rule in model[tasks[0]] if all(rule in model[task] for task in tasks)]
    ranks: dict[str, list[int]] = {rule: [] for rule in names}
    for task in tasks:
        for rank, rule in enumerate(sorted(names, key=lambda rule: -model[task][rule]), 1):
            ranks[rule].append(rank)
    header = " | ".join(f"{name} ({len(group)})" for name, group in groups.items())
    print(f"| rule | width | {header} | mean rank | ahead of k-mers | random, all |")
    print("|---" * (len(groups) + 5) + "|")

    def mean(source: dict[str, dict[str, float]], group: list[str], rule: str) -> str:
        values = [source[task][rule] for task in group if rule in source.get(task, {})]
        return f"{np.mean(values):.3f}" if len(values) == len(group) > 0 else "-"

    random = by_source.get("random", {})
    for rule in sorted(names, key=lambda rule: -float(mean(model, tasks, rule))):
        ahead = sum(model[task][rule] > kmers[task] for task in tasks)
        cells = [rule, widths[rule], *(mean(model, group, rule) for group in groups.values())]
        cells += [f"{np.mean(ranks[rule]):.1f}", str(ahead), mean(random, tasks, rule)]
        print(f"| {' | '.join(cells)} |")
    if output is not None:
        with output.open("w") as file:
            file.write("\t".join(["vectors", "rule", "width", *tasks]) + "\n")
            for source, by_task in by_source.items():
                for rule in dict.fromkeys(rule for task in tasks for rule in by_task.get(task, {})):
                    values = [by_task.get(task, {}).get(rule) for task in tasks]
                    cells = ["" if value is None else f"{value:.3f}" for value in values]
                    file.write("\t".join([source, rule, widths[rule], *cells]) + "\n")
    best = [f"{np.mean([kmers[task] for task in group] or [0]):.3f}" for group in groups.values()]
    print(f"| best k-mers of each task | | {' | '.join(best)} | | | |")


def probe(task: Task, cache: Path, seed: int) -> Iterator[tuple[str, str, int, float]]:
    """Yield source, rule, width and correlation of a logistic regression on the validation rows."""
    splits = np.array([example.split for example in task.examples])
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
    shuffled, size = np.random.default_rng([seed, 29]).permutation(train.size), train.size // 5
    fold = Fold(
        train=np.sort(train[shuffled[size:]]), validation=np.sort(train[shuffled[:size]]), test=test
    )
    with np.load(cache / f"{task.name}.model.npz") as features:
        for rule in FINALISTS:
            parts = [features[name].astype(np.float32) for name in rules()[rule]]
            vectors = np.concatenate(parts, axis=1)
            predictions = run_probe("logistic", vectors, task, [fold])
            yield "model", rule, vectors.shape[1], measure_probe(predictions, seed).mcc.value


def ridge(
    kernel: Floats,
    targets: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    inner: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> float:
    """Return the Matthews correlation of a ridge classifier on the tested rows."""
    from scipy.linalg import cho_factor, cho_solve

    num_classes = int(targets.max()) + 1
    labels = np.eye(num_classes, dtype=np.float32)[targets[train]]
    of_train = kernel[train]
    scale = float(np.trace(of_train)) / train.size

    def predict(
        rows: npt.NDArray[np.int64], tested: Floats, strength: float
    ) -> npt.NDArray[np.int64]:
        table = of_train[np.ix_(rows, rows)].astype(np.float64)
        table[np.diag_indices_from(table)] += strength * scale
        mean = labels[rows].mean(axis=0)
        weights = cho_solve(cho_factor(table, overwrite_a=True), labels[rows] - mean)
        return np.asarray((tested[:, rows] @ weights + mean).argmax(axis=1))

    held, kept = inner
    held_targets = targets[train][held]
    accuracy = [
        (predict(kept, of_train[held], strength) == held_targets).mean() for strength in STRENGTHS
    ]
    best = STRENGTHS[int(np.argmax(accuracy))]
    predicted = predict(np.arange(train.size), kernel[test], best)
    confusion = np.zeros((num_classes, num_classes))
    np.add.at(confusion, (targets[test], predicted), 1)
    return float(correlation(confusion))


if __name__ == "__main__":
    main()
