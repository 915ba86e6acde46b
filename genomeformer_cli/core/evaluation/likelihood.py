"""How well a model answers the held-out questions: bits per base and accuracy.

Shape letters: B batch, L window length, N questions, R answers, V vocabulary.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.evaluation.held_out import HeldOut
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.model.encoder import padding_mask
from genomeformer_cli.core.objectives.prediction import BITS_PER_NAT
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID
from genomeformer_cli.core.training.metrics import Score

_TOKENS_A_BATCH = 16_384


@torch.inference_mode()
def likelihood(model: Model, questions: HeldOut) -> Score:
    """Ask a model for every hidden base, one pass at a time.

    A bidirectional model finds them masked. The others do not see what they predict, and are given
    the rest as it is: a causal one what is before each, two stacks both sides. Where the questions
    are put on both strands, the answer is the mean of both probabilities.
    """
    bits = 0.0
    num_right = num_tokens = 0
    for number in range(len(questions.hidden_PWL)):
        nats_NR, truth_N = _log_probabilities(model, questions, number)
        if questions.turned is not None:
            other_NR, _ = _log_probabilities(model, questions.turned, number)
            # A row's questions come in the opposite order there, and each base as its complement.
            order_N = _opposite(questions.asked[number])
            other_NR = other_NR[order_N].flip(-1)
            nats_NR = torch.logaddexp(nats_NR, other_NR) - math.log(2)
        true_N = nats_NR.gather(1, truth_N[:, None])
        bits -= true_N.sum().item() * BITS_PER_NAT
        num_right += int((nats_NR.argmax(dim=-1) == truth_N).sum())
        num_tokens += len(truth_N)
    if questions.bases_V is None:
        return Score(
            bits_per_base=bits / num_tokens, accuracy=num_right / num_tokens, num_bases=num_tokens
        )
    asked_WL = np.logical_or.reduce(questions.asked)
    num_bases = int(questions.bases_V[questions.tokens_WL[asked_WL]].sum())
    return Score(
        bits_per_base=bits / num_bases,
        accuracy=num_right / num_tokens,
        num_bases=num_bases,
        num_tokens=num_tokens,
    )


def _log_probabilities(model: Model, questions: HeldOut, number: int) -> tuple[Tensor, Tensor]:
    """Of every answer to every question of a pass (N, R), and which one is true (N,)."""
    device = model.device
    rows = max(_TOKENS_A_BATCH // questions.tokens_WL.shape[1], 1)
    nats: list[Tensor] = []
    truths: list[Tensor] = []
    for first in range(0, len(questions.tokens_WL), rows):
        part = slice(first, first + rows)
        hidden_BL = torch.from_numpy(questions.hidden_PWL[number, part]).to(device)
        asked_BL = torch.from_numpy(questions.asked[number, part]).to(device)
        tokens_BL = torch.from_numpy(questions.tokens_WL[part]).to(device)
        features = _features(model, tokens_BL, hidden_BL, asked_BL)
        logits, truth_N = _answers(model.logits(features).double(), tokens_BL[asked_BL], questions)
        nats.append(functional.log_softmax(logits, dim=-1))
        truths.append(truth_N)
    return torch.cat(nats), torch.cat(truths)


def _answers(logits_NV: Tensor, ids_N: Tensor, questions: HeldOut) -> tuple[Tensor, Tensor]:
    """Logits of the possible answers (N, R), and the true one's place among them (N,)."""
    real_ids, k = questions.real_ids, questions.k
    if k == 1:
        return logits_NV[:, real_ids.start : real_ids.stop], ids_N - real_ids.start
    first_word = real_ids.stop - NUM_REAL_BASES**k
    shift = 2 * (k - 1 - questions.place)
    words_N = ids_N - first_word
    bases_R = torch.arange(NUM_REAL_BASES, device=ids_N.device) << shift
    others_NR = (words_N & ~(3 << shift))[:, None] | bases_R
    return logits_NV.gather(1, others_NR + first_word), words_N >> shift & 3


def _opposite(asked_WL: npt.NDArray[np.bool_]) -> Tensor:
    """For each question, its number when those of each window come in the opposite order."""
    counts_W = asked_WL.sum(axis=1)
    first_N = np.repeat(np.cumsum(counts_W) - counts_W, counts_W)
    last_N = first_N + np.repeat(counts_W, counts_W) - 1
    return torch.from_numpy(first_N + last_N - np.arange(first_N.size))


def _features(model: Model, tokens_BL: Tensor, hidden_BL: Tensor, asked_BL: Tensor) -> Tensor:
    """What the head is to answer from at each position asked for."""
    mask_BL = padding_mask(tokens_BL, PAD_ID)
    if model.config.direction == "bidirectional":
        return model.hidden(tokens_BL.masked_fill(hidden_BL, MASK_ID), mask_BL)[asked_BL]
    features_BLE = model.hidden(tokens_BL, mask_BL)
    if model.config.direction == "causal":
        features_BLE = features_BLE.roll(1, dims=1)
    return features_BLE[asked_BL]
