"""Uses of the other strand in an embedding, and their pooling: linear probes on labels.

    python benchmarks/strands.py --model NAME --tasks FOLDER --only ecoli_ --only umarov_ecoli

For each task the Matthews correlation of a logistic regression on the model's vectors, by use of
the other strand and by pooling, beside k-mer frequencies and the same model with random weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import kmer_frequencies
from genomeformer_cli.core.evaluation.probe_metrics import measure_probe
from genomeformer_cli.core.evaluation.probes import draw_task_rows, folds, run_probe
from genomeformer_cli.core.evaluation.tasks import Task, read_suite
from genomeformer_cli.core.model_io.find import find_model
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.layout import Store

WAYS: dict[str, dict[str, str]] = {
    "mean": {},
    "mean, rc mean": {"rc": "mean"},
    "mean, rc concat": {"rc": "concat"},
    "max": {"pool": "max"},
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--max-train", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    loaded = read_model(find_model(chosen.model, store=Store(), reporter=SilentReporter()))
    (random,) = random_twins(loaded, chosen.seed, 1).values()
    twin = LoadedModel(model=random, tokenizer=loaded.tokenizer, folder=loaded.folder)
    print("| task | " + " | ".join(WAYS) + " | random weights | 4-mers |")
    print("|---" * (len(WAYS) + 3) + "|")
    for whole in read_suite(chosen.tasks, chosen.only):
        task = whole.take(draw_task_rows(whole, chosen.max_train, chosen.seed))
        codes = [encode_bases(one.sequence, where=one.id) for one in task.examples]
        cells = [embedded(loaded, codes, way) for way in WAYS.values()]
        cells += [embedded(twin, codes, {}), kmer_frequencies(codes, 4)]
        said = [correlation(vectors, task, chosen.seed) for vectors in cells]
        print(f"| {task.name} | " + " | ".join(said) + " |", flush=True)


def embedded(loaded: LoadedModel, codes: list[Codes], way: dict[str, str]) -> object:
    """Vectors of sequences."""
    choices = EmbedOptions(**way)  # type: ignore[arg-type]
    return np.nan_to_num(Embedder(loaded, choices).embed(codes))


def correlation(vectors: object, task: Task, seed: int) -> str:
    """Return the correlation of a probe on these vectors, with its interval."""
    mcc = measure_probe(run_probe("logistic", vectors, task, folds(task, seed)), seed).mcc
    return f"{mcc.value:.3f} [{mcc.low:.3f}, {mcc.high:.3f}]"


if __name__ == "__main__":
    main()
