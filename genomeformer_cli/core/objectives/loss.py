"""Cross-entropy of predicted tokens, for any choice of targets.

The softmax runs over the real tokens only: special tokens and N can never be predicted, so that an
untrained model of single bases starts at log2(4) = 2 bits. A batch may be scored in slices; each
returns its share of the mean over the batch.
Shape letters: B batch, L length, T targets, R real tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.distillation import TeacherTargets

BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Inputs, targets and loss weights of a batch."""

    inputs_BL: Tensor  # Token ids given to the model.
    targets_BL: Tensor  # True id at the positions to predict, negative elsewhere.
    weights_BL: Tensor  # Loss weight of each target.
    real_ids: range  # Token ids that can be predicted.
    mask_BL: Tensor | None = None  # False at padding; None without padding.
    # Document number of every position, negative at padding, for rows that hold several documents;
    # replaces the mask.
    documents_BL: Tensor | None = None
    teacher: TeacherTargets | None = None  # Predictions of a teacher, on the device of the model.

    @property
    def total_weight(self) -> Tensor:
        """Normaliser of the loss: the sum of the target weights."""
        return (self.weights_BL * (self.targets_BL >= 0)).sum().clamp_min(1e-9)

    @property
    def target_positions(self) -> SelectedPositions:
        """Positions of the targets."""
        return SelectedPositions.from_mask(self.targets_BL >= 0)

    def to(self, device: torch.device) -> Examples:
        """Copy the batch to a device; from pinned memory the copy is asynchronous."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Examples:
        """Copy the batch to pinned memory."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Examples:
        masks = (self.mask_BL, self.documents_BL)
        mask_BL, documents_BL = (mask if mask is None else change(mask) for mask in masks)
        return replace(
            self,
            inputs_BL=change(self.inputs_BL),
            targets_BL=change(self.targets_BL),
            weights_BL=change(self.weights_BL),
            mask_BL=mask_BL,
            documents_BL=documents_BL,
        )

    def part(self, start: int, stop: int) -> Examples:
        """Return the columns from `start` to `stop` of every row."""
        return self._cut((slice(None), slice(start, stop)))

    def rows(self, rows: slice) -> Examples:
        """Return some of the rows."""
        return self._cut((rows,))

    def _cut(self, where: tuple[slice, ...]) -> Examples:
        return replace(
            self,
            inputs_BL=self.inputs_BL[where],
            targets_BL=self.targets_BL[where],
            weights_BL=self.weights_BL[where],
            mask_BL=None if self.mask_BL is None else self.mask_BL[where],
            documents_BL=None if self.documents_BL is None else self.documents_BL[where],
            teacher=None if self.teacher is None else self.teacher.map(lambda x: x[where]),
        )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Loss and accuracy of a batch or of a part of one."""

    loss: Tensor  # Contribution to the weighted mean cross-entropy in nats; differentiable.
    bits: Tensor  # Unweighted sum of the cross-entropy over the targets, in bits.
    num_correct: Tensor  # Targets whose most probable token is the true one.
    num_targets: int  # Number of targets.

    @property
    def bits_per_base(self) -> Tensor:
        """Unweighted mean cross-entropy in bits."""
        return self.bits / max(self.num_targets, 1)

    @property
    def accuracy(self) -> Tensor:
        """Fraction of the targets whose most probable token is the true one."""
        return self.num_correct / max(self.num_targets, 1)

    def detached(self) -> Prediction:
        """Return the prediction without its graph."""
        return replace(self, loss=self.loss.detach())

    def __add__(self, other: Prediction) -> Prediction:
        """Add the predictions of two parts of one batch."""
        return Prediction(
            loss=self.loss + other.loss,
            bits=self.bits + other.bits,
            num_correct=self.num_correct + other.num_correct,
            num_targets=self.num_targets + other.num_targets,
        )


class LossAccumulator:
    """Running sum of the predictions of the parts of a batch, updated in place.

    A list would keep small tensors between large blocks of the heap, which then could not be
    released.
    """

    def __init__(self) -> None:
        self._total: Prediction | None = None

    def add(self, part: Prediction) -> None:
        """Add a part and release its graph."""
        part = part.detached()
        if self._total is None:
            self._total = part
            return
        num_targets = self._total.num_targets + part.num_targets
        self._total.loss.add_(part.loss)
        self._total.bits.add_(part.bits)
        self._total.num_correct.add_(part.num_correct)
        self._total = replace(self._total, num_targets=num_targets)

    @property
    def total(self) -> Prediction:
        """Return the sum over all parts."""
        assert self._total is not None
        return self._total


def predict(
    model: Model, hidden_BLE: Tensor, examples: Examples, total_weight: Tensor
) -> Prediction:
    """Predict the targets of a batch or of a slice of it.

    Args:
        model: Model whose head computes the logits.
        hidden_BLE: Features of the positions.
        examples: Inputs and targets of these positions.
        total_weight: Weight of all targets of the batch.
    """
    positions = examples.target_positions
    return predict_at(model, positions.gather(hidden_BLE), examples, positions, total_weight)


def predict_at(
    model: Model,
    hidden_TE: Tensor,
    examples: Examples,
    positions: SelectedPositions,
    total_weight: Tensor,
) -> Prediction:
    """Predict the targets from features at their positions only.

    Args:
        model: Model whose head computes the logits.
        hidden_TE: Features at the positions of the targets.
        examples: Inputs and targets.
        positions: Positions of the targets.
        total_weight: Weight of all targets of the batch.
    """
    targets_T, weights_T = (
        positions.gather(examples.targets_BL),
        positions.gather(examples.weights_BL),
    )
    real_ids = examples.real_ids
    logits_TR = model.logits(hidden_TE)[:, real_ids.start : real_ids.stop]
    logits_TR = logits_TR.to(torch.promote_types(logits_TR.dtype, torch.float32))
    answers_T = targets_T - real_ids.start
    nats_T = functional.cross_entropy(logits_TR, answers_T, reduction="none")
    loss = (nats_T * weights_T).sum() / total_weight
    if examples.teacher is not None:
        loss = examples.teacher.loss(
            loss, (logits_TR, hidden_TE), positions, weights_T / total_weight
        )
    with torch.no_grad():
        return Prediction(
            loss=loss,
            bits=nats_T.sum() * BITS_PER_NAT,
            num_correct=(logits_TR.argmax(dim=-1) == answers_T).float().sum(),
            num_targets=answers_T.numel(),
        )


def prediction_loss(
    model: Model, examples: Examples, total_weight: Tensor | None = None
) -> Prediction:
    """Predict the targets of a batch with whole rows.

    Args:
        model: Model to score.
        examples: Inputs and targets.
        total_weight: Weight of all targets, if the examples are part of a larger batch.
    """
    positions = examples.target_positions
    hidden_TE = model.hidden_at(
        examples.inputs_BL, examples.mask_BL, examples.documents_BL, positions
    )
    if total_weight is None:
        total_weight = examples.total_weight
    return predict_at(model, hidden_TE, examples, positions, total_weight)
