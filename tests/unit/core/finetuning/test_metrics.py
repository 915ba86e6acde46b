"""Measures beside those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.metrics import (
    TaskScore,
    bootstrap_interval,
    choose_metric,
    task_metrics,
)

metrics = pytest.importorskip("sklearn.metrics")
GENERATOR = np.random.default_rng(5)


@pytest.mark.parametrize("number", [2, 4])
def test_classes_are_measured_as_by_scikit_learn(number: int) -> None:
    targets = LabelSpace(kind=TaskKind.CLASSIFICATION, names=tuple("abcd"[:number]))
    truth_N = GENERATOR.integers(0, number, 300)
    answers_NC = GENERATOR.dirichlet([0.7] * number, 300)
    answers_NC[np.arange(150), truth_N[:150]] += 1
    answers_NC /= answers_NC.sum(axis=1, keepdims=True)
    found = task_metrics(targets, list(answers_NC[:, None]), list(truth_N[:, None]))
    said_N = answers_NC.argmax(axis=1)
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth_N, said_N))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth_N, said_N))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth_N, said_N, average="macro"))
    scores = answers_NC[:, 1] if number == 2 else answers_NC
    expected = metrics.roc_auc_score(truth_N, scores, multi_class="ovr")
    assert found["auroc"] == pytest.approx(expected)


def test_bases_without_a_label_do_not_count() -> None:
    targets = LabelSpace(kind=TaskKind.PER_BASE, names=("a", "b"))
    answers = [np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]), np.array([[0.3, 0.7]])]
    found = task_metrics(targets, answers, [np.array([0, 1, -1]), np.array([0])])
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_several_labels_are_the_mean_of_those_that_can_be_judged() -> None:
    targets = LabelSpace(kind=TaskKind.MULTI_LABEL, names=("a", "b", "none"))
    truth_NC = np.stack([GENERATOR.integers(0, 2, 80), GENERATOR.integers(0, 2, 80), np.zeros(80)])
    truth_NC = truth_NC.T.astype(np.float32)
    answers_NC = GENERATOR.random((80, 3))
    found = task_metrics(targets, list(answers_NC[:, None]), list(truth_NC))
    expected = [metrics.roc_auc_score(truth_NC[:, c], answers_NC[:, c]) for c in (0, 1)]
    assert found["auroc"] == pytest.approx(np.mean(expected))


def test_quantities_are_measured_in_their_own_units() -> None:
    targets = LabelSpace(kind=TaskKind.REGRESSION, names=("x",), means=(10.0,), spreads=(4.0,))
    truth_N = GENERATOR.normal(10, 4, 60)
    said_N = truth_N + GENERATOR.normal(0, 2, 60)
    found = task_metrics(
        targets, list(said_N[:, None, None]), list(((truth_N - 10) / 4).astype("f4")[:, None])
    )
    assert found["r2"] == pytest.approx(metrics.r2_score(truth_N, said_N), abs=1e-5)
    expected = metrics.mean_squared_error(truth_N, said_N) ** 0.5
    assert found["rmse"] == pytest.approx(expected, rel=1e-5)
    assert found["pearson"] == pytest.approx(np.corrcoef(truth_N, said_N)[0, 1], abs=1e-5)
    one_N, other_N = (values.argsort().argsort() for values in (truth_N, said_N))
    assert found["spearman"] == pytest.approx(np.corrcoef(one_N, other_N)[0, 1], abs=1e-5)


def test_what_is_undefined_is_missing_and_never_the_best() -> None:
    targets = LabelSpace(kind=TaskKind.CLASSIFICATION, names=("a", "b"))
    found = task_metrics(targets, [np.array([[0.9, 0.1]])] * 3, [np.array([0])] * 3)
    assert "auroc" not in found
    score = TaskScore(loss=0.1, measures=found, num_rows=3)
    assert score.sort_key("auroc") < TaskScore(
        loss=9.0, measures={"auroc": 0.1}, num_rows=3
    ).sort_key("auroc")
    assert score.sort_key("loss") > TaskScore(loss=0.2, num_rows=3).sort_key("loss")
    alike = TaskScore(loss=0.2, measures={"mcc": 0.0}, num_rows=3)
    assert score.sort_key("mcc") > alike.sort_key("mcc"), "of the same measure, the smaller loss"


def test_metrics_are_those_of_the_kind() -> None:
    numbers = LabelSpace(kind=TaskKind.REGRESSION, names=("x",))
    assert choose_metric(numbers, "") == "r2"
    with pytest.raises(ConfigError, match="invalid metric"):
        choose_metric(numbers, "mcc")


def test_an_interval_holds_its_value_and_shrinks_with_rows() -> None:
    targets = LabelSpace(kind=TaskKind.CLASSIFICATION, names=("a", "b"))
    widths = []
    for number in (40, 1_000):
        truth = [np.array([n % 2]) for n in range(number)]
        answers = [
            np.array([[0.8, 0.2]]) if n % 5 else np.array([[0.1, 0.9]]) for n in range(number)
        ]
        found = bootstrap_interval(targets, answers, truth, "accuracy", seed=0)
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3
