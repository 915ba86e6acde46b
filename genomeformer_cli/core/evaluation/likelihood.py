"""How well a model answers the held-out questions: bits per base and accuracy.

Windows by `score_windows`; whole records, base after base, by `score_record_tokens`, for models that can carry
their state along (see `core.models.genomeformer.streaming_forward`).
Shape letters: B batch, L length, C positions of a slice, N questions, R answers, V vocabulary,
E width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.evaluation.token_scores import TokenScores, concatenate_scores
from genomeformer_cli.core.models.genomeformer.build import Model
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.genomeformer.streaming_forward import features_by_slices
from genomeformer_cli.core.objectives.loss import BITS_PER_NAT
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID
from genomeformer_cli.core.training.metrics import Score

_TOKENS_A_BATCH = 16_384
_SLICE = 4_096


def likelihood(model: Model, questions: Queries) -> Score:
    """The mean of a model's answers."""
    return score_windows(model, questions).score()


@torch.inference_mode()
def score_windows(model: Model, questions: Queries) -> TokenScores:
    """Ask a model for every hidden base or token, one pass at a time.

    A bidirectional model finds them masked. The others do not see what they predict, and are given
    the rest as it is: a causal one what is before each, two stacks both sides. Where the questions
    are put on both strands, the answer is the mean of both probabilities.

    Returns:
        Answers in the order of the places where `questions.asked` is true.
    """
    num_windows, length = questions.tokens_WL.shape
    rows = max(_TOKENS_A_BATCH // length, 1)
    return concatenate_scores(
        [
            _answer_windows(model, questions, number, slice(first, first + rows))
            for number in range(len(questions.hidden_PWL))
            for first in range(0, num_windows, rows)
        ]
    )


def _answer_windows(model: Model, questions: Queries, number: int, part: slice) -> TokenScores:
    """Answers of one pass about some windows."""
    nats_NR, truth_N = _log_probabilities(model, questions, number, part)
    asked_BL = questions.is_query[number, part]
    if questions.reverse_strand is not None:
        other_NR, _ = _log_probabilities(model, questions.reverse_strand, number, part)
        # A row's questions come in the opposite order there, and each base as its complement.
        other_NR = other_NR[_opposite(asked_BL)].flip(-1)
        nats_NR = torch.logaddexp(nats_NR, other_NR) - math.log(2)
    said = _answers(nats_NR, truth_N)
    if questions.bases_V is None:
        return said
    return replace(said, bases_N=questions.bases_V[questions.tokens_WL[part][asked_BL]])


def _log_probabilities(
    model: Model, questions: Queries, number: int, part: slice
) -> tuple[Tensor, Tensor]:
    """Of every answer to every question of a pass (N, R), and which one is true (N,)."""
    device = model.device
    hidden_BL = torch.from_numpy(questions.hidden_PWL[number, part]).to(device)
    asked_BL = torch.from_numpy(questions.is_query[number, part]).to(device)
    tokens_BL = torch.from_numpy(questions.tokens_WL[part]).to(device)
    features_NE = _features(model, tokens_BL, hidden_BL, asked_BL)
    logits_NR, truth_N = _candidates(model, features_NE, tokens_BL[asked_BL], questions)
    return functional.log_softmax(logits_NR, dim=-1), truth_N


def _features(model: Model, tokens_BL: Tensor, hidden_BL: Tensor, asked_BL: Tensor) -> Tensor:
    """What the head is to answer from at each position asked for."""
    mask_BL = padding_mask(tokens_BL, PAD_ID)
    if model.config.direction == "bidirectional":
        seen_BL = tokens_BL.masked_fill(hidden_BL, MASK_ID)
        return model.hidden_at(seen_BL, mask_BL, None, SelectedPositions.from_mask(asked_BL))
    features_BLE = model.hidden(tokens_BL, mask_BL)
    if model.config.direction == "causal":
        features_BLE = features_BLE.roll(1, dims=1)
    return features_BLE[asked_BL]


def _candidates(
    model: Model, features_NE: Tensor, ids_N: Tensor, questions: Queries
) -> tuple[Tensor, Tensor]:
    """Logits of the possible answers (N, R), and the true one's place among them (N,)."""
    real_ids, k = questions.real_ids, questions.k
    if k == 1:
        return real_logits(model, features_NE, real_ids), ids_N - real_ids.start
    first_word = real_ids.stop - NUM_REAL_BASES**k
    shift = 2 * (k - 1 - questions.base_offset)
    words_N = ids_N - first_word
    bases_R = torch.arange(NUM_REAL_BASES, device=ids_N.device) << shift
    others_NR = (words_N & ~(3 << shift))[:, None] | bases_R
    logits_NV = model.logits(features_NE).double()
    return logits_NV.gather(1, others_NR + first_word), words_N >> shift & 3


def _opposite(asked_BL: npt.NDArray[np.bool_]) -> Tensor:
    """For each question, its number when those of each window come in the opposite order."""
    counts_B = asked_BL.sum(axis=1)
    first_N = np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
    last_N = first_N + np.repeat(counts_B, counts_B) - 1
    return torch.from_numpy(first_N + last_N - np.arange(first_N.size))


def real_logits(model: Model, features: Tensor, real_ids: range) -> Tensor:
    """Logits of the tokens that can be an answer, in double precision."""
    return model.logits(features)[..., real_ids.start : real_ids.stop].double()


def _answers(nats_NR: Tensor, truth_N: Tensor) -> TokenScores:
    """Answers of log-probabilities."""
    true_N = nats_NR.gather(1, truth_N[:, None])[:, 0]
    return TokenScores(
        bits_N=(-true_N * BITS_PER_NAT).cpu().numpy(),
        correct_N=(nats_NR.argmax(dim=-1) == truth_N).cpu().numpy(),
    )


@torch.inference_mode()
def score_record_tokens(
    model: Model, tokens_L: npt.NDArray[np.int64], asked_L: npt.NDArray[np.bool_], real_ids: range
) -> TokenScores:
    """Ask a model that does not see what it predicts for the bases of a whole record.

    Args:
        model: Causal, or of two stacks, that can carry its state along.
        tokens_L: The record.
        asked_L: Which bases; of a causal model never the first.
        real_ids: Ids that can be an answer.
    """
    parts = [
        _answers(functional.log_softmax(logits_CR[asked], dim=-1), truth[asked])
        for logits_CR, truth, asked in _predicted(model, tokens_L, asked_L, real_ids)
        if bool(asked.any())
    ]
    return concatenate_scores(parts)


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
