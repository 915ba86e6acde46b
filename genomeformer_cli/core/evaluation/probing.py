"""Probing on labelled sequences: a model's vectors beside k-mer counts and random-init twins.

All vectors use the same rows, folds and probes. The best k-mers, of k = 3 to 6, of 5 to 7 on both
strands, or gapped, are selected on the tested rows, which favours them; `one-hot` and `base pairs
in place` encode bases at their positions, for sequences of one length.
Shape letters: N rows, E width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import MAX_WINDOW, check_range
from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.embedding.options import AUTO, EmbedOptions
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.class_metrics import GroupMetrics
from genomeformer_cli.core.evaluation.duplicates import Duplicates, find_duplicates
from genomeformer_cli.core.evaluation.embedding_cost import CostMeter
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import (
    KS,
    ONE_HOT,
    UNSCALED,
    kmer_frequencies,
    one_hot,
    unscaled_counts,
)
from genomeformer_cli.core.evaluation.neighbourhood import (
    Neighbourhood,
    draw_rows,
    neighbourhood,
    principal_axes,
)
from genomeformer_cli.core.evaluation.probe_metrics import (
    ProbeMetrics,
    mcc_gain,
    measure_groups,
    measure_probe,
)
from genomeformer_cli.core.evaluation.probes import (
    LOGISTIC,
    NEIGHBOURS,
    Fold,
    ProbePredictions,
    class_numbers,
    draw_task_rows,
    folds,
    run_probe,
)
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.known_suites import suite_metrics
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases

MODEL, TWIN = "model", "random"


@dataclass(frozen=True, kw_only=True)
class ProbingConfig:
    """Settings of the evaluation on labelled sequences."""

    window: int | None = None  # Maximum window of the model; None: its context.
    pool: Pool = AUTO  # Pooling of the vectors, as in `embed`.
    layers: str = AUTO  # Layers of the vectors, as in `embed`.
    most_training: int = 10_000  # Maximum number of training rows of a probe.
    seed: int = 0  # Seed of the folds, draws, bootstrap and the first twin.
    # Also train a small convolutional network on the same rows: minutes per task and fold.
    network: bool = False
    num_seeds: int = 1  # Number of seeds; each has its own twin, training rows, folds and draws.

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A number is out of range, or vectors are of bases.
        """
        if self.pool == "none":
            raise ConfigError("probes need one row per sequence", hint="choose another `pool`")
        check_range("window", self.window, 1, MAX_WINDOW)
        check_range("most_training", self.most_training, 10)
        check_range("seed", self.seed, 0)
        check_range("num_seeds", self.num_seeds, 1)


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """Metrics of one kind of vector on one task with one seed."""

    who: str  # `model`, `random`, `3-mers`, ..., `one-hot`, `both-strand 7-mers`, ...
    seed: int  # Seed of the folds, draws and twin.
    # Clustering of the vectors, for classes of two rows or more; None if there are fewer than two
    # such classes.
    neighbourhood: Neighbourhood | None
    logistic: ProbeMetrics  # Metrics of logistic regression.
    # Metrics of the ten nearest neighbours; None for a network, which has no fixed vectors.
    neighbours: ProbeMetrics | None
    # Matthews correlation of the logistic regression minus that of the best k-mers; None for
    # k-mers and networks.
    gain: ConfidenceInterval | None = None
    # Metrics of logistic regression per group of tested rows; None without groups.
    groups: GroupMetrics | None = None


@dataclass(frozen=True, kw_only=True)
class ProbingResult:
    """Result on one task."""

    name: str  # Name of the task.
    suite: str  # Suite whose layout the source has; empty: none.
    metrics: tuple[str, ...]  # Metrics of the suite.
    classes: tuple[str, ...]  # Labels.
    num_rows: int  # Labelled sequences.
    num_trained: int  # Training rows of a probe.
    official_split: bool  # True if the source defines train and test; else five folds.
    count: RowCount  # Rows of the source, used and left out.
    duplicates: Duplicates  # Test rows whose sequence is also a training row, with the first seed.
    rows: tuple[ProbeRow, ...]  # Metrics of every kind of vector and seed.
    # Sampled rows on the model's two main axes with their classes, for a plot.
    points: tuple[tuple[float, float, int], ...] = field(default=(), repr=False)
    shares: tuple[float, float] = (0.0, 0.0)  # Variance fractions of these axes.

    def best_kmers(self, seed: int) -> ProbeRow:
        """Return the k-mers with the highest Matthews correlation of logistic regression."""
        kmers = [row for row in self.rows if row.who.endswith("-mers") and row.seed == seed]
        return max(kmers, key=lambda row: row.logistic.mcc.value)


