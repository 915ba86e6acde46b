"""Linear model of k-mers or positional base pairs, fitted before the network.

K-mer counts and base positions explain much of some tasks, and a linear model learns them from
fewer rows than a network. The outputs of the linear model are added to those of the head, in
training too: the network learns the residual. In training, the linear output of a row comes from a
fit without it, since the residual of a fit that includes it would be too small.

Wolpert 1992, "Stacked Generalization", for out-of-fold fits; counts are square-rooted, since their
variance grows with them: Bartlett 1936, "The Square Root Transformation in Analysis of Variance".
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
    NUM_GAPPED,
    SparseEntries,
    gapped_counts,
    kmer_counts,
    positional_pairs,
)
from genomeformer_cli.core.finetuning.batches import stack_targets
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.splits import TRAIN, RowIndices
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.seal import check_seal, seal

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LinearKind = Literal["kmers", "gapped", "places", "both"]
Floats = npt.NDArray[np.float32]

# Inverse strengths of regularisation.
STRENGTHS = (0.003, 0.01, 0.03, 0.1)
NUM_FOLDS = 5
_MAX_ITERATIONS = 300
_ROWS_PER_BATCH = 256
_FILE = "linear.safetensors"


@dataclass(frozen=True, kw_only=True)
class BaselineFeatures:
    """Features of the linear model; saved with it."""

    # `kmers`: counts; `gapped`: counts of pairs of 3-mers at a distance; `places`: pairs of
    # adjacent bases by position; `both`: k-mers and places.
    kind: LinearKind
    k: int  # K-mer length.
    length: int  # Leading bases whose positions are features.
    both_strands: bool  # Count the k-mers of the reverse strand as well.

    @property
    def num_features(self) -> int:
        """F."""
        if self.kind == "gapped":
            return NUM_GAPPED
        num_kmers = 0 if self.kind == "places" else NUM_REAL_BASES**self.k
        num_pairs = 0 if self.kind == "kmers" else NUM_REAL_BASES**2 * max(self.length - 1, 0)
        return num_kmers + num_pairs

    def extract(self, codes: Sequence[Codes]) -> SparseEntries:
        """Return the non-zero features, shape (N, F)."""
        if self.kind == "places":
            return positional_pairs(codes, self.length)
        if self.kind == "gapped":
            kmers = gapped_counts(codes, both_strands=self.both_strands)
        else:
            kmers = kmer_counts(codes, self.k, both_strands=self.both_strands)
        kmers = replace(kmers, values_K=np.sqrt(kmers.values_K))
        if self.kind != "both":
            return kmers
        pairs = positional_pairs(codes, self.length)
        return SparseEntries(
            np.concatenate((kmers.rows_K, pairs.rows_K)),
            np.concatenate((kmers.columns_K, NUM_REAL_BASES**self.k + pairs.columns_K)),
            np.concatenate((kmers.values_K, pairs.values_K)),
        )


def select_features(rows: LabelledRows, tuning: TuningConfig) -> BaselineFeatures | None:
    """Return the features of the configured linear model; None without one.

    Raises:
        ConfigError: The task has labels of bases.
    """
    if tuning.linear == "none":
        return None
    if rows.label_space.is_per_base:
        raise ConfigError(
            "a linear model cannot predict labels of bases", hint="leave out `--linear`"
        )
    return BaselineFeatures(
        kind=tuning.linear,
        k=tuning.kmer,
        length=max(rows.codes[row].size for row in rows.splits[TRAIN]),
        both_strands=tuning.strands != "given",
    )


class KmerBaseline(nn.Module):
    """Linear model, an untrained part of the head.

    Args:
        features: Input features.
        num_outputs: C.
    """

    weight_FC: Tensor
    bias_C: Tensor

    def __init__(self, features: BaselineFeatures, num_outputs: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("weight_FC", torch.zeros(features.num_features, num_outputs))
        self.register_buffer("bias_C", torch.zeros(num_outputs))

    def outputs(self, codes: Sequence[Codes]) -> Tensor:
        """Return the outputs (N, C), on the CPU."""
        weight_FC, bias_C = self.weight_FC.cpu(), self.bias_C.cpu()
        outputs = []
        for first in range(0, len(codes), _ROWS_PER_BATCH):
            batch = codes[first : first + _ROWS_PER_BATCH]
            rows_K, columns_K, values_K = map(
                torch.from_numpy, vars(self.features.extract(batch)).values()
            )
            products_KC = weight_FC[columns_K] * values_K[:, None]
            outputs.append(bias_C.repeat(len(batch), 1).index_add_(0, rows_K, products_KC))
        return torch.cat(outputs)


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """Fitted linear model."""

    weight_FC: Tensor  # Weights.
    bias_C: Tensor  # Intercepts.
    outputs_NC: Tensor  # Out-of-fold outputs of the training rows.

    def copy_to(self, linear: KmerBaseline) -> None:
        """Copy the weights into the linear model of a head."""
        linear.weight_FC.copy_(self.weight_FC)
        linear.bias_C.copy_(self.bias_C)


def load_or_fit(
    folder: Path, rows: LabelledRows, features: BaselineFeatures, loss: Loss, reporter: Reporter
) -> LinearFit:
    """Load the fit of a folder, or fit and save it there.

    Raises:
        CorruptError: The folder is damaged.
    """
    if not folder.exists():
        fit = fit_linear(rows, features, loss, reporter)
        with atomic_folder(folder) as partial:
            write_tensors(vars(fit), partial / _FILE)
            seal(partial)
    check_seal(folder)
    return LinearFit(**read_tensors(folder / _FILE))


def fit_linear(
    rows: LabelledRows, features: BaselineFeatures, loss: Loss, reporter: Reporter
) -> LinearFit:
    """Fit to the training rows, with the regularisation that is best in cross-validation.

    Args:
        rows: Labelled rows; rows of one group share a fold.
        features: Input features.
        loss: Loss of the task, with its class weights.
        reporter: Receives progress.
    """
    train_rows = rows.splits[TRAIN]
    features_of_rows = features.extract([rows.codes[row] for row in train_rows])
    features_NF = features_of_rows.table((train_rows.size, features.num_features))
    targets = stack_targets(rows.label_space, [rows.targets[row] for row in train_rows])
    targets_N = targets.numpy()
    shape = (len(STRENGTHS), train_rows.size, len(rows.label_space.names))
    out_of_fold_SNC = np.zeros(shape, dtype=np.float32)
    total = NUM_FOLDS * len(STRENGTHS) + 1
    with reporter.track("fitting the linear model", total, "fits") as tracker:
        for fit_rows, held_out in _folds(targets_N, [rows.groups[row] for row in train_rows]):
            for index, strength in enumerate(STRENGTHS):
                weight_FC, bias_C = _fit(features_NF[fit_rows], targets_N[fit_rows], strength, loss)
                out_of_fold_SNC[index, held_out] = features_NF[held_out] @ weight_FC + bias_C
                tracker.advance(1)
        losses = [
            float(loss.total(torch.from_numpy(outputs_NC), targets))
            for outputs_NC in out_of_fold_SNC
        ]
        best = int(np.argmin(losses))
        weight_FC, bias_C = _fit(features_NF, targets_N, STRENGTHS[best], loss)
        tracker.advance(1)
    return LinearFit(
        weight_FC=torch.from_numpy(weight_FC),
        bias_C=torch.from_numpy(bias_C),
        outputs_NC=torch.from_numpy(out_of_fold_SNC[best].copy()),
    )


def _folds(
    targets_N: npt.NDArray[Any], groups: Sequence[str]
) -> Iterator[tuple[RowIndices, RowIndices]]:
    """Yield fitted and held-out rows: groups kept together, classes stratified if possible."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    num_folds = min(NUM_FOLDS, len(set(groups)))
    if targets_N.ndim == 1 and np.unique(targets_N, return_counts=True)[1].min() >= num_folds:
        splitter: Any = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
    else:
        splitter = GroupKFold(num_folds)
    yield from splitter.split(targets_N, targets_N, groups)


