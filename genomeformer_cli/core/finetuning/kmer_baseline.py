"""A linear model of plain features, fitted first, that the weights learn beside.

Which words occur in a sequence, or which bases stand where, is much of what there is to know of
some tasks, and a linear model reads it off fewer rows than a network. Its outputs are added to
those of the head, in training too: the weights then learn what it leaves. There the output for a
row is that of a fit to other rows, or what it leaves would be less than of new rows.

Wolpert 1992, "Stacked Generalization", for fits to other rows; counts are taken to their root,
as variances of counts grow with them: Bartlett 1936, "The Square Root Transformation in Analysis
of Variance".
Shape letters: N rows, F features, C outputs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.kmers import (
    SparseEntries,
    kmer_counts,
    positional_pairs,
)
from genomeformer_cli.core.finetuning.batches import joined_truth
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.splits import TRAIN, Rows
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.seal import check_seal, seal

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LinearKind = Literal["kmers", "places", "both"]
Floats = npt.NDArray[np.float32]

# Inverse strengths of regularisation.
STRENGTHS = (0.003, 0.01, 0.03, 0.1)
NUM_FOLDS = 5
_MOST_ITERATIONS = 300
_ROWS_AT_ONCE = 256
_FILE = "linear.safetensors"


@dataclass(frozen=True, kw_only=True)
class BaselineFeatures:
    """What the linear model sees; saved with it.

    Attributes:
        kind: `kmers`: which words occur; `places`: which two bases stand side by side where; or
            `both`.
        k: Bases of a word.
        length: Bases from the start on whose place is seen.
        both_strands: Whether words of the other strand count as well.
    """

    kind: LinearKind
    k: int
    length: int
    both_strands: bool

    @property
    def number(self) -> int:
        """F."""
        words = 0 if self.kind == "places" else NUM_REAL_BASES**self.k
        places = 0 if self.kind == "kmers" else NUM_REAL_BASES**2 * max(self.length - 1, 0)
        return words + places

    def of(self, codes: Sequence[Codes]) -> SparseEntries:
        """(N, F), what is not 0 of it."""
        if self.kind == "places":
            return positional_pairs(codes, self.length)
        words = kmer_counts(codes, self.k, both_strands=self.both_strands)
        words = replace(words, values_K=np.sqrt(words.values_K))
        if self.kind == "kmers":
            return words
        places = positional_pairs(codes, self.length)
        return SparseEntries(
            np.concatenate((words.rows_K, places.rows_K)),
            np.concatenate((words.columns_K, NUM_REAL_BASES**self.k + places.columns_K)),
            np.concatenate((words.values_K, places.values_K)),
        )


def wanted_features(rows: LabelledRows, tuning: TuningConfig) -> BaselineFeatures | None:
    """What a linear model is to see; None if none is wanted.

    Raises:
        ConfigError: Every base has a label.
    """
    if tuning.linear == "none":
        return None
    if rows.targets.is_per_base:
        raise ConfigError("a linear model answers for no single base", hint="leave out `--linear`")
    return BaselineFeatures(
        kind=tuning.linear,
        k=tuning.kmer,
        length=max(rows.codes[row].size for row in rows.parts[TRAIN]),
        both_strands=tuning.strands != "given",
    )


class KmerBaseline(nn.Module):
    """The linear model, as a part of the head that is not trained.

    Args:
        features: What it sees.
        num_outputs: C.
    """

    weight_FC: Tensor
    bias_C: Tensor

    def __init__(self, features: BaselineFeatures, num_outputs: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("weight_FC", torch.zeros(features.number, num_outputs))
        self.register_buffer("bias_C", torch.zeros(num_outputs))

    def outputs(self, codes: Sequence[Codes]) -> Tensor:
        """(N, C), on the CPU."""
        weight_FC, bias_C = self.weight_FC.cpu(), self.bias_C.cpu()
        said = []
        for first in range(0, len(codes), _ROWS_AT_ONCE):
            some = codes[first : first + _ROWS_AT_ONCE]
            rows_K, columns_K, values_K = map(
                torch.from_numpy, vars(self.features.of(some)).values()
            )
            said_KC = weight_FC[columns_K] * values_K[:, None]
            said.append(bias_C.repeat(len(some), 1).index_add_(0, rows_K, said_KC))
        return torch.cat(said)


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """A fitted linear model.

    Attributes:
        weight_FC: Its weights.
        bias_C: Its outputs where there is no feature.
        outputs_NC: Of every training row, by a fit to others.
    """

    weight_FC: Tensor
    bias_C: Tensor
    outputs_NC: Tensor

    def into(self, linear: KmerBaseline) -> None:
        """Make it a part of a head."""
        linear.weight_FC.copy_(self.weight_FC)
        linear.bias_C.copy_(self.bias_C)


def known_or_fitted(
    folder: Path, rows: LabelledRows, features: BaselineFeatures, loss: Loss, reporter: Reporter
) -> LinearFit:
    """The fit that a folder holds, or a new one, which is put there.

    Raises:
        CorruptError: What the folder holds is damaged.
    """
    if not folder.exists():
        fit = fit_linear(rows, features, loss, reporter)
        with atomic_folder(folder) as made:
            write_tensors(vars(fit), made / _FILE)
            seal(made)
    check_seal(folder)
    return LinearFit(**read_tensors(folder / _FILE))


def fit_linear(
    rows: LabelledRows, features: BaselineFeatures, loss: Loss, reporter: Reporter
) -> LinearFit:
    """Fit to the training rows, as strongly regularised as suits rows that were left out.

    Args:
        rows: What is learned from; rows of one group are left out together.
        features: What is seen of them.
        loss: Of the task; its weights of classes count here too.
        reporter: Follows the fits.
    """
    trained = rows.parts[TRAIN]
    seen = features.of([rows.codes[row] for row in trained])
    seen_NF = seen.table((trained.size, features.number))
    truth = joined_truth(rows.targets, [rows.truth[row] for row in trained])
    truth_N = truth.numpy()
    shape = (len(STRENGTHS), trained.size, len(rows.targets.names))
    left_out_SNC = np.zeros(shape, dtype=np.float32)
    total = NUM_FOLDS * len(STRENGTHS) + 1
    with reporter.track("fitting the linear model", total, "fits") as tracker:
        for others, some in _folds(truth_N, [rows.groups[row] for row in trained]):
            for number, strength in enumerate(STRENGTHS):
                weight_FC, bias_C = _fitted(seen_NF[others], truth_N[others], strength, loss)
                left_out_SNC[number, some] = seen_NF[some] @ weight_FC + bias_C
                tracker.advance(1)
        losses = [float(loss.total(torch.from_numpy(one), truth)) for one in left_out_SNC]
        best = int(np.argmin(losses))
        weight_FC, bias_C = _fitted(seen_NF, truth_N, STRENGTHS[best], loss)
        tracker.advance(1)
    return LinearFit(
        weight_FC=torch.from_numpy(weight_FC),
        bias_C=torch.from_numpy(bias_C),
        outputs_NC=torch.from_numpy(left_out_SNC[best].copy()),
    )


def _folds(truth_N: npt.NDArray[Any], groups: Sequence[str]) -> Iterator[tuple[Rows, Rows]]:
    """Rows to learn from and rows left out, groups together, classes alike where there are any."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    number = min(NUM_FOLDS, len(set(groups)))
    if truth_N.ndim == 1 and np.unique(truth_N, return_counts=True)[1].min() >= number:
        splitter: Any = StratifiedGroupKFold(number, shuffle=True, random_state=0)
    else:
        splitter = GroupKFold(number)
    yield from splitter.split(truth_N, truth_N, groups)


