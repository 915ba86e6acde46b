"""Masked-nucleotide prediction: cross-entropy over the real bases A C G T at the hidden positions.

The softmax runs over the real tokens only: special tokens and N are never a possible answer, so a
model that knows nothing scores log2(4) = 2 bits per base from its first step.
Shape letters: B batch, L length, T targets, R real tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.model.encoder import Encoder, padding_mask
from genomeformer_cli.core.tokenizers.protocol import PAD_ID

BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True, kw_only=True)
class MaskedLoss:
    """What one batch gave.

    Attributes:
        loss: Weighted mean cross-entropy in nats, to differentiate.
        bits_per_base: Unweighted mean in bits.
        accuracy: Part of the targets whose most probable base is the true one.
        num_targets: How many bases were predicted.
    """

    loss: Tensor
    bits_per_base: Tensor
    accuracy: Tensor
    num_targets: int


def masked_loss(
    model: Encoder,
    inputs_BL: Tensor,
    targets_BL: Tensor,
    weights_BL: Tensor,
    *,
    real_ids: range,
) -> MaskedLoss:
    """Predict the targets of a batch.

    Args:
        model: The encoder.
        inputs_BL: Token ids with bases hidden.
        targets_BL: True ids at targets, negative elsewhere.
        weights_BL: Weight of each target.
        real_ids: Ids that can be an answer.
    """
    hidden_BLE = model.hidden(inputs_BL, padding_mask(inputs_BL, PAD_ID))
    chosen_BL = targets_BL >= 0
    logits_TR = model.head(hidden_BLE[chosen_BL])[:, real_ids.start : real_ids.stop].float()
    answers_T = targets_BL[chosen_BL] - real_ids.start
    weights_T = weights_BL[chosen_BL]
    nats_T = functional.cross_entropy(logits_TR, answers_T, reduction="none")
    num_targets = answers_T.numel()
    loss = (nats_T * weights_T).sum() / weights_T.sum().clamp_min(1e-9)
    with torch.no_grad():
        bits = nats_T.sum() * BITS_PER_NAT / max(num_targets, 1)
        accuracy = (logits_TR.argmax(dim=-1) == answers_T).float().sum() / max(num_targets, 1)
    return MaskedLoss(loss=loss, bits_per_base=bits, accuracy=accuracy, num_targets=num_targets)