def evaluate_task(
    loaded: LoadedModel,
    task: Task,
    config: ProbingConfig,
    reporter: Reporter,
    meter: CostMeter | None = None,
) -> ProbingResult:
    """Evaluate a model's vectors on one task.

    Args:
        loaded: Model to evaluate.
        task: Labelled sequences.
        config: Settings.
        reporter: Receives notes and progress.
        meter: Receives the cost of the model's vectors.

    Raises:
        AlphabetError: A sequence holds a letter that is not a nucleotide.
    """
    for note in task.notes:
        reporter.note(note)
    count = task.count
    report = reporter.warn if count.left_out else reporter.note
    report(f"`{task.name}`: {count.sentence()}; {len(task.classes)} classes")
    num_rows = len(task.examples)
    seeds = range(config.seed, config.seed + config.num_seeds)
    drawn_by_seed = {seed: draw_task_rows(task, config.most_training, seed) for seed in seeds}
    used_N = np.unique(np.concatenate(list(drawn_by_seed.values())))
    task = task.take(used_N)
    sequences = [
        encode_bases(example.sequence, where=f"task `{task.name}`: `{example.id}`")
        for example in task.examples
    ]
    classes_N = class_numbers(task)
    kmers: dict[str, Any] = {f"{k}-mers": kmer_frequencies(sequences, k) for k in KS}
    one_hot_bases = one_hot(sequences)
    if one_hot_bases is not None:
        kmers[ONE_HOT] = one_hot_bases
    kmers |= unscaled_counts(sequences)
    rows_by_seed = {
        seed: np.searchsorted(used_N, drawn_M) for seed, drawn_M in drawn_by_seed.items()
    }
    folds_by_seed = {seed: folds(task.take(rows_M), seed) for seed, rows_M in rows_by_seed.items()}
    first_rows = rows_by_seed[config.seed]
    duplicates = find_duplicates(
        [sequences[row] for row in first_rows],
        [
            ([*fold.train.tolist(), *fold.validation.tolist()], fold.test.tolist())
            for fold in folds_by_seed[config.seed]
        ],
    )
    if duplicates.exist:
        reporter.warn(duplicates.warning(task.name))
    with meter.measure() if meter else nullcontext():
        model_vectors_NE = _embed(loaded, sequences, config, reporter)
    model_vectors_NE = _filled(model_vectors_NE, task.name, reporter)
    rows: list[ProbeRow] = []
    for seed, rows_M in rows_by_seed.items():
        (twin,) = random_twins(loaded, seed, 1).values()
        twin_model = replace(loaded, model=twin)  # with the recommended layers of the model
        codes = [sequences[row] for row in rows_M]
        vectors = {
            source: array[rows_M] for source, array in {MODEL: model_vectors_NE, **kmers}.items()
        }
        vectors[TWIN] = np.nan_to_num(_embed(twin_model, codes, config, reporter))
        ordered = {source: vectors[source] for source in (MODEL, TWIN, *kmers)}
        rows += _probe_rows(ordered, task.take(rows_M), folds_by_seed[seed], seed, reporter)
    sampled = draw_rows(classes_N, config.seed)
    points_N2, shares = principal_axes(model_vectors_NE[sampled])
    points = zip(points_N2.tolist(), classes_N[sampled].tolist(), strict=True)
    return ProbingResult(
        name=task.name,
        suite=task.suite,
        metrics=suite_metrics(task.suite),
        classes=task.classes,
        num_rows=num_rows,
        num_trained=max(
            fold.train.size for task_folds in folds_by_seed.values() for fold in task_folds
        ),
        count=count,
        duplicates=duplicates,
        official_split=task.has_split,
        rows=tuple(rows),
        points=tuple((round(x, 4), round(y, 4), label) for (x, y), label in points),
        shares=shares,
    )


def _embed(
    loaded: LoadedModel, sequences: Sequence[Codes], config: ProbingConfig, reporter: Reporter
) -> npt.NDArray[np.float32]:
    ids = [loaded.tokenizer.encode(codes) for codes in sequences]
    window = config.window or loaded.model.config.context
    options = EmbedOptions(pool=config.pool, layers=config.layers, window=window)
    return embed_tokens(loaded, ids, options, reporter=reporter)


def _filled(
    rows_NE: npt.NDArray[np.float32], task: str, reporter: Reporter
) -> npt.NDArray[np.float32]:
    """Replace NaN by zeros, with a warning."""
    num_empty = int(np.isnan(rows_NE).any(axis=1).sum())
    if num_empty:
        reporter.warn(
            f"task `{task}`: {num_empty} sequences hold no token of A C G T only, or no word of "
            "the pooling; their vectors are zeros"
        )
    return np.nan_to_num(rows_NE)


def _probe_rows(
    vectors: Mapping[str, Any],
    task: Task,
    task_folds: Sequence[Fold],
    seed: int,
    reporter: Reporter,
) -> Iterator[ProbeRow]:
    classes_N = class_numbers(task)
    predictions: dict[str, dict[str, ProbePredictions]] = {}
    with reporter.track(f"probing {task.name}", len(vectors), "kinds of vector") as tracker:
        for source, array in vectors.items():
            predictions[source] = {
                probe: run_probe(probe, array, task, task_folds, is_scaled=source not in UNSCALED)
                for probe in (LOGISTIC, NEIGHBOURS)
            }
            tracker.advance(1)
    metrics = {
        source: {probe: measure_probe(prediction, seed) for probe, prediction in probes.items()}
        for source, probes in predictions.items()
    }
    kmers = [source for source in vectors if source.endswith("-mers")]
    best = max(kmers, key=lambda source: metrics[source][LOGISTIC].mcc.value)
    sampled = draw_rows(classes_N, seed)
    # A class of a single row has no neighbours of its class.
    sizes_C = np.bincount(classes_N[sampled])
    sampled = sampled[sizes_C[classes_N[sampled]] > 1]
    groups = [task.examples[row].group for fold in task_folds for row in fold.test]
    has_classes = (sizes_C > 1).sum() > 1
    for source, array in vectors.items():
        dense = array[sampled]
        dense = dense if isinstance(dense, np.ndarray) else dense.toarray()
        gain = None
        if not source.endswith("-mers"):
            gain = mcc_gain(predictions[source][LOGISTIC], predictions[best][LOGISTIC], seed)
        yield ProbeRow(
            who=source,
            seed=seed,
            neighbourhood=neighbourhood(dense, classes_N[sampled], seed) if has_classes else None,
            logistic=metrics[source][LOGISTIC],
            neighbours=metrics[source][NEIGHBOURS],
            gain=gain,
            groups=measure_groups(predictions[source][LOGISTIC], groups),
        )
