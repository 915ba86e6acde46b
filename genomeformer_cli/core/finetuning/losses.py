"""Losses, and probabilities or quantities of outputs.

Shape letters: B rows or bases, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a task: cross-entropy, a logistic loss a label, or squared error.

    Attributes:
        targets: What is asked.
        weights: What each class, or each label that holds, counts.
    """

    targets: LabelSpace
    weights: tuple[float, ...]

    def total(self, outputs_BC: Tensor, truth_B: Tensor, smoothing: float = 0.0) -> Tensor:
        """Sum over what is asked; divide it by `weight` of the same to have the mean.

        Args:
            outputs_BC: Of rows or bases.
            truth_B: Their labels.
            smoothing: Part of a class's weight that all classes share: Szegedy et al. 2016,
                "Rethinking the Inception Architecture for Computer Vision", section 7.
        """
        # A GPU waits for numbers that are sent to it: none are where all count alike.
        alike = all(one == 1 for one in self.weights)
        weight_C = None if alike else outputs_BC.new_tensor(self.weights)
        if self.targets.is_exclusive:
            return functional.cross_entropy(
                outputs_BC,
                truth_B,
                weight_C,
                ignore_index=-1,
                reduction="sum",
                label_smoothing=smoothing,
            )
        if self.targets.kind is TaskKind.REGRESSION:
            return functional.mse_loss(outputs_BC, truth_B, reduction="sum")
        return functional.binary_cross_entropy_with_logits(
            outputs_BC, truth_B, pos_weight=weight_C, reduction="sum"
        )

    def weight(self, truth_B: Tensor) -> float:
        """By what the sum is divided."""
        if not self.targets.is_exclusive:
            return float(truth_B.numel())
        known_B = truth_B[truth_B >= 0]
        return float(torch.tensor(self.weights, dtype=torch.float64)[known_B].sum())


def answers(targets: LabelSpace, outputs_BC: Tensor) -> npt.NDArray[np.float64]:
    """Probabilities, or quantities in their own units, (B, C)."""
    outputs_BC = outputs_BC.detach().double().cpu()
    if targets.is_exclusive:
        return outputs_BC.softmax(dim=-1).numpy()
    if targets.kind is TaskKind.MULTI_LABEL:
        return outputs_BC.sigmoid().numpy()
    return np.asarray(outputs_BC.numpy() * targets.spreads + targets.means)
