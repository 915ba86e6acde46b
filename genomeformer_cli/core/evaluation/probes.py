"""What can be read off frozen vectors: logistic regression and nearest neighbours, with intervals.

With an official split a probe learns from `train`, its strength of regularisation is chosen on
`val` (a fifth of `train` if there is none), and it is tested on `test`. Without one, rows are split
five ways (fewer where a class has fewer rows), groups kept together, each part tested by a probe of
the others. Intervals are of a bootstrap over tested rows: they do not cover other training rows,
which several seeds show where rows are drawn.
Shape letters: N rows, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.evaluation.token_scores import (
    NUM_SAMPLES,
    Interval,
    percentile_interval,
    without_interval,
)

LOGISTIC, NEIGHBOURS = "logistic", "neighbours"
PROBES = (LOGISTIC, NEIGHBOURS)
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
NUM_NEIGHBOURS = 10
NUM_FOLDS = 5
_ROWS_AT_ONCE = 256

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ProbePredictions:
    """What a probe says of rows that it has not learned from.

    Attributes:
        targets_N: Class of each row.
        probability_NC: What the probe gives each class.
        strength: Regularisation that was chosen, inverse; None for neighbours and where folds
            chose differently.
    """

    targets_N: Rows
    probability_NC: npt.NDArray[np.float64]
    strength: float | None


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Rows to learn from, to choose on, to be tested on."""

    train: Rows
    validation: Rows
    test: Rows


def class_numbers(task: Task) -> Rows:
    """Return the class of every row, as an index into `task.classes`."""
    index = {label: number for number, label in enumerate(task.classes)}
    return np.array([index[one.label] for one in task.examples], dtype=np.int64)


