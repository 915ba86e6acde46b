"""Convolutional network from random weights, beside the probes of `evaluate`.

The network is trained on the training rows of every fold. It reads both strands, or the given one:
the validation rows select.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from genomeformer_cli.core.evaluation.duplicates import Duplicates
from genomeformer_cli.core.evaluation.embedding_cost import CostMeter
from genomeformer_cli.core.evaluation.probe_metrics import measure_groups, measure_probe
from genomeformer_cli.core.evaluation.probes import (
    Fold,
    ProbePredictions,
    class_numbers,
    draw_task_rows,
    folds,
)
from genomeformer_cli.core.evaluation.probing import (
    ProbeRow,
    ProbingConfig,
    ProbingResult,
    evaluate_task,
)
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.network_training import NetworkTraining
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases

NETWORK = "network from scratch"
_METRIC = "mcc"


def evaluate_labelled(
    loaded: LoadedModel,
    task: Task,
    config: ProbingConfig,
    reporter: Reporter,
    meter: CostMeter | None = None,
) -> ProbingResult:
    """Evaluate a model's vectors on one task, beside a network from scratch if configured.

    Args:
        loaded: Model to evaluate.
        task: Labelled sequences.
        config: Settings.
        reporter: Receives notes and progress.
        meter: Receives the cost of the model's vectors.

    Raises:
        AlphabetError: A sequence holds a letter that is not a nucleotide.
    """
    result = evaluate_task(loaded, task, config, reporter, meter)
    if not config.network:
        return result
    return replace(result, rows=(*result.rows, *_network_rows(task, config, reporter)))


def _network_rows(task: Task, config: ProbingConfig, reporter: Reporter) -> Iterator[ProbeRow]:
    """Yield the metrics of the network with each seed, on the rows and folds of the probes."""
    for seed in range(config.seed, config.seed + config.num_seeds):
        task_rows = task.take(draw_task_rows(task, config.most_training, seed))
        task_folds = folds(task_rows, seed)
        predictions = predict_folds(task_rows, task_folds, seed, reporter)
        groups = [task_rows.examples[row].group for fold in task_folds for row in fold.test]
        yield ProbeRow(
            who=NETWORK,
            seed=seed,
            neighbourhood=None,
            logistic=measure_probe(predictions, seed),
            neighbours=None,
            groups=measure_groups(predictions, groups),
        )


def predict_folds(
    task: Task, task_folds: Sequence[Fold], seed: int, reporter: Reporter
) -> ProbePredictions:
    """Train a network per fold; return the predictions for the tested rows, fold by fold."""
    # A row without a base counts as one unknown base.
    unknown = np.full(1, NUM_REAL_BASES, dtype=np.uint8)
    codes = [
        encode_bases(example.sequence, where=f"task `{task.name}`: `{example.id}`")
        for example in task.examples
    ]
    codes = [row if row.size else unknown for row in codes]
    classes_N = class_numbers(task)
    probabilities = []
    for fold in task_folds:
        rows = _labelled_rows(task, codes, fold)
        loss = Loss(label_space=rows.label_space, weights=(1.0,) * len(task.classes))
        trainings = [
            NetworkTraining(
                rows=rows, loss=loss, both_strands=both_strands, metric=_METRIC, seed=seed
            )
            for both_strands in (True, False)
        ]
        fits = [(training, training.fit(reporter)) for training in trainings]
        best, network = max(
            fits, key=lambda fit: fit[0].evaluate(fit[1], VALIDATION)[0].sort_key(_METRIC)
        )
        probabilities.append(np.concatenate(best.evaluate(network, TEST)[1]))
    return ProbePredictions(
        targets_N=np.concatenate([classes_N[fold.test] for fold in task_folds]),
        probability_NC=np.concatenate(probabilities),
        strength=None,
    )


def _labelled_rows(task: Task, codes: Sequence[Codes], fold: Fold) -> LabelledRows:
    validation = fold.validation if fold.validation.size else fold.train
    return LabelledRows(
        name=task.name,
        examples=task.examples,
        codes=codes,
        targets=list(class_numbers(task)[:, None]),
        groups=[example.group for example in task.examples],
        splits={TRAIN: fold.train, VALIDATION: validation, TEST: fold.test},
        label_space=LabelSpace(kind=TaskKind.CLASSIFICATION, names=task.classes),
        official_split=task.has_split,
        count=task.count,
        duplicates=Duplicates(num_test=fold.test.size, num_same=0, num_reverse=0),
        notes=(),
    )
