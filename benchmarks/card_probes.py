"""Probes of the default vectors on labelled tasks, beside the random twin and counting features.

The best k-mers of a task are selected on its validation rows.
Shape letters: N rows, E width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from phage_host import probe

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.kmers import (
    KS,
    ONE_HOT,
    PAIRS,
    UNSCALED,
    kmer_frequencies,
    one_hot,
    unscaled_counts,
)
from genomeformer_cli.core.evaluation.probe_metrics import mcc_gain, measure_probe
from genomeformer_cli.core.evaluation.probes import draw_task_rows
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.sequence import encode_bases

MODEL, TWIN, KMERS = "model", "random", "best k-mers"


@dataclass(frozen=True, kw_only=True)
class ProbesConfig:
    """Settings of the probes."""

    max_train: int = 500  # Training rows of a task, at most; a fifth as many validation rows.
    max_test: int = 500  # Test rows of a task, at most.
    seed: int = 0  # Seed of the draws and of the intervals.


def draw(task: Task, config: ProbesConfig) -> Task:
    """Draw the rows of a task with an official split."""
    drawn = task.take(draw_task_rows(task, config.max_train, config.seed))
    is_test = np.array([example.split == "test" for example in drawn.examples])
    test = np.flatnonzero(is_test)
    if test.size > config.max_test:
        generator = np.random.default_rng([config.seed, 47])
        test = generator.choice(test, config.max_test, replace=False)
    return drawn.take(np.sort(np.concatenate([np.flatnonzero(~is_test), test])))


def measure_task(
    models: Mapping[str, LoadedModel], whole: Task, config: ProbesConfig
) -> dict[str, Any]:
    """Return the Matthews correlations of all kinds of vectors on the drawn rows of a task."""
    task = draw(whole, config)
    codes = [encode_bases(example.sequence, where=example.id) for example in task.examples]
    vectors: dict[str, Any] = {
        source: np.nan_to_num(Embedder(loaded, EmbedOptions()).embed(codes))
        for source, loaded in models.items()
    }
    vectors |= {f"{k}-mers": kmer_frequencies(codes, k) for k in KS}
    vectors |= unscaled_counts(codes)
    bases = one_hot(codes)
    if bases is not None:
        vectors[ONE_HOT] = bases
    probes = {
        name: probe(name, array, task, is_scaled=name not in UNSCALED, seed=config.seed)
        for name, array in vectors.items()
    }
    kmers = [name for name in probes if name.endswith("-mers")]
    best = max(kmers, key=lambda name: probes[name].validation_mcc)
    shown = {MODEL: MODEL, TWIN: TWIN, KMERS: best}
    shown |= {name: name for name in (ONE_HOT, PAIRS) if name in probes}
    model = probes[MODEL].predictions
    return {
        "task": task.name,
        "num_classes": len(task.classes),
        "num_train": sum(example.split == "train" for example in task.examples),
        "num_test": int(model.targets_N.size),
        "kmers": best,
        "mcc": {
            name: plain(measure_probe(probes[source].predictions, config.seed).mcc)
            for name, source in shown.items()
        },
        "gain": {
            name: plain(mcc_gain(model, probes[source].predictions, config.seed))
            for name, source in shown.items()
            if name != MODEL
        },
    }


def plain(interval: ConfidenceInterval) -> list[float]:
    """Return value, low and high, rounded."""
    return [round(float(x), 4) for x in (interval.value, interval.low, interval.high)]


def width_of(loaded: LoadedModel) -> int:
    """Return the width of the default vectors."""
    row: npt.NDArray[np.float32] = Embedder(loaded, EmbedOptions()).embed(
        [encode_bases("ACGT" * 8)]
    )
    return int(row.shape[1])
