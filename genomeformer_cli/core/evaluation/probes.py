"""Probes of frozen vectors: logistic regression and nearest neighbours.

With an official split a probe is fitted on `train`, its regularisation strength is selected on
`val` (a fifth of `train` if absent), and it is tested on `test`. Without a split, rows are divided
into five folds (fewer if a class has fewer rows), groups kept together, and each fold is tested by
a probe of the others.
Shape letters: N rows, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import Task

LOGISTIC, NEIGHBOURS = "logistic", "neighbours"
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
NUM_NEIGHBOURS = 10
NUM_FOLDS = 5
_ROWS_PER_BATCH = 256

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ProbePredictions:
    """Predictions of a probe on rows that it was not fitted on."""

    targets_N: Rows  # Class of each row.
    probability_NC: npt.NDArray[np.float64]  # Predicted probability of each class.
    # Selected inverse regularisation strength; None for neighbours, and if folds selected different
    # strengths.
    strength: float | None

    def rows(self, rows: slice | Rows) -> ProbePredictions:
        """Return the predictions of some rows."""
        return replace(
            self, targets_N=self.targets_N[rows], probability_NC=self.probability_NC[rows]
        )


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Rows for fitting, for model selection and for testing."""

    train: Rows
    validation: Rows
    test: Rows


def class_numbers(task: Task) -> Rows:
    """Return the class of every row, as an index into `task.classes`."""
    index = {label: number for number, label in enumerate(task.classes)}
    return np.array([index[example.label] for example in task.examples], dtype=np.int64)


