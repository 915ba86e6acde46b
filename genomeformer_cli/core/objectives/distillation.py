"""Distillation: targets of a larger model beside the true tokens, and their loss.

    (1 - a) cross-entropy + a T^2 KL(teacher || student) + b (1 - cosine(P student, teacher))

with the weights a (`teacher.logits`) and b (`teacher.features`), the temperature T of both
distributions (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2), and a
learned projection P where the widths differ, which is not part of the model.
Shape letters: B batch, L length, T targets, R real tokens, E features, F features of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Distillation from another model."""

    model: str | None = None  # Model that teaches; unset: none.
    # Weight of the divergence from its probabilities; the cross-entropy of the true bases has the
    # rest of 1.
    logits: float = 0.5
    features: float = 0.0  # Weight of the cosine distance from its features.
    temperature: float = 1.0  # Temperature of both distributions in the divergence.
    # A masked teacher of a model that predicts every base hides one token in this many per step.
    every: int = 8
    tokens: int = 16_384  # Tokens that the teacher reads at a time.

    def __post_init__(self) -> None:
        check_range("teacher.logits", self.logits, 0, 1)
        check_range("teacher.features", self.features, 0)
        check_range("teacher.every", self.every, 2)
        check_range("teacher.tokens", self.tokens, 1)
        check_range("teacher.temperature", self.temperature, 0, excluded="lowest")
        if not self.logits + self.features:
            raise ConfigError(
                "`teacher.logits` and `teacher.features` are both 0: nothing is learned from it",
                hint="leave out the teacher, or give one of them a weight",
            )


@dataclass(frozen=True, kw_only=True)
class TeacherTargets:
    """Predictions and features of the teacher for a batch."""

    config: TeacherConfig  # Weights and temperature.
    # Log-probabilities of the real tokens at that temperature, in nats.
    nats_BLR: Tensor
    # Weight of the divergence at each position; 0 where the teacher predicts nothing.
    weights_BL: Tensor
    features_BLF: Tensor | None = None  # Features of the teacher; None if they have no weight.
    projection: nn.Linear | None = None  # Projection of the features of the student.

    def map(self, change: Callable[[Tensor], Tensor]) -> TeacherTargets:
        """Return the targets of other positions, selected by a function of (B, L, ...) tensors."""
        features_BLF = self.features_BLF
        return replace(
            self,
            nats_BLR=change(self.nats_BLR),
            weights_BL=change(self.weights_BL),
            features_BLF=None if features_BLF is None else change(features_BLF),
        )

    def loss(
        self,
        cross_entropy: Tensor,
        predictions: tuple[Tensor, Tensor],
        positions: SelectedPositions,
        weights_T: Tensor,
    ) -> Tensor:
        """Return the loss of the targets at some positions.

        Args:
            cross_entropy: Contribution to the mean cross-entropy of the true tokens.
            predictions: Logits (T, R) and features (T, E) of the student.
            positions: Positions of the targets.
            weights_T: Loss weight of each target, divided by the weight of the batch.
        """
        logits_TR, hidden_TE = predictions
        config = self.config
        loss = (1 - config.logits) * cross_entropy
        if config.logits:
            known_T = positions.gather(self.weights_BL) * weights_T
            divergence_T = divergence(
                positions.gather(self.nats_BLR), logits_TR, config.temperature
            )
            loss = loss + config.logits * (divergence_T * known_T).sum()
        if self.features_BLF is not None:
            projected_TF = hidden_TE if self.projection is None else self.projection(hidden_TE)
            features_TF = positions.gather(self.features_BLF).to(projected_TF.dtype)
            distance_T = 1 - functional.cosine_similarity(projected_TF, features_TF, dim=-1)
            loss = loss + config.features * (distance_T * weights_T).sum()
        return loss


def divergence(nats_TR: Tensor, logits_TR: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) at each target, shape (T,).

    Args:
        nats_TR: Log-probabilities of the teacher, at the temperature T.
        logits_TR: Logits of the student.
        temperature: Temperature T.
    """
    student_TR = functional.log_softmax(logits_TR / temperature, dim=-1)
    nats_TR = nats_TR.to(student_TR.dtype)
    difference_T = (nats_TR.exp() * (nats_TR - student_TR)).sum(dim=-1)
    return difference_T * temperature**2


def soften(logits_NR: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities at a temperature, in single precision or better."""
    logits_NR = logits_NR.to(torch.promote_types(logits_NR.dtype, torch.float32))
    return functional.log_softmax(logits_NR / temperature, dim=-1)