def _fit(
    features_NF: csr_array, targets: npt.NDArray[Any], strength: float, loss: Loss
) -> tuple[Floats, Floats]:
    label_space = loss.label_space
    if label_space.kind is TaskKind.CLASSIFICATION:
        return _fit_classes(features_NF, targets, strength, loss.weights)
    columns = []
    for number in range(len(label_space.names)):
        column_N = targets[:, number]
        if label_space.kind is TaskKind.REGRESSION:
            columns.append(_fit_quantity(features_NF, column_N, strength))
        else:
            weights = (1.0, loss.weights[number])
            weight_F2, bias_2 = _fit_classes(
                features_NF, column_N.astype(np.int64), strength, weights
            )
            columns.append((weight_F2[:, 1] - weight_F2[:, 0], bias_2[1] - bias_2[0]))
    weights_F, biases = zip(*columns, strict=True)
    return np.stack(weights_F, axis=1), np.array(biases, dtype=np.float32)


def _fit_classes(
    features_NF: csr_array,
    targets_N: npt.NDArray[np.int64],
    strength: float,
    weights: Sequence[float],
) -> tuple[Floats, Floats]:
    """Fit the logits of the weighted classes; a class without rows gets a low constant."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    weight_FC = np.zeros((features_NF.shape[1], len(weights)), dtype=np.float32)
    bias_C = np.full(len(weights), -math.log(targets_N.size + 1), dtype=np.float32)
    classes = np.unique(targets_N)
    if classes.size == 1:
        bias_C[classes] = 0
        return weight_FC, bias_C
    model = LogisticRegression(
        C=strength,
        tol=1e-3,
        max_iter=_MAX_ITERATIONS,
        class_weight={int(label): weights[label] for label in classes},
    )
    with warnings.catch_warnings():
        # What is stopped early is still a model, and is judged as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features_NF, targets_N)
    coefficients, intercepts = model.coef_, model.intercept_
    if classes.size == 2:
        # Of two classes the second one's logit alone is given.
        coefficients = np.concatenate((-coefficients / 2, coefficients / 2))
        intercepts = np.concatenate((-intercepts / 2, intercepts / 2))
    weight_FC[:, classes] = coefficients.T
    bias_C[classes] = intercepts
    return weight_FC, bias_C


def _fit_quantity(
    features_NF: csr_array, targets_N: npt.NDArray[np.float32], strength: float
) -> tuple[Floats, np.float32]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / strength).fit(features_NF, targets_N)
    return model.coef_.astype(np.float32), np.float32(model.intercept_)
