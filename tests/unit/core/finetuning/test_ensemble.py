"""Ensembles: means by hand, and models of other labels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.finetuning.ensemble import (
    Ensemble,
    check_same_labels,
    evaluate_ensemble,
)
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.losses import to_outputs, to_predictions
from genomeformer_cli.core.finetuning.metrics import task_metrics
from genomeformer_cli.core.finetuning.run import load_best_model, train_seed
from genomeformer_cli.core.reporting import SilentReporter
from tests.unit.core.finetuning.test_run import base, tuning_of

__all__ = ["base"]


def test_the_mean_of_two_seeds_is_scored_and_predicted(base: Path, tmp_path: Path) -> None:
    tuning = tuning_of(base, {"training": {"steps": 6}})
    results = [
        train_seed(tuning, tmp_path, "pretrained", seed, SilentReporter()) for seed in (0, 1)
    ]
    found = evaluate_ensemble(tuning, tmp_path, results)
    assert found is not None
    members = [
        tuning.predictor(load_best_model(tuning, tmp_path, result).model) for result in results
    ]
    rows = tuning.rows.splits["test"]
    codes = [tuning.rows.codes[row] for row in rows]
    by_hand = [
        (one + other) / 2
        for one, other in zip(*(member.predict(codes) for member in members), strict=True)
    ]
    targets = [tuning.rows.targets[row] for row in rows]
    assert found.test.measures == task_metrics(tuning.task.targets, by_hand, targets)
    numbers = [int(np.ravel(target)[0]) for target in targets]
    probabilities = np.concatenate(by_hand)[np.arange(len(numbers)), numbers]
    assert found.test.loss == pytest.approx(-np.log(probabilities).mean())
    assert found.num_members == 2
    assert evaluate_ensemble(tuning, tmp_path, results[:1]) is None
    ensemble = Ensemble(members=tuple(members))
    done: list[int] = []
    for row, expected in zip(ensemble.predict(codes, done.append), by_hand, strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert sum(done) == 2 * sum(row.size for row in codes)


@pytest.mark.parametrize(
    "kind", [TaskKind.CLASSIFICATION, TaskKind.MULTI_LABEL, TaskKind.REGRESSION]
)
def test_outputs_of_predictions_have_these_predictions(kind: TaskKind) -> None:
    space = LabelSpace(kind=kind, names=("a", "b"), means=(1.0, 2.0), spreads=(3.0, 0.5))
    outputs_BC = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    predictions_BC = to_predictions(space, outputs_BC)
    again_BC = to_predictions(space, to_outputs(space, predictions_BC))
    np.testing.assert_allclose(again_BC, predictions_BC, atol=1e-12)
    certain = to_outputs(space, np.array([[0.0, 1.0]]))
    assert torch.isfinite(certain).all()


def test_models_of_other_labels_are_refused() -> None:
    space = LabelSpace(kind=TaskKind.CLASSIFICATION, names=("a", "b"))
    check_same_labels({"x": space, "y": LabelSpace(**asdict(space))})
    for other in (
        LabelSpace(kind=TaskKind.CLASSIFICATION, names=("b", "a")),
        LabelSpace(kind=TaskKind.MULTI_LABEL, names=("a", "b")),
    ):
        with pytest.raises(UsageError, match="different labels"):
            check_same_labels({"x": space, "y": other})