def draw_task_rows(task: Task, max_rows: int, seed: int) -> Rows:
    """Draw at most `most` training rows and a fifth as many validation rows; keep all test rows.

    Without an official split every row is tested in turn, and rows are drawn from all alike.
    """
    generator = np.random.default_rng([seed, 3])
    limits = (
        {"train": max_rows, "val": max_rows // 5} if task.has_split else {"": max_rows * 5 // 4}
    )
    is_kept = np.ones(len(task.examples), dtype=np.bool_)
    splits = np.array([example.split if task.has_split else "" for example in task.examples])
    for split, limit in limits.items():
        rows = np.flatnonzero(splits == split)
        if rows.size > limit:
            is_kept[rows] = False
            is_kept[generator.choice(rows, limit, replace=False)] = True
    return np.flatnonzero(is_kept)


def folds(task: Task, seed: int) -> list[Fold]:
    """Return the official split of a task, or at most five folds drawn with a seed.

    Raises:
        InputError: A task has too few rows per class, or too few groups, to train and test.
    """
    generator = np.random.default_rng([seed, 5])
    targets_N = class_numbers(task)
    if task.has_split:
        splits = np.array([example.split for example in task.examples])
        train, validation = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
        splits_of_rows = [(train, validation, np.flatnonzero(splits == "test"))]
    else:
        no_rows = np.empty(0, dtype=np.int64)
        splits_of_rows = [(train, no_rows, test) for train, test in _draw_folds(task, generator)]
    result = []
    for train, validation, test in splits_of_rows:
        if not validation.size:
            shuffled = generator.permutation(train)
            validation, train = shuffled[: train.size // 5], shuffled[train.size // 5 :]
            # Every class keeps at least one training row.
            missing_classes = np.setdiff1d(targets_N[validation], targets_N[train])
            returned = np.array(
                [validation[targets_N[validation] == label][0] for label in missing_classes],
                dtype=np.int64,
            )
            train, validation = (
                np.concatenate([train, returned]),
                np.setdiff1d(validation, returned),
            )
        result.append(Fold(train=np.sort(train), validation=np.sort(validation), test=test))
    return result


def _draw_folds(task: Task, generator: np.random.Generator) -> Iterator[tuple[Rows, Rows]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    targets_N = class_numbers(task)
    groups = [example.group for example in task.examples]
    names = [group or f"row {row}" for row, group in enumerate(groups)] if any(groups) else []
    sizes_C = np.bincount(targets_N)
    num_folds = min(NUM_FOLDS, int(sizes_C.max())) if (sizes_C > 1).sum() > 1 else 0
    num_folds = min(num_folds, len(set(names))) if names else num_folds
    if num_folds < 2:
        raise InputError(
            f"`{task.name}` has {targets_N.size} rows, too few to train and test",
            hint="at least two classes of two rows each are needed, of two groups if there are any",
        )
    seed = int(generator.integers(1 << 31))
    zeros_N = np.zeros(targets_N.size)
    with warnings.catch_warnings():
        # A class of fewer rows than folds is tested in as many folds as it has rows.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        if names:
            splitter: Any = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
            row_splits = list(splitter.split(zeros_N, targets_N, names))
        else:
            splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
            row_splits = list(splitter.split(zeros_N, targets_N))
    yield from ((train, test) for train, test in row_splits if train.size and test.size)


def run_probe(
    probe: str, vectors: Any, task: Task, folds: Sequence[Fold], *, is_scaled: bool = True
) -> ProbePredictions:
    """Fit and test a probe on every fold.

    Args:
        probe: `logistic` or `neighbours`.
        vectors: Dense or sparse array (N, E).
        task: Task with the classes of the rows.
        folds: Folds, from `folds`.
        is_scaled: Scale the features to unit variance for logistic regression; rare k-mers are
            better left as they are.
    """
    targets_N = class_numbers(task)
    num_classes = len(task.classes)
    probabilities: list[npt.NDArray[np.float64]] = []
    strengths: set[float] = set()
    for fold in folds:
        if probe == NEIGHBOURS:
            train_vectors, test_vectors = vectors[fold.train], vectors[fold.test]
            probabilities.append(
                _votes(train_vectors, test_vectors, targets_N[fold.train], num_classes)
            )
            continue
        train_classes = np.unique(targets_N[fold.train])
        if train_classes.size == 1:
            probabilities.append(np.eye(num_classes)[np.repeat(train_classes, fold.test.size)])
            continue
        scaler = _scaler(vectors[fold.train]) if is_scaled else None
        rows_by_split = {"train": fold.train, "val": fold.validation, "test": fold.test}
        scaled = {
            split: scaler.transform(vectors[rows]) if scaler else vectors[rows]
            for split, rows in rows_by_split.items()
            if rows.size
        }
        model, strength = _fit_logistic(scaled, targets_N[fold.train], targets_N[fold.validation])
        test_probabilities = model.predict_proba(scaled["test"])
        all_probabilities = np.zeros((fold.test.size, num_classes))
        all_probabilities[:, model.classes_] = test_probabilities
        probabilities.append(all_probabilities)
        strengths.add(strength)
    return ProbePredictions(
        targets_N=targets_N[np.concatenate([fold.test for fold in folds])],
        probability_NC=np.concatenate(probabilities),
        strength=strengths.pop() if len(strengths) == 1 else None,
    )


def _scaler(vectors: Any) -> Any:
    """Fit a scaler to unit variance of every feature; zeros of a sparse table stay zero."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(with_mean=isinstance(vectors, np.ndarray)).fit(vectors)


def _votes(
    train_vectors: Any, test_vectors: Any, classes_N: Rows, num_classes: int
) -> npt.NDArray[np.float64]:
    """Return the class frequencies among the nearest rows, by the cosine of centred vectors.

    Features are not scaled to unit variance: rare k-mers would dominate, and k-mers would do worse.
    Tables of k-mers stay sparse: their mean is subtracted in the products,
    (x - m)(y - m) = xy - xm - my + mm.
    """
    mean_E = np.asarray(train_vectors.mean(axis=0), dtype=np.float64).reshape(-1)
    train_vectors, test_vectors = train_vectors.astype(np.float64), test_vectors.astype(np.float64)
    if isinstance(train_vectors, np.ndarray):
        train_vectors, test_vectors, mean_E = (
            train_vectors - mean_E,
            test_vectors - mean_E,
            np.zeros_like(mean_E),
        )
    along_N, square = train_vectors @ mean_E, float(mean_E @ mean_E)
    lengths_N = np.sqrt(np.maximum(_squares(train_vectors) - 2 * along_N + square, 1e-12))
    member_NC = np.eye(num_classes)[classes_N]
    votes = []
    for first in range(0, test_vectors.shape[0], _ROWS_PER_BATCH):
        batch = test_vectors[first : first + _ROWS_PER_BATCH]
        product = batch @ train_vectors.T
        product = product if isinstance(product, np.ndarray) else product.toarray()
        similarity = (product - (batch @ mean_E)[:, None] - along_N + square) / lengths_N
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
        votes.append(member_NC[nearest].mean(axis=1))
    return np.concatenate(votes)


def _squares(vectors: Any) -> npt.NDArray[np.float64]:
    return np.asarray((vectors * vectors).sum(axis=1), dtype=np.float64).reshape(-1)


def _fit_logistic(scaled: dict[str, Any], train_N: Rows, validation_N: Rows) -> tuple[Any, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, float, Any] | None = None
    # Too few validation rows: the default strength of scikit-learn.
    strengths = STRENGTHS if validation_N.size else (1.0,)
    model: Any = LogisticRegression(tol=1e-3, max_iter=300, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            # A weakly regularised probe that stops early is still a candidate.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Classes of one or two rows are still classes.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            model.set_params(C=strength).fit(scaled["train"], train_N)
        accuracy = 0.0
        if validation_N.size:
            accuracy = float((model.predict(scaled["val"]) == validation_N).mean())
        if best is None or accuracy > best[0]:
            best = (accuracy, strength, (model.coef_.copy(), model.intercept_.copy()))
    assert best is not None
    _, strength, (coefficients, intercept) = best
    model.coef_, model.intercept_ = coefficients, intercept
    return model, strength
