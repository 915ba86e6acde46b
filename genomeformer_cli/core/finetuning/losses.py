"""Losses, and predictions from outputs.

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
    """Loss of a task: cross-entropy, one logistic loss per label, or squared error."""

    label_space: LabelSpace  # Classes or quantities.
    weights: tuple[float, ...]  # Weight of each class, or of each positive label.

    def total(self, outputs_BC: Tensor, targets_B: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the summed loss; divide it by `weight` of the targets for the mean.

        Args:
            outputs_BC: Outputs of rows or bases.
            targets_B: Labels.
            smoothing: Fraction of a class's weight that all classes share: Szegedy et al. 2016,
                "Rethinking the Inception Architecture for Computer Vision", section 7.
        """
        # A GPU waits for numbers that are sent to it: none are where all count alike.
        is_uniform = all(weight == 1 for weight in self.weights)
        weight_C = None if is_uniform else outputs_BC.new_tensor(self.weights)
        if self.label_space.is_exclusive:
            return functional.cross_entropy(
                outputs_BC,
                targets_B,
                weight_C,
                ignore_index=-1,
                reduction="sum",
                label_smoothing=smoothing,
            )
        if self.label_space.kind is TaskKind.REGRESSION:
            return functional.mse_loss(outputs_BC, targets_B, reduction="sum")
        return functional.binary_cross_entropy_with_logits(
            outputs_BC, targets_B, pos_weight=weight_C, reduction="sum"
        )

    def weight(self, targets_B: Tensor) -> float:
        """Return the normaliser of the summed loss."""
        if not self.label_space.is_exclusive:
            return float(targets_B.numel())
        labelled_B = targets_B[targets_B >= 0]
        return float(torch.tensor(self.weights, dtype=torch.float64)[labelled_B].sum())


def to_predictions(label_space: LabelSpace, outputs_BC: Tensor) -> npt.NDArray[np.float64]:
    """Return probabilities, or quantities in their original units, shape (B, C)."""
    outputs_BC = outputs_BC.detach().double().cpu()
    if label_space.is_exclusive:
        return outputs_BC.softmax(dim=-1).numpy()
    if label_space.kind is TaskKind.MULTI_LABEL:
        return outputs_BC.sigmoid().numpy()
    return np.asarray(outputs_BC.numpy() * label_space.spreads + label_space.means)


def to_outputs(label_space: LabelSpace, predictions_BC: npt.NDArray[np.float64]) -> Tensor:
    """Return outputs with these predictions, the inverse of `to_predictions`, shape (B, C)."""
    predictions = torch.from_numpy(predictions_BC)
    if label_space.is_exclusive:
        return predictions.clamp_min(torch.finfo(predictions.dtype).tiny).log()
    if label_space.kind is TaskKind.MULTI_LABEL:
        return predictions.logit(eps=torch.finfo(predictions.dtype).eps)
    return (predictions - torch.tensor(label_space.means)) / torch.tensor(label_space.spreads)
