"""How well a model answers the held-out questions: bits per base and accuracy.

Shape letters: B batch, L window length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.evaluation.held_out import HeldOut
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.model.encoder import padding_mask
from genomeformer_cli.core.objectives.prediction import BITS_PER_NAT
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID
from genomeformer_cli.core.training.metrics import Score

_TOKENS_A_BATCH = 16_384


@torch.inference_mode()
def likelihood(model: Model, questions: HeldOut) -> Score:
    """Ask a model for every hidden base, one pass at a time.

    A bidirectional model finds them masked. The others do not see what they predict, and are given
    the rest as it is: a causal one what is before each, two stacks both sides.
    """
    device = model.device
    real_ids = questions.real_ids
    rows = max(_TOKENS_A_BATCH // questions.tokens_WL.shape[1], 1)
    bits = 0.0
    num_right = num_bases = 0
    for hidden_WL in questions.hidden_PWL:
        for first in range(0, len(hidden_WL), rows):
            hidden_BL = torch.from_numpy(hidden_WL[first : first + rows]).to(device)
            tokens_BL = torch.from_numpy(questions.tokens_WL[first : first + rows]).to(device)
            features = _features(model, tokens_BL, hidden_BL)
            logits = model.logits(features)[:, real_ids.start : real_ids.stop].double()
            answers = tokens_BL[hidden_BL] - real_ids.start
            bits += functional.cross_entropy(logits, answers, reduction="sum").item() * BITS_PER_NAT
            num_right += int((logits.argmax(dim=-1) == answers).sum())
            num_bases += answers.numel()
    return Score(
        bits_per_base=bits / num_bases, accuracy=num_right / num_bases, num_bases=num_bases
    )


def _features(model: Model, tokens_BL: Tensor, hidden_BL: Tensor) -> Tensor:
    """What the head is to answer from at each hidden position."""
    mask_BL = padding_mask(tokens_BL, PAD_ID)
    if model.config.direction == "bidirectional":
        return model.hidden(tokens_BL.masked_fill(hidden_BL, MASK_ID), mask_BL)[hidden_BL]
    features_BLE = model.hidden(tokens_BL, mask_BL)
    if model.config.direction == "causal":
        features_BLE = features_BLE.roll(1, dims=1)
    return features_BLE[hidden_BL]
