"""Metrics of classes against scikit-learn, with and without weights, on scores with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

from genomeformer_cli.core.evaluation import class_metrics
from genomeformer_cli.core.evaluation.class_metrics import (
    area_under_curve,
    average_precision,
    correlation,
    draw_counts,
    macro_f1,
)
from genomeformer_cli.core.evaluation.probe_metrics import measure_groups, measure_probe
from genomeformer_cli.core.evaluation.probes import ProbePredictions


def ranks(scores: np.ndarray) -> np.ndarray:
    return np.unique(scores, return_inverse=True)[1]


@given(seed=st.integers(0, 10_000), size=st.integers(2, 40), levels=st.integers(1, 12))
def test_average_precision_with_ties_and_weights(seed: int, size: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, size).astype(float)
    is_class = generator.random(size) < 0.4
    weights = generator.integers(0, 4, size).astype(float)
    found = average_precision(ranks(scores), is_class, weights)
    if not weights[is_class].sum():
        assert np.isnan(found)
        return
    expected = average_precision_score(is_class, scores, sample_weight=weights)
    assert found == pytest.approx(expected)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 40), classes=st.integers(2, 5))
def test_macro_f1(seed: int, size: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    true, predicted = generator.integers(0, classes, (2, size))
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (true, predicted), 1)
    assert macro_f1(confusion) == pytest.approx(f1_score(true, predicted, average="macro"))


@given(seed=st.integers(0, 10_000), size=st.integers(1, 30), levels=st.integers(1, 9))
def test_samples_have_the_metrics_of_each_alone(seed: int, size: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    rank_N, is_N = ranks(generator.integers(0, levels, size)), generator.random(size) < 0.4
    weights_SN = generator.integers(0, 3, (4, size)).astype(float)
    confusion_SCC = generator.integers(0, 3, (4, 3, 3)).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_metrics, "_WEIGHTS_PER_BATCH", 3 * size)
        few = list(draw_counts(size, np.random.default_rng(1), num_samples=7, num_rows=size))
    (whole,) = draw_counts(size, np.random.default_rng(1), num_samples=7, num_rows=size)
    np.testing.assert_array_equal(np.concatenate(few), whole)
    assert (whole.sum(axis=1) == size).all()
    for area in (area_under_curve, average_precision):
        alone = [area(rank_N, is_N, weights_N) for weights_N in weights_SN]
        np.testing.assert_allclose(area(rank_N, is_N, weights_SN), alone)
    for metric in (correlation, macro_f1):
        np.testing.assert_allclose(metric(confusion_SCC), [metric(one) for one in confusion_SCC])


def predictions(seed: int, size: int) -> ProbePredictions:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, size)
    probability = np.clip(0.3 * targets + 0.7 * generator.random(size), 0, 1)
    return ProbePredictions(
        targets_N=targets,
        probability_NC=np.stack([1 - probability, probability], axis=1),
        strength=None,
    )


def test_a_probe_has_both_areas_and_f1() -> None:
    made = predictions(3, 60)
    found = measure_probe(made, 0)
    scores = made.probability_NC[:, 1]
    assert found.auprc.value == pytest.approx(average_precision_score(made.targets_N, scores))
    expected = f1_score(made.targets_N, scores > 0.5, average="macro")
    assert found.f1.value == pytest.approx(expected)
    for interval in (found.auprc, found.f1):
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= interval.value <= interval.high


def test_metrics_per_group() -> None:
    made = predictions(5, 90)
    groups = [f"genome{row % 3}" for row in range(60)] + ["one class"] * 30
    made.targets_N[60:] = 0
    found = measure_groups(made, groups)
    assert found is not None
    assert (found.num_groups, found.num_both) == (4, 3)
    correlations, areas, precisions = [], [], []
    for group in sorted(set(groups)):
        rows = [row for row, name in enumerate(groups) if name == group]
        true, scores = made.targets_N[rows], made.probability_NC[rows, 1]
        correlations.append(matthews_corrcoef(true, scores > 0.5))
        if true.any():
            areas.append(roc_auc_score(true, scores))
            precisions.append(average_precision_score(true, scores))
    assert found.mean_mcc == pytest.approx(np.mean(correlations))
    assert found.median_auroc == pytest.approx(np.median(areas))
    assert found.median_auprc == pytest.approx(np.median(precisions))


def test_rows_without_groups_have_no_metrics_of_groups() -> None:
    made = predictions(5, 6)
    assert measure_groups(made, [""] * 6) is None
    assert measure_groups(made, ["a", "", "a", "a", "b", "b"]) is None
