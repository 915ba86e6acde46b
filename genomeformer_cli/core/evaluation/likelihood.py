"""How well a model answers the held-out questions: bits per base and accuracy.

Windows by `answer`; whole records, base after base, by `answer_record`, for models that can carry
their state along (see `core.model.sweeps`).
Shape letters: B batch, L length, C positions of a slice, N questions, R real tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.evaluation.answers import Answers, joined
from genomeformer_cli.core.evaluation.held_out import HeldOut
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.model.encoder import padding_mask
from genomeformer_cli.core.model.sweeps import features_by_slices
from genomeformer_cli.core.objectives.prediction import BITS_PER_NAT
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID
from genomeformer_cli.core.training.metrics import Score

_TOKENS_A_BATCH = 16_384
_SLICE = 4_096


def likelihood(model: Model, questions: HeldOut) -> Score:
    """The mean of a model's answers."""
    return answer(model, questions).score()


@torch.inference_mode()
def answer(model: Model, questions: HeldOut) -> Answers:
    """Ask a model for every hidden base, one pass at a time.

    A bidirectional model finds them masked. The others do not see what they predict, and are given
    the rest as it is: a causal one what is before each, two stacks both sides.

    Returns:
        Answers in the order of the places where `questions.hidden_PWL` is true.
    """
    device = model.device
    rows = max(_TOKENS_A_BATCH // questions.tokens_WL.shape[1], 1)
    parts: list[Answers] = []
    for hidden_WL in questions.hidden_PWL:
        for first in range(0, len(hidden_WL), rows):
            hidden_BL = torch.from_numpy(hidden_WL[first : first + rows]).to(device)
            tokens_BL = torch.from_numpy(questions.tokens_WL[first : first + rows]).to(device)
            features = _features(model, tokens_BL, hidden_BL)
            logits_NR = real_logits(model, features, questions.real_ids)
            parts.append(_answers(logits_NR, tokens_BL[hidden_BL] - questions.real_ids.start))
    return joined(parts)


def _features(model: Model, tokens_BL: Tensor, hidden_BL: Tensor) -> Tensor:
    """What the head is to answer from at each hidden position."""
    mask_BL = padding_mask(tokens_BL, PAD_ID)
    if model.config.direction == "bidirectional":
        return model.hidden(tokens_BL.masked_fill(hidden_BL, MASK_ID), mask_BL)[hidden_BL]
    features_BLE = model.hidden(tokens_BL, mask_BL)
    if model.config.direction == "causal":
        features_BLE = features_BLE.roll(1, dims=1)
    return features_BLE[hidden_BL]


def real_logits(model: Model, features: Tensor, real_ids: range) -> Tensor:
    """Logits of the tokens that can be an answer, in double precision."""
    return model.logits(features)[..., real_ids.start : real_ids.stop].double()


def _answers(logits_NR: Tensor, truth_N: Tensor) -> Answers:
    nats_N = torch.nn.functional.cross_entropy(logits_NR, truth_N, reduction="none")
    return Answers(
        bits_N=(nats_N * BITS_PER_NAT).cpu().numpy(),
        right_N=(logits_NR.argmax(dim=-1) == truth_N).cpu().numpy(),
    )


@torch.inference_mode()
def answer_record(
    model: Model, tokens_L: npt.NDArray[np.int64], asked_L: npt.NDArray[np.bool_], real_ids: range
) -> Answers:
    """Ask a model that does not see what it predicts for the bases of a whole record.

    Args:
        model: Causal, or of two stacks, that can carry its state along.
        tokens_L: The record.
        asked_L: Which bases; of a causal model never the first.
        real_ids: Ids that can be an answer.
    """
    parts = [
        _answers(logits_CR[asked], truth[asked])
        for logits_CR, truth, asked in _predicted(model, tokens_L, asked_L, real_ids)
        if bool(asked.any())
    ]
    return joined(parts)


def _predicted(
    model: Model, tokens_L: npt.NDArray[np.int64], asked_L: npt.NDArray[np.bool_], real_ids: range
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Slice by slice: logits of each base, its index among the real ids, whether it is asked."""
    shift = 1 if model.config.direction == "causal" else 0
    tokens = torch.from_numpy(tokens_L).to(model.device)
    asked = torch.from_numpy(asked_L).to(model.device)
    for start, stop, features_BCE in features_by_slices(model, tokens[None], _SLICE):
        here = slice(start + shift, min(stop + shift, tokens.numel()))
        length = here.stop - here.start
        logits_CR = real_logits(model, features_BCE[0, :length], real_ids)
        yield logits_CR, tokens[here] - real_ids.start, asked[here]
