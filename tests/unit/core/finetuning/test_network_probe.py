"""The network beside the probes: the rows and folds of the probes, and a motif that it finds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genomeformer_cli.core.evaluation.duplicates import Duplicates
from genomeformer_cli.core.evaluation.probes import class_numbers, folds
from genomeformer_cli.core.evaluation.probing import ProbingConfig, ProbingResult
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.finetuning import network_probe, network_training
from genomeformer_cli.core.finetuning.network_probe import (
    NETWORK,
    evaluate_labelled,
    predict_folds,
)
from genomeformer_cli.core.formats.labelled import Example, RowCount
from genomeformer_cli.core.reporting import SilentReporter
from tests.corpora import random_dna


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_training, "NUM_FILTERS", 16)
    monkeypatch.setattr(network_training, "_BATCH", 16)


def task(num: int, *, split: bool) -> Task:
    names = ("train", "train", "val", "test")
    examples = []
    for row in range(num):
        letters = random_dna(24, row)
        if row % 8 < 4:
            letters = letters[:5] + "TGACTCAGCATG" + letters[17:]
        examples.append(
            Example(f"r{row}", letters, "ba"[row % 8 < 4], names[row % 4] if split else "")
        )
    examples[3] = Example("short", "N" if split else "", "b", examples[3].split)
    return Task(name="t", examples=tuple(examples), count=RowCount(read=num, used=num))


@pytest.mark.parametrize("split", [True, False])
def test_the_network_predicts_the_tested_rows_of_every_fold(
    monkeypatch: pytest.MonkeyPatch, *, split: bool
) -> None:
    monkeypatch.setattr(network_training, "MAX_EPOCHS", 8 if split else 1)
    one = task(160 if split else 25, split=split)
    task_folds = folds(one, 1)[:2]
    found = predict_folds(one, task_folds, 1, SilentReporter())
    tested = np.concatenate([fold.test for fold in task_folds])
    assert np.array_equal(found.targets_N, class_numbers(one)[tested])
    assert found.probability_NC.shape == (tested.size, 2)
    np.testing.assert_allclose(found.probability_NC.sum(axis=1), 1)
    if split:
        assert (found.probability_NC.argmax(axis=1) == found.targets_N).mean() > 0.8
    again = predict_folds(one, task_folds[:1], 1, SilentReporter())
    assert np.array_equal(again.probability_NC, found.probability_NC[: task_folds[0].test.size])


def test_a_row_of_the_network_joins_those_of_the_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_training, "MAX_EPOCHS", 1)
    one = task(64, split=True)
    plain = ProbingResult(
        name="t",
        suite="",
        metrics=(),
        classes=one.classes,
        num_rows=64,
        num_trained=32,
        official_split=True,
        count=one.count,
        duplicates=Duplicates(num_test=16, num_same=0, num_reverse=0),
        rows=(),
    )
    monkeypatch.setattr(network_probe, "evaluate_task", lambda *given: plain)
    model: Any = SimpleNamespace()
    assert evaluate_labelled(model, one, ProbingConfig(), SilentReporter()) is plain
    config = ProbingConfig(network=True, num_seeds=2)
    rows = evaluate_labelled(model, one, config, SilentReporter()).rows
    assert [(row.who, row.seed, row.neighbours) for row in rows] == [
        (NETWORK, 0, None),
        (NETWORK, 1, None),
    ]
    assert rows[0].logistic.num_rows == 16
