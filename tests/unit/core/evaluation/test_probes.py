"""Probes: measures against scikit-learn's, splits against what they promise."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score, silhouette_score

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.kmers import kmer_frequencies, one_hot
from genomeformer_cli.core.evaluation.neighbourhood import (
    distances,
    draw_rows,
    expected_precision,
    neighbourhood,
    principal_axes,
)
from genomeformer_cli.core.evaluation.probe_metrics import mcc_gain, measure_probe
from genomeformer_cli.core.evaluation.probes import (
    LOGISTIC,
    NEIGHBOURS,
    ProbePredictions,
    draw_task_rows,
    folds,
    run_probe,
)
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.formats.labelled import Example
from genomeformer_cli.core.sequence import encode_bases
from tests.corpora import random_dna


def task(num: int, num_classes: int = 2, *, split: bool = False, groups: int = 0) -> Task:
    names = ("train", "train", "train", "val", "test")
    return Task(
        name="t",
        examples=tuple(
            Example(
                f"r{row}",
                random_dna(30, row),
                "abcdefg"[row % num_classes],
                names[row % 5] if split else "",
                f"g{row % groups}" if groups else "",
            )
            for row in range(num)
        ),
    )


def guesses(num: int, num_classes: int, seed: int) -> ProbePredictions:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, num_classes, num)
    given = generator.integers(1, 6, (num, num_classes)) + 2.0 * np.eye(num_classes)[truth]
    return ProbePredictions(
        targets_N=truth, probability_NC=given / given.sum(axis=1, keepdims=True), strength=None
    )


@pytest.mark.parametrize("num_classes", [2, 4])
def test_measures_are_those_of_scikit_learn(num_classes: int) -> None:
    tested = guesses(400, num_classes, 1)
    said = tested.probability_NC.argmax(axis=1)
    found = measure_probe(tested, 0)
    given = tested.probability_NC[:, 1] if num_classes == 2 else tested.probability_NC
    area = roc_auc_score(tested.targets_N, given, multi_class="ovr")
    assert found.accuracy.value == pytest.approx((said == tested.targets_N).mean())
    assert found.mcc.value == pytest.approx(matthews_corrcoef(tested.targets_N, said))
    assert found.auroc.value == pytest.approx(area)
    for one in (found.accuracy, found.mcc, found.auroc):
        assert one.low < one.value < one.high
    width = 2 * 1.96 * np.sqrt(found.accuracy.value * (1 - found.accuracy.value) / 400)
    assert found.accuracy.high - found.accuracy.low == pytest.approx(width, rel=0.15)


def test_a_gain_over_itself_is_nothing() -> None:
    tested = guesses(200, 2, 1)
    gain = mcc_gain(tested, tested, 0)
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_an_official_split_is_kept() -> None:
    labelled = task(100, split=True)
    (fold,) = folds(labelled, 0)
    splits = [one.split for one in labelled.examples]
    assert {splits[row] for row in fold.train} == {"train"}
    assert {splits[row] for row in fold.validation} == {"val"}
    assert {splits[row] for row in fold.test} == {"test"}
    fewer = labelled.take(draw_task_rows(labelled, 10, 0))
    assert [one.split for one in fewer.examples].count("train") == 10
    assert [one.split for one in fewer.examples].count("val") == 2
    assert [one.split for one in fewer.examples].count("test") == 20


def test_five_folds_test_every_row_once_and_keep_groups_together() -> None:
    labelled = task(120, groups=17)
    parts = folds(labelled, 3)
    tested = np.concatenate([fold.test for fold in parts])
    assert sorted(tested.tolist()) == list(range(120))
    for fold in parts:
        rows = [fold.train, fold.validation, fold.test]
        assert sum(one.size for one in rows) == 120
        group = [one.group for one in labelled.examples]
        inside = {group[row] for row in fold.test}
        assert not inside & {group[row] for row in (*fold.train, *fold.validation)}
    again = folds(labelled, 3)
    assert all(np.array_equal(a.test, b.test) for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize("probe", [LOGISTIC, NEIGHBOURS])
def test_a_probe_finds_signal_only_where_there_is_signal(probe: str) -> None:
    labelled = task(300)
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(300, 8)).astype(np.float32)
    told = noise.copy()
    told[::2, 0] += 6
    parts = folds(labelled, 0)
    right = measure_probe(run_probe(probe, told, labelled, parts), 0)
    wrong = measure_probe(run_probe(probe, noise, labelled, parts), 0)
    assert right.mcc.value > 0.9
    assert wrong.mcc.low < 0 < wrong.mcc.high


def test_sparse_and_dense_vectors_have_the_same_neighbours() -> None:
    labelled = task(150, 3)
    words = kmer_frequencies([encode_bases(one.sequence) for one in labelled.examples], 3)
    parts = folds(labelled, 0)
    sparse, dense = (
        run_probe(NEIGHBOURS, vectors, labelled, parts) for vectors in (words, words.toarray())
    )
    np.testing.assert_allclose(sparse.probability_NC, dense.probability_NC)
    table = words.toarray()
    for fold in parts[:1]:
        centred = table - table[fold.train].mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        truth = np.array([labelled.classes.index(one.label) for one in labelled.examples])
        for number, row in enumerate(fold.test):
            nearest = fold.train[np.argsort(-(unit[fold.train] @ unit[row]), kind="stable")[:10]]
            shares = np.bincount(truth[nearest], minlength=3) / 10
            assert sparse.probability_NC[number] == pytest.approx(shares)


def test_words_are_counted_without_n_and_in_order() -> None:
    sequences = [encode_bases("ACGTACN"), encode_bases("NNNNNNN")]
    shares = kmer_frequencies(sequences, 3).toarray()
    assert shares.shape == (2, 64)
    found = {int(place): float(shares[0, place]) for place in np.flatnonzero(shares[0])}
    # ACG, CGT, GTA, TAC, each once.
    assert found == {6: 0.25, 27: 0.25, 44: 0.25, 49: 0.25}
    assert not shares[1].any()
    where = one_hot(sequences)
    assert where is not None
    assert where.toarray()[0].reshape(7, 4).argmax(axis=1)[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert where.toarray().sum() == 6
    assert one_hot([encode_bases("AC"), encode_bases("A")]) is None


def test_sparse_kmers_can_be_probed() -> None:
    examples = tuple(
        Example(f"{row}", random_dna(40, row) + ("TATAAT" if row % 2 else ""), str(row % 2))
        for row in range(200)
    )
    labelled = Task(name="boxes", examples=examples)
    words = kmer_frequencies([encode_bases(one.sequence) for one in examples], 5)
    found = measure_probe(run_probe(LOGISTIC, words, labelled, folds(labelled, 0)), 0)
    assert found.mcc.low > 0.3


def test_neighbourhoods_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(1)
    classes = np.repeat([0, 1, 2], [14, 9, 12])
    vectors = generator.normal(size=(35, 6)).astype(np.float32)
    vectors[:, 0] += 2 * classes
    found = neighbourhood(vectors, classes, 0)
    apart = distances(vectors)
    shares, precisions = [], []
    for row in range(35):
        others = sorted((o for o in range(35) if o != row), key=lambda o: float(apart[row, o]))
        hits = [classes[o] == classes[row] for o in others]
        shares.append(np.mean(hits[:10]))
        precisions.append(
            np.mean([np.mean(hits[: rank + 1]) for rank, hit in enumerate(hits) if hit])
        )
    assert found.purity == pytest.approx(np.mean(shares))
    assert found.precision == pytest.approx(np.mean(precisions))
    np.fill_diagonal(apart, 0)
    silhouette = silhouette_score(apart, classes, metric="precomputed")
    assert found.silhouette == pytest.approx(silhouette, abs=1e-5)
    assert found.within < found.between
    assert found.p_value == 0.001


@pytest.mark.parametrize(("mates", "others"), [(1, 1), (1, 5), (2, 6), (3, 7), (5, 5), (4, 8)])
def test_the_chance_of_average_precision_is_that_of_all_orders(mates: int, others: int) -> None:
    found = [
        np.mean([number / rank for number, rank in enumerate(places, start=1)])
        for places in itertools.combinations(range(1, others + 1), mates)
    ]
    assert expected_precision(mates, others) == pytest.approx(np.mean(found))


@pytest.mark.parametrize(("classes", "rows"), [(2, 25), (10, 2), (30, 2)])
def test_case_audit_05_vectors_without_information_reach_the_chance_that_is_stated(
    classes: int, rows: int
) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), rows)
    found = [
        neighbourhood(generator.normal(size=(labels.size, 16)).astype(np.float32), labels, 0)
        for _ in range(12)
    ]
    precision = np.mean([one.precision for one in found])
    assert precision == pytest.approx(found[0].precision_chance, rel=0.15)
    purity = np.mean([one.purity for one in found])
    assert purity == pytest.approx(found[0].chance, rel=0.25)


@pytest.mark.parametrize(
    "sizes",
    [(2, 2), (28, 2), (3, 3), (7, 1, 4), (40, 2, 1), (2,) * 9],
    ids=lambda sizes: str(sizes),
)
@pytest.mark.parametrize("probe", [LOGISTIC, NEIGHBOURS])
def test_few_rows_of_a_class_are_probed_without_a_crash(probe: str, sizes: tuple[int, ...]) -> None:
    labels = [label for label, size in zip("abcdefghi", sizes, strict=False) for _ in range(size)]
    examples = tuple(Example(str(n), random_dna(20, n), one) for n, one in enumerate(labels))
    labelled = Task(name="few", examples=examples)
    vectors = np.random.default_rng(1).normal(size=(len(labels), 4)).astype(np.float32)
    parts = folds(labelled, 0)
    for fold in parts:
        assert len(set(np.array(labels)[fold.train])) > 1, "every probe has two classes to learn"
    tested = run_probe(probe, vectors, labelled, parts)
    assert tested.targets_N.size == len(labels), "every row is tested once"
    np.testing.assert_allclose(tested.probability_NC.sum(axis=1), 1)
    assert np.isfinite(measure_probe(tested, 0).mcc.value)


@pytest.mark.parametrize("labels", ["ab", "aaaab", "abc", "aaaa"])
def test_case_attack_14_too_few_rows_to_probe_are_refused(labels: str) -> None:
    examples = tuple(Example(str(n), random_dna(20, n), one) for n, one in enumerate(labels))
    with pytest.raises(InputError, match="too few to train"):
        folds(Task(name="few", examples=examples), 0)


def test_groups_that_are_fewer_than_folds_stay_whole() -> None:
    examples = tuple(
        Example(str(n), random_dna(20, n), "ab"[n % 2], "", f"g{n // 10}") for n in range(30)
    )
    parts = folds(Task(name="groups", examples=examples), 0)
    assert len(parts) == 3
    alone = tuple(replace(one, group="g") for one in examples)
    with pytest.raises(InputError, match="too few"):
        folds(Task(name="groups", examples=alone), 0)


def test_every_seed_draws_rows_of_its_own_and_all_test_rows() -> None:
    labelled = task(200, split=True)
    one, again, other = (set(draw_task_rows(labelled, 20, seed).tolist()) for seed in (0, 0, 1))
    assert one == again != other
    tests = {row for row, example in enumerate(labelled.examples) if example.split == "test"}
    assert tests <= one & other


def test_a_single_tested_row_has_no_interval() -> None:
    tested = ProbePredictions(
        targets_N=np.array([1]), probability_NC=np.array([[0.2, 0.8]]), strength=None
    )
    found = measure_probe(tested, 0)
    assert found.accuracy.value == 1
    assert not found.accuracy.is_known
    assert not mcc_gain(tested, tested, 0).is_known


def test_random_labels_are_not_significant() -> None:
    generator = np.random.default_rng(5)
    values = [
        neighbourhood(
            generator.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 2, seed
        ).p_value
        for seed in range(20)
    ]
    assert sum(value < 0.05 for value in values) <= 4
    assert max(values) > 0.5


def test_rows_are_drawn_in_shares_and_axes_explain_the_variance() -> None:
    classes = np.repeat([0, 1], [900, 100])
    rows = draw_rows(classes, 0, 100)
    assert np.bincount(classes[rows]).tolist() == [90, 10]
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32) * [9, 3, 0.1]
    points, shares = principal_axes(vectors.astype(np.float32))
    assert points.shape == (50, 2)
    assert shares[0] > shares[1] > 0
    assert sum(shares) > 0.99
