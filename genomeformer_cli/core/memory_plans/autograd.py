"""`full` and `checkpoint`: whole rows at once, differentiated by autograd.

`full` keeps every activation: O(n L d). `checkpoint` keeps the inputs of the blocks and recomputes
the rest: n L d plus the activations of one block, about a third more time (Chen et al. 2016,
"Training Deep Nets with Sublinear Memory Cost", section 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import Examples, Prediction, prediction_loss


def full_gradients(model: Model, examples: Examples, total_weight: Tensor) -> Prediction:
    """Add the gradients of a batch."""
    prediction = prediction_loss(model, examples, total_weight)
    if prediction.loss.requires_grad:
        torch.autograd.backward(prediction.loss)
    return prediction.detached()


def checkpoint_gradients(model: Model, examples: Examples, total_weight: Tensor) -> Prediction:
    """Add the gradients of a batch; recompute each block in the backward pass."""
    model.set_checkpointing(enabled=True)
    try:
        return full_gradients(model, examples, total_weight)
    finally:
        model.set_checkpointing(enabled=False)