def draw_task_rows(task: Task, most: int, seed: int) -> Rows:
    """Draw at most `most` rows to learn from and a fifth of that to choose on, and all test rows.

    Without an official split every row is tested in turn: all rows are drawn from alike.
    """
    generator = np.random.default_rng([seed, 3])
    limits = {"train": most, "val": most // 5} if task.has_split else {"": most * 5 // 4}
    kept = np.ones(len(task.examples), dtype=np.bool_)
    splits = np.array([one.split if task.has_split else "" for one in task.examples])
    for split, limit in limits.items():
        rows = np.flatnonzero(splits == split)
        if rows.size > limit:
            kept[rows] = False
            kept[generator.choice(rows, limit, replace=False)] = True
    return np.flatnonzero(kept)


def folds(task: Task, seed: int) -> list[Fold]:
    """Return the official split of a task, or at most five folds drawn with a seed.

    Raises:
        InputError: Too few rows of a class, or groups, to learn from some and test others.
    """
    generator = np.random.default_rng([seed, 5])
    truth_N = class_numbers(task)
    if task.has_split:
        splits = np.array([one.split for one in task.examples])
        train, choose = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
        parts = [(train, choose, np.flatnonzero(splits == "test"))]
    else:
        nothing = np.empty(0, dtype=np.int64)
        parts = [(train, nothing, test) for train, test in _drawn_folds(task, generator)]
    result = []
    for train, choose, test in parts:
        if not choose.size:
            shuffled = generator.permutation(train)
            choose, train = shuffled[: train.size // 5], shuffled[train.size // 5 :]
            # Every class that can be learned stays among the rows to learn from.
            lost = np.setdiff1d(truth_N[choose], truth_N[train])
            back = np.array([choose[truth_N[choose] == label][0] for label in lost], dtype=np.int64)
            train, choose = np.concatenate([train, back]), np.setdiff1d(choose, back)
        result.append(Fold(train=np.sort(train), validation=np.sort(choose), test=test))
    return result


def _drawn_folds(task: Task, generator: np.random.Generator) -> Iterator[tuple[Rows, Rows]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    truth_N = class_numbers(task)
    groups = [one.group for one in task.examples]
    names = [group or f"row {row}" for row, group in enumerate(groups)] if any(groups) else []
    sizes_C = np.bincount(truth_N)
    number = min(NUM_FOLDS, int(sizes_C.max())) if (sizes_C > 1).sum() > 1 else 0
    number = min(number, len(set(names))) if names else number
    if number < 2:
        raise InputError(
            f"`{task.name}` has {truth_N.size} rows, too few to learn from some and test others",
            hint="at least two classes of two rows each are needed, of two groups if there are any",
        )
    seed = int(generator.integers(1 << 31))
    zeros_N = np.zeros(truth_N.size)
    with warnings.catch_warnings():
        # A class of fewer rows than folds is tested in as many folds as it has rows.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        if names:
            splitter: Any = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
            parts = list(splitter.split(zeros_N, truth_N, names))
        else:
            splitter = StratifiedKFold(number, shuffle=True, random_state=seed)
            parts = list(splitter.split(zeros_N, truth_N))
    yield from ((train, test) for train, test in parts if train.size and test.size)


def run_probe(probe: str, vectors: Any, task: Task, parts: Sequence[Fold]) -> ProbePredictions:
    """Learn from and test on every fold.

    Args:
        probe: `logistic` or `neighbours`.
        vectors: (N, E) dense or sparse.
        task: Whose rows.
        parts: From `folds`.
    """
    truth_N = class_numbers(task)
    number = len(task.classes)
    probabilities: list[npt.NDArray[np.float64]] = []
    strengths: set[float] = set()
    for fold in parts:
        if probe == NEIGHBOURS:
            learned, asked = vectors[fold.train], vectors[fold.test]
            probabilities.append(_votes(learned, asked, truth_N[fold.train], number))
            continue
        learned_classes = np.unique(truth_N[fold.train])
        if learned_classes.size == 1:
            probabilities.append(np.eye(number)[np.repeat(learned_classes, fold.test.size)])
            continue
        scaler = _scaler(vectors[fold.train])
        parted = {"train": fold.train, "choose": fold.validation, "test": fold.test}
        scaled = {
            part: scaler.transform(vectors[rows]) for part, rows in parted.items() if rows.size
        }
        model, strength = _learned(scaled, truth_N[fold.train], truth_N[fold.validation])
        given = model.predict_proba(scaled["test"])
        whole = np.zeros((fold.test.size, number))
        whole[:, model.classes_] = given
        probabilities.append(whole)
        strengths.add(strength)
    return ProbePredictions(
        targets_N=truth_N[np.concatenate([fold.test for fold in parts])],
        probability_NC=np.concatenate(probabilities),
        strength=strengths.pop() if len(strengths) == 1 else None,
    )


def _scaler(vectors: Any) -> Any:
    """Unit variance of every feature; a zero of a sparse table stays one."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(with_mean=isinstance(vectors, np.ndarray)).fit(vectors)


def _votes(learned: Any, asked: Any, classes_N: Rows, number: int) -> npt.NDArray[np.float64]:
    """Shares of the classes among the nearest rows, by the cosine of centred vectors.

    Scaled to unit variance, rare words would count most, and k-mers do worse. Tables of words stay
    sparse: their mean is taken away in the products, (x - m)(y - m) = xy - xm - my + mm.
    """
    mean_E = np.asarray(learned.mean(axis=0), dtype=np.float64).reshape(-1)
    learned, asked = learned.astype(np.float64), asked.astype(np.float64)
    if isinstance(learned, np.ndarray):
        learned, asked, mean_E = learned - mean_E, asked - mean_E, np.zeros_like(mean_E)
    along_N, square = learned @ mean_E, float(mean_E @ mean_E)
    lengths_N = np.sqrt(np.maximum(_squares(learned) - 2 * along_N + square, 1e-12))
    member_NC = np.eye(number)[classes_N]
    votes = []
    for first in range(0, asked.shape[0], _ROWS_AT_ONCE):
        some = asked[first : first + _ROWS_AT_ONCE]
        product = some @ learned.T
        product = product if isinstance(product, np.ndarray) else product.toarray()
        likeness = (product - (some @ mean_E)[:, None] - along_N + square) / lengths_N
        nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
        votes.append(member_NC[nearest].mean(axis=1))
    return np.concatenate(votes)


def _squares(vectors: Any) -> npt.NDArray[np.float64]:
    return np.asarray((vectors * vectors).sum(axis=1), dtype=np.float64).reshape(-1)


def _learned(scaled: dict[str, Any], train_N: Rows, choose_N: Rows) -> tuple[Any, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, float, Any] | None = None
    # Too few rows to choose on: scikit-learn's own strength.
    strengths = STRENGTHS if choose_N.size else (1.0,)
    model: Any = LogisticRegression(tol=1e-3, max_iter=300, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            # A weakly regularised probe that is stopped early is still a probe to choose among.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Classes of one or two rows are still classes.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            model.set_params(C=strength).fit(scaled["train"], train_N)
        found = 0.0
        if choose_N.size:
            found = float((model.predict(scaled["choose"]) == choose_N).mean())
        if best is None or found > best[0]:
            best = (found, strength, (model.coef_.copy(), model.intercept_.copy()))
    assert best is not None
    _, strength, (coefficients, intercept) = best
    model.coef_, model.intercept_ = coefficients, intercept
    return model, strength


@dataclass(frozen=True, kw_only=True)
class ProbeMetrics:
    """How good a probe is.

    Attributes:
        accuracy: Part of the rows whose most probable class is the true one.
        mcc: Matthews correlation; of several classes Gorodkin's (2004).
        auroc: Area under the ROC curve; of several classes the mean of one against the rest, over
            the classes among the tested rows.
        num_rows: Judged.
    """

    accuracy: Interval
    mcc: Interval
    auroc: Interval
    num_rows: int


def measure_probe(tested: ProbePredictions, seed: int) -> ProbeMetrics:
    """Measures with bootstrap intervals."""
    judge = _Judge(tested)
    values = judge.measures(np.ones(tested.targets_N.size))
    if tested.targets_N.size < 2:
        accuracy, mcc, auroc = (without_interval(value) for value in values)
        return ProbeMetrics(accuracy=accuracy, mcc=mcc, auroc=auroc, num_rows=1)
    samples = np.array([judge.measures(weights) for weights in _draws(tested, seed)])
    accuracy, mcc, auroc = (
        percentile_interval(value, samples[:, i]) for i, value in enumerate(values)
    )
    return ProbeMetrics(
        accuracy=accuracy, mcc=mcc, auroc=auroc, num_rows=int(tested.targets_N.size)
    )


def mcc_gain(tested: ProbePredictions, other: ProbePredictions, seed: int) -> Interval:
    """How much better the Matthews correlation is than another's on the same rows."""
    one, two = _Judge(tested), _Judge(other)
    ones = np.ones(tested.targets_N.size)
    if ones.size < 2:
        return without_interval(one.mcc(ones) - two.mcc(ones))
    samples = np.array([one.mcc(w) - two.mcc(w) for w in _draws(tested, seed)])
    return percentile_interval(one.mcc(ones) - two.mcc(ones), samples)


def _draws(tested: ProbePredictions, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each row is drawn, a bootstrap sample after the other."""
    generator = np.random.default_rng([seed, 7])
    number = tested.targets_N.size
    for _ in range(NUM_SAMPLES):
        drawn = generator.integers(0, number, number)
        yield np.bincount(drawn, minlength=number).astype(np.float64)


class _Judge:
    """Measures of rows with weights; what weights do not change is worked out once."""

    def __init__(self, tested: ProbePredictions) -> None:
        self._truth_N = tested.targets_N
        self._num_classes = tested.probability_NC.shape[1]
        said_N = tested.probability_NC.argmax(axis=1)
        self._pair_N = tested.targets_N * self._num_classes + said_N
        self._curves = []
        columns = [1] if self._num_classes == 2 else range(self._num_classes)
        for column in columns:
            scores_N = tested.probability_NC[:, column]
            _, rank_N = np.unique(scores_N, return_inverse=True)
            self._curves.append((rank_N, tested.targets_N == column))

    def _confusion(self, weights_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        number = self._num_classes
        flat = np.bincount(self._pair_N, weights=weights_N, minlength=number * number)
        return flat.astype(np.float64).reshape(number, number)

    def mcc(self, weights_N: npt.NDArray[np.float64]) -> float:
        return correlation(self._confusion(weights_N))

    def measures(self, weights_N: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        confusion = self._confusion(weights_N)
        areas = [area_under_curve(rank_N, is_N, weights_N) for rank_N, is_N in self._curves]
        accuracy = float(np.trace(confusion) / confusion.sum())
        known = [area for area in areas if np.isfinite(area)]
        return accuracy, correlation(confusion), float(np.mean(known)) if known else float("nan")


def correlation(confusion_CC: npt.NDArray[np.float64]) -> float:
    """Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation"."""
    total = confusion_CC.sum()
    true_C, said_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    covariance = np.trace(confusion_CC) * total - true_C @ said_C
    spread = (total**2 - true_C @ true_C) * (total**2 - said_C @ said_C)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def area_under_curve(
    rank_N: npt.NDArray[np.int64],
    is_N: npt.NDArray[np.bool_],
    weights_N: npt.NDArray[np.float64],
) -> float:
    """Chance that a row of the class scores above one that is not, ties counting half."""
    number = int(rank_N.max()) + 1
    inside = np.bincount(rank_N, weights=weights_N * is_N, minlength=number)
    outside = np.bincount(rank_N, weights=weights_N * ~is_N, minlength=number)
    pairs = inside.sum() * outside.sum()
    below = np.cumsum(outside) - outside / 2
    return float(inside @ below / pairs) if pairs else float("nan")
