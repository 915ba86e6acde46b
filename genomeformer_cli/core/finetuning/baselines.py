"""Baselines of a fine-tuning: linear models of counts and places, and a network from scratch.

All are fitted to the same training rows. The strongest is selected by validation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning.inference import evaluate_predictions
from genomeformer_cli.core.finetuning.kmer_baseline import (
    BaselineFeatures,
    KmerBaseline,
    fit_linear,
)
from genomeformer_cli.core.finetuning.metrics import Floats, TaskScore, bootstrap_interval
from genomeformer_cli.core.finetuning.run import FinetuningRun
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.finetuning.stacking import prepare_network
from genomeformer_cli.core.finetuning.summary import BaselineResult
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.results import check_result, write_result

FOLDER = "baselines"
_NETWORK = "network-from-scratch"


def fit_baselines(
    finetuning: FinetuningRun, run: Path, reporter: Reporter
) -> tuple[BaselineResult, ...]:
    """Fit every baseline, or read its stored result.

    Raises:
        ConfigError: The task has labels of bases.
    """
    if finetuning.task.targets.is_per_base:
        raise ConfigError(
            "there are no baselines for labels of bases", hint="leave out `--set baselines=true`"
        )
    features_by_name = dict(_linear_features(finetuning))
    results = []
    for name in (*features_by_name, _NETWORK):
        path = run / FOLDER / f"{name}.json"
        if path.is_file():
            check_result(path)
        else:
            start = time.process_time()
            validation, test, predictions = (
                _fit_network(finetuning, run, reporter)
                if name == _NETWORK
                else _fit_linear(finetuning, features_by_name[name], reporter)
            )
            targets = [finetuning.rows.targets[row] for row in finetuning.rows.splits[TEST]]
            result = BaselineResult(
                name=name.replace("-", " "),
                validation=validation,
                test=test,
                interval=bootstrap_interval(
                    finetuning.task.targets,
                    predictions,
                    targets,
                    finetuning.report_metric,
                    seed=finetuning.config.training.seed,
                ),
                cpu_seconds=round(time.process_time() - start, 1),
            )
            path.parent.mkdir(exist_ok=True)
            write_result(path, asdict(result))
        results.append(from_plain(BaselineResult, read_json(path), where=str(path)))
    return tuple(results)


def _linear_features(finetuning: FinetuningRun) -> Iterator[tuple[str, BaselineFeatures]]:
    """Yield the name and the features of each linear model."""
    tuning, rows = finetuning.config.tuning, finetuning.rows
    length = max(rows.codes[row].size for row in rows.splits[TRAIN])
    kmers = BaselineFeatures(kind="kmers", k=tuning.kmer, length=length, both_strands=True)
    yield "kmers-of-both-strands", kmers
    yield "gapped-kmers", replace(kmers, kind="gapped")
    if tuning.strands == "given":
        yield "kmers", replace(kmers, both_strands=False)
        yield "places", replace(kmers, kind="places")
        yield "kmers-and-places", replace(kmers, kind="both")


def _fit_linear(
    finetuning: FinetuningRun, features: BaselineFeatures, reporter: Reporter
) -> tuple[TaskScore, TaskScore, list[Floats]]:
    rows, loss = finetuning.rows, finetuning.loss
    linear = KmerBaseline(features, len(rows.label_space.names))
    fit_linear(rows, features, loss, reporter).copy_to(linear)
    (validation, _), (test, predictions) = (
        evaluate_predictions(
            list(linear.outputs([rows.codes[row] for row in rows.splits[split]])[:, None]),
            rows,
            split,
            loss,
        )
        for split in (VALIDATION, TEST)
    )
    return validation, test, predictions


def _fit_network(
    finetuning: FinetuningRun, run: Path, reporter: Reporter
) -> tuple[TaskScore, TaskScore, list[Floats]]:
    training = prepare_network(finetuning, run, finetuning.config.training.seed)
    network = training.load_or_fit(reporter)
    validation, _ = training.evaluate(network, VALIDATION)
    return validation, *training.evaluate(network, TEST)
