"""Labelled sequences: a model's vectors beside k-mer counts and random twins, everything alike.

The same rows, the same folds, the same probes for all of them. `k-mers` are the best of k = 3 to 6
on the tested rows, which favours them; `one-hot` says which base stands where, for sequences of
one length.
Shape letters: N rows, E width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.evaluation.duplicates import Duplicates, find_duplicates
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import KS, ONE_HOT, kmer_frequencies, one_hot
from genomeformer_cli.core.evaluation.neighbourhood import (
    Neighbourhood,
    draw_rows,
    neighbourhood,
    principal_axes,
)
from genomeformer_cli.core.evaluation.probes import (
    LOGISTIC,
    NEIGHBOURS,
    Fold,
    ProbeMetrics,
    ProbePredictions,
    class_numbers,
    draw_task_rows,
    folds,
    mcc_gain,
    measure_probe,
    run_probe,
)
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.evaluation.token_scores import Interval
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases

MODEL, TWIN = "model", "random"


@dataclass(frozen=True, kw_only=True)
class ProbingConfig:
    """How labelled sequences are looked at.

    Attributes:
        window: Longest stretch the model sees at once; None: its context.
        most_training: Rows a probe learns from, at most.
        seed: Of folds, draws, resampling and the first twin.
        num_seeds: Seeds to go through; of each a twin, rows to learn from, folds, and draws.
    """

    window: int | None = None
    most_training: int = 10_000
    seed: int = 0
    num_seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """One kind of vector on one task with one seed.

    Attributes:
        who: `model`, `random`, `3-mers` ..., `one-hot`.
        seed: Of folds, draws and twin.
        neighbourhood: Of the vectors as they are, for classes of two rows or more; None where there
            are fewer than two such classes.
        logistic: What logistic regression reads off them.
        neighbours: What ten nearest neighbours do.
        gain: Matthews correlation of the logistic regression minus that of the best k-mers; None
            for these.
    """

    who: str
    seed: int
    neighbourhood: Neighbourhood | None
    logistic: ProbeMetrics
    neighbours: ProbeMetrics
    gain: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class ProbingResult:
    """One task.

    Attributes:
        name: Its name.
        classes: Labels.
        num_rows: Labelled sequences.
        num_trained: Rows that a probe learned from.
        official_split: Whether train and test are the source's; else five folds.
        count: Rows of the source, used and left out.
        duplicates: Test rows whose sequence was also learned from, with the first seed.
        rows: Vectors of every kind, seed by seed.
        points: Some rows on the model's two main axes, and the class of each, for a picture.
        shares: Of the variance on these axes.
    """

    name: str
    classes: tuple[str, ...]
    num_rows: int
    num_trained: int
    official_split: bool
    count: RowCount
    duplicates: Duplicates
    rows: tuple[ProbeRow, ...]
    points: tuple[tuple[float, float, int], ...] = field(default=(), repr=False)
    shares: tuple[float, float] = (0.0, 0.0)

    def best_kmers(self, seed: int) -> ProbeRow:
        """The k-mers that logistic regression does best with on the tested rows."""
        words = [row for row in self.rows if row.who.endswith("-mers") and row.seed == seed]
        return max(words, key=lambda row: row.logistic.mcc.value)


def evaluate_task(
    loaded: LoadedModel, task: Task, config: ProbingConfig, reporter: Reporter
) -> ProbingResult:
    """Look at one task.

    Raises:
        AlphabetError: A sequence holds a letter that is no nucleotide.
    """
    for note in task.notes:
        reporter.note(note)
    count = task.count
    say = reporter.warn if count.left_out else reporter.note
    say(f"`{task.name}`: {count.sentence()}; {len(task.classes)} classes")
    num_rows = len(task.examples)
    seeds = range(config.seed, config.seed + config.num_seeds)
    drawn = {seed: draw_task_rows(task, config.most_training, seed) for seed in seeds}
    used_N = np.unique(np.concatenate(list(drawn.values())))
    task = task.take(used_N)
    sequences = [
        encode_bases(one.sequence, where=f"task `{task.name}`: `{one.id}`") for one in task.examples
    ]
    lost = sum(not (codes < NUM_REAL_BASES).any() for codes in sequences)
    if lost:
        reporter.warn(f"task `{task.name}`: {lost} sequences hold no base but N; they are zeros")
    classes_N = class_numbers(task)
    words: dict[str, Any] = {f"{k}-mers": kmer_frequencies(sequences, k) for k in KS}
    by_place = one_hot(sequences)
    if by_place is not None:
        words[ONE_HOT] = by_place
    places = {seed: np.searchsorted(used_N, rows_M) for seed, rows_M in drawn.items()}
    parts = {seed: folds(task.take(places_M), seed) for seed, places_M in places.items()}
    first = places[config.seed]
    duplicates = find_duplicates(
        [sequences[place] for place in first],
        [
            ([*fold.train.tolist(), *fold.validation.tolist()], fold.test.tolist())
            for fold in parts[config.seed]
        ],
    )
    if duplicates.exist:
        reporter.warn(duplicates.warning(task.name))
    own_NE = _embedded(loaded, sequences, config, reporter)
    rows: list[ProbeRow] = []
    for seed, places_M in places.items():
        (twin,) = random_twins(loaded, seed, 1).values()
        random = LoadedModel(model=twin, tokenizer=loaded.tokenizer, folder=loaded.folder)
        codes = [sequences[place] for place in places_M]
        vectors = {who: array[places_M] for who, array in {MODEL: own_NE, **words}.items()}
        vectors[TWIN] = _embedded(random, codes, config, reporter)
        ordered = {who: vectors[who] for who in (MODEL, TWIN, *words)}
        rows += _rows(ordered, task.take(places_M), parts[seed], seed, reporter)
    shown = draw_rows(classes_N, config.seed)
    points_N2, shares = principal_axes(own_NE[shown])
    points = zip(points_N2.tolist(), classes_N[shown].tolist(), strict=True)
    return ProbingResult(
        name=task.name,
        classes=task.classes,
        num_rows=num_rows,
        num_trained=max(fold.train.size for one in parts.values() for fold in one),
        count=count,
        duplicates=duplicates,
        official_split=task.has_split,
        rows=tuple(rows),
        points=tuple((round(x, 4), round(y, 4), label) for (x, y), label in points),
        shares=shares,
    )


def _embedded(
    loaded: LoadedModel, sequences: Sequence[Codes], config: ProbingConfig, reporter: Reporter
) -> npt.NDArray[np.float32]:
    ids = [loaded.tokenizer.encode(codes) for codes in sequences]
    window = config.window or loaded.model.config.context
    return np.nan_to_num(embed_tokens(loaded, ids, window=window, reporter=reporter))


def _rows(
    vectors: Mapping[str, Any],
    task: Task,
    parts: Sequence[Fold],
    seed: int,
    reporter: Reporter,
) -> Iterator[ProbeRow]:
    classes_N = class_numbers(task)
    tested: dict[str, dict[str, ProbePredictions]] = {}
    with reporter.track(f"probing {task.name}", len(vectors), "kinds of vector") as tracker:
        for who, array in vectors.items():
            tested[who] = {
                probe: run_probe(probe, array, task, parts) for probe in (LOGISTIC, NEIGHBOURS)
            }
            tracker.advance(1)
    measured = {
        who: {probe: measure_probe(one, seed) for probe, one in probes.items()}
        for who, probes in tested.items()
    }
    best = max((f"{k}-mers" for k in KS), key=lambda who: measured[who][LOGISTIC].mcc.value)
    looked_at = draw_rows(classes_N, seed)
    # A class of a single row has no neighbours of its own.
    sizes_C = np.bincount(classes_N[looked_at])
    looked_at = looked_at[sizes_C[classes_N[looked_at]] > 1]
    enough = (sizes_C > 1).sum() > 1
    for who, array in vectors.items():
        dense = array[looked_at]
        dense = dense if isinstance(dense, np.ndarray) else dense.toarray()
        gain = None
        if not who.endswith("-mers"):
            gain = mcc_gain(tested[who][LOGISTIC], tested[best][LOGISTIC], seed)
        yield ProbeRow(
            who=who,
            seed=seed,
            neighbourhood=neighbourhood(dense, classes_N[looked_at], seed) if enough else None,
            logistic=measured[who][LOGISTIC],
            neighbours=measured[who][NEIGHBOURS],
            gain=gain,
        )
