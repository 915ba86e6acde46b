"""Prediction of real tokens: cross-entropy, whichever tokens are the targets.

The softmax runs over the real tokens only: special tokens and N are never a possible answer, so a
model of single bases that knows nothing scores log2(4) = 2 bits from its first step.
A batch may be scored in stretches: each gives its share of the same mean.
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
from genomeformer_cli.core.models.genomeformer.build import Model

BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a batch asks.

    Attributes:
        inputs_BL: Token ids as the model sees them.
        targets_BL: The true id where a token is to be predicted, negative elsewhere.
        weights_BL: Weight of each target's loss.
        real_ids: Ids that can be an answer.
        mask_BL: False at padding; None if there is none.
        documents_BL: Number of the document of every position, negative at padding, where rows
            hold several; it takes the place of the mask.
    """

    inputs_BL: Tensor
    targets_BL: Tensor
    weights_BL: Tensor
    real_ids: range
    mask_BL: Tensor | None = None
    documents_BL: Tensor | None = None

    @property
    def total_weight(self) -> Tensor:
        """By which the sum of the losses is divided."""
        return (self.weights_BL * (self.targets_BL >= 0)).sum().clamp_min(1e-9)

    @property
    def target_positions(self) -> SelectedPositions:
        """Where a token is to be predicted."""
        return SelectedPositions.from_mask(self.targets_BL >= 0)

    def to(self, device: torch.device) -> Examples:
        """The same on a device; from pinned memory, without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Examples:
        """The same in memory that a GPU can read by itself."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Examples:
        masks = (self.mask_BL, self.documents_BL)
        mask_BL, documents_BL = (one if one is None else change(one) for one in masks)
        return replace(
            self,
            inputs_BL=change(self.inputs_BL),
            targets_BL=change(self.targets_BL),
            weights_BL=change(self.weights_BL),
            mask_BL=mask_BL,
            documents_BL=documents_BL,
        )

    def part(self, start: int, stop: int) -> Examples:
        """A stretch of every row."""
        return self._cut((slice(None), slice(start, stop)))

    def rows(self, rows: slice) -> Examples:
        """Some of the rows."""
        return self._cut((rows,))

    def _cut(self, where: tuple[slice, ...]) -> Examples:
        return replace(
            self,
            inputs_BL=self.inputs_BL[where],
            targets_BL=self.targets_BL[where],
            weights_BL=self.weights_BL[where],
            mask_BL=None if self.mask_BL is None else self.mask_BL[where],
            documents_BL=None if self.documents_BL is None else self.documents_BL[where],
        )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How well a batch, or a part of one, was predicted.

    Attributes:
        loss: Its part of the weighted mean cross-entropy in nats, to differentiate.
        bits: Unweighted sum over its targets.
        num_correct: Targets whose most probable answer is the true one.
        num_targets: Targets in it.
    """

    loss: Tensor
    bits: Tensor
    num_correct: Tensor
    num_targets: int

    @property
    def bits_per_base(self) -> Tensor:
        """Unweighted mean in bits."""
        return self.bits / max(self.num_targets, 1)

    @property
    def accuracy(self) -> Tensor:
        """Part of the targets whose most probable answer is the true one."""
        return self.num_correct / max(self.num_targets, 1)

    def detached(self) -> Prediction:
        """The same without its graph."""
        return replace(self, loss=self.loss.detach())

    def __add__(self, other: Prediction) -> Prediction:
        """Of two parts of one batch."""
        return Prediction(
            loss=self.loss + other.loss,
            bits=self.bits + other.bits,
            num_correct=self.num_correct + other.num_correct,
            num_targets=self.num_targets + other.num_targets,
        )


class LossAccumulator:
    """The sum of the parts of a batch, in place.

    Kept as a list, the few numbers of every slice of a long row would lie between the large blocks
    that come and go, and the heap could not give those back.
    """

    def __init__(self) -> None:
        self._total: Prediction | None = None

    def add(self, part: Prediction) -> None:
        """Count a part; its graph is let go."""
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
        """Of all parts."""
        assert self._total is not None
        return self._total


def predict(
    model: Model, hidden_BLE: Tensor, examples: Examples, total_weight: Tensor
) -> Prediction:
    """Predict the targets of a batch or a stretch of it.

    Args:
        model: Whose head answers.
        hidden_BLE: Features of the positions.
        examples: What is asked there.
        total_weight: Of all targets of the batch.
    """
    asked = examples.target_positions
    return predict_at(model, asked.gather(hidden_BLE), examples, asked, total_weight)


def predict_at(
    model: Model,
    hidden_TE: Tensor,
    examples: Examples,
    asked: SelectedPositions,
    total_weight: Tensor,
) -> Prediction:
    """The same, from features of the targets' positions alone.

    Args:
        model: Whose head answers.
        hidden_TE: Features of the targets' positions.
        examples: What is asked there.
        asked: Where the targets are.
        total_weight: Of all targets of the batch.
    """
    targets_T, weights_T = asked.gather(examples.targets_BL), asked.gather(examples.weights_BL)
    real_ids = examples.real_ids
    logits_TR = model.logits(hidden_TE)[:, real_ids.start : real_ids.stop]
    logits_TR = logits_TR.to(torch.promote_types(logits_TR.dtype, torch.float32))
    answers_T = targets_T - real_ids.start
    nats_T = functional.cross_entropy(logits_TR, answers_T, reduction="none")
    loss = (nats_T * weights_T).sum() / total_weight
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
    """Predict the targets of a batch, by whole rows.

    Args:
        model: Whose answers count.
        examples: What is asked.
        total_weight: Of all targets, if these are but a part of a batch.
    """
    asked = examples.target_positions
    hidden_TE = model.hidden_at(examples.inputs_BL, examples.mask_BL, examples.documents_BL, asked)
    if total_weight is None:
        total_weight = examples.total_weight
    return predict_at(model, hidden_TE, examples, asked, total_weight)
