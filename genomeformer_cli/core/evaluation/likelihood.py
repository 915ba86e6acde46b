"""How well a masked model answers the held-out questions: bits per base and accuracy.

Shape letters: B batch, L window length.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from genomeformer_cli.core.evaluation.held_out import HeldOut
from genomeformer_cli.core.model.encoder import Encoder, padding_mask
from genomeformer_cli.core.objectives.masked import BITS_PER_NAT
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID
from genomeformer_cli.core.training.metrics import Score

_TOKENS_A_BATCH = 16_384


@torch.inference_mode()
def masked_likelihood(model: Encoder, questions: HeldOut) -> Score:
    """Ask a model for every hidden base, one pass at a time."""
    device = model.embedding.weight.device
    real_ids = questions.real_ids
    rows = max(_TOKENS_A_BATCH // questions.tokens_WL.shape[1], 1)
    bits = 0.0
    num_right = num_bases = 0
    for hidden_WL in questions.hidden_PWL:
        for first in range(0, len(hidden_WL), rows):
            hidden_BL = torch.from_numpy(hidden_WL[first : first + rows]).to(device)
            tokens_BL = torch.from_numpy(questions.tokens_WL[first : first + rows]).to(device)
            inputs_BL = tokens_BL.masked_fill(hidden_BL, MASK_ID)
            features = model.hidden(inputs_BL, padding_mask(inputs_BL, PAD_ID))[hidden_BL]
            logits = model.head(features)[:, real_ids.start : real_ids.stop].double()
            answers = tokens_BL[hidden_BL] - real_ids.start
            bits += functional.cross_entropy(logits, answers, reduction="sum").item() * BITS_PER_NAT
            num_right += int((logits.argmax(dim=-1) == answers).sum())
            num_bases += answers.numel()
    return Score(
        bits_per_base=bits / num_bases, accuracy=num_right / num_bases, num_bases=num_bases
    )