def _fitted(
    seen_NF: csr_array, truth: npt.NDArray[Any], strength: float, loss: Loss
) -> tuple[Floats, Floats]:
    targets = loss.targets
    if targets.kind is TaskKind.CLASSIFICATION:
        return _classes(seen_NF, truth, strength, loss.weights)
    found = []
    for number in range(len(targets.names)):
        column_N = truth[:, number]
        if targets.kind is TaskKind.REGRESSION:
            found.append(_quantity(seen_NF, column_N, strength))
        else:
            weights = (1.0, loss.weights[number])
            weight_F2, bias_2 = _classes(seen_NF, column_N.astype(np.int64), strength, weights)
            found.append((weight_F2[:, 1] - weight_F2[:, 0], bias_2[1] - bias_2[0]))
    weights_F, biases = zip(*found, strict=True)
    return np.stack(weights_F, axis=1), np.array(biases, dtype=np.float32)


def _classes(
    seen_NF: csr_array, truth_N: npt.NDArray[np.int64], strength: float, weights: Sequence[float]
) -> tuple[Floats, Floats]:
    """Logits of as many classes as have weights; one that does not occur is as good as never."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    weight_FC = np.zeros((seen_NF.shape[1], len(weights)), dtype=np.float32)
    bias_C = np.full(len(weights), -math.log(truth_N.size + 1), dtype=np.float32)
    classes = np.unique(truth_N)
    if classes.size == 1:
        bias_C[classes] = 0
        return weight_FC, bias_C
    model = LogisticRegression(
        C=strength,
        tol=1e-3,
        max_iter=_MOST_ITERATIONS,
        class_weight={int(one): weights[one] for one in classes},
    )
    with warnings.catch_warnings():
        # What is stopped early is still a model, and is judged as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(seen_NF, truth_N)
    coefficients, intercepts = model.coef_, model.intercept_
    if classes.size == 2:
        # Of two classes the second one's logit alone is given.
        coefficients = np.concatenate((-coefficients / 2, coefficients / 2))
        intercepts = np.concatenate((-intercepts / 2, intercepts / 2))
    weight_FC[:, classes] = coefficients.T
    bias_C[classes] = intercepts
    return weight_FC, bias_C


def _quantity(
    seen_NF: csr_array, truth_N: npt.NDArray[np.float32], strength: float
) -> tuple[Floats, np.float32]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / strength).fit(seen_NF, truth_N)
    return model.coef_.astype(np.float32), np.float32(model.intercept_)
