"""Likelihood of a model on held-out queries: bits per base and accuracy.

`score_windows` scores windows; `score_record_tokens` scores whole records base by base, for models
that carry a state (see `core.models.genomeformer.streaming_forward`).
Shape letters: B batch, L length, C positions of a slice, N queries, R candidate tokens,
V vocabulary, E width.
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
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.loss import BITS_PER_NAT
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.tokenizers.protocol import PAD_ID
from genomeformer_cli.core.training.metrics import Score

_TOKENS_PER_BATCH, _CPU_TOKENS = 16_384, 4_096
_SLICE = 4_096


def likelihood(model: Model, queries: Queries) -> Score:
    """Return the mean score of a model on the queries."""
    return score_windows(model, queries).score()


@torch.inference_mode()
def score_windows(model: Model, queries: Queries) -> TokenScores:
    """Score a model on every queried base or token, one pass at a time.

    A bidirectional model reads masked tokens. The others do not see the token that they predict and
    read the windows unmasked: a causal model the tokens before it, two stacks both sides. If the
    queries include the reverse strand, the probabilities of both strands are averaged.

    Returns:
        Scores in the order of the true positions of `queries.is_query`.
    """
    num_windows, length = queries.tokens_WL.shape
    on_cpu = model.device.type == "cpu"
    rows = max((_CPU_TOKENS if on_cpu else _TOKENS_PER_BATCH) // length, 1)
    passes = [
        (number, slice(first, first + rows))
        for number in range(len(queries.hidden_PWL))
        for first in range(0, num_windows, rows)
    ]

    def score(task: tuple[int, slice]) -> TokenScores:
        return _score_pass(model, queries, *task)

    demand = BatchCost.of_model(model).demand([(rows, length)] * len(passes))
    scores = run_tasks(score, passes, device=model.device, demand=demand)
    return concatenate_scores(scores)


def _score_pass(model: Model, queries: Queries, number: int, rows: slice) -> TokenScores:
    """Score a slice of the windows in one pass."""
    nats_NR, targets_N = _log_probabilities(model, queries, number, rows)
    is_query_BL = queries.is_query[number, rows]
    if queries.reverse_strand is not None:
        reverse_NR, _ = _log_probabilities(model, queries.reverse_strand, number, rows)
        # The reverse strand lists the queries of a row in reverse order, as complements.
        reverse_NR = reverse_NR[_reversed_order(is_query_BL)].flip(-1)
        nats_NR = torch.logaddexp(nats_NR, reverse_NR) - math.log(2)
    scores = _token_scores(nats_NR, targets_N)
    if queries.bases_V is None:
        return scores
    return replace(scores, bases_N=queries.bases_V[queries.tokens_WL[rows][is_query_BL]])


def _log_probabilities(
    model: Model, queries: Queries, number: int, rows: slice
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the candidates (N, R) and the index of the true one (N,)."""
    device = model.device
    is_masked_BL = torch.from_numpy(queries.hidden_PWL[number, rows]).to(device)
    is_query_BL = torch.from_numpy(queries.is_query[number, rows]).to(device)
    tokens_BL = torch.from_numpy(queries.tokens_WL[rows]).to(device)
    features_NE = _features(model, tokens_BL, is_masked_BL, is_query_BL)
    logits_NR, targets_N = _candidates(model, features_NE, tokens_BL[is_query_BL], queries)
    return functional.log_softmax(logits_NR, dim=-1), targets_N


def _features(model: Model, tokens_BL: Tensor, is_masked_BL: Tensor, is_query_BL: Tensor) -> Tensor:
    """Return the input of the prediction head at each queried position."""
    mask_BL = padding_mask(tokens_BL, PAD_ID)
    queries = SelectedPositions.from_mask(is_query_BL)
    objective = objective_for(model.config.direction)
    return objective.query_features(model, tokens_BL, mask_BL, is_masked_BL, queries)


def _candidates(
    model: Model, features_NE: Tensor, ids_N: Tensor, queries: Queries
) -> tuple[Tensor, Tensor]:
    """Return the logits of the candidates (N, R) and the index of the true one (N,)."""
    real_ids, k = queries.real_ids, queries.k
    if k == 1:
        return real_logits(model, features_NE, real_ids), ids_N - real_ids.start
    first_kmer = real_ids.stop - NUM_REAL_BASES**k
    shift = 2 * (k - 1 - queries.base_offset)
    kmers_N = ids_N - first_kmer
    bases_R = torch.arange(NUM_REAL_BASES, device=ids_N.device) << shift
    candidates_NR = (kmers_N & ~(3 << shift))[:, None] | bases_R
    logits_NV = model.logits(features_NE).double()
    return logits_NV.gather(1, candidates_NR + first_kmer), kmers_N >> shift & 3


def _reversed_order(is_query_BL: npt.NDArray[np.bool_]) -> Tensor:
    """Return for each query its index when the queries of each window are reversed."""
    counts_B = is_query_BL.sum(axis=1)
    first_N = np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
    last_N = first_N + np.repeat(counts_B, counts_B) - 1
    return torch.from_numpy(first_N + last_N - np.arange(first_N.size))


def real_logits(model: Model, features: Tensor, real_ids: range) -> Tensor:
    """Return the logits of the real tokens in double precision."""
    return model.logits(features)[..., real_ids.start : real_ids.stop].double()


def _token_scores(nats_NR: Tensor, targets_N: Tensor) -> TokenScores:
    """Compute scores from log-probabilities."""
    true_nats_N = nats_NR.gather(1, targets_N[:, None])[:, 0]
    return TokenScores(
        bits_N=(-true_nats_N * BITS_PER_NAT).cpu().numpy(),
        correct_N=(nats_NR.argmax(dim=-1) == targets_N).cpu().numpy(),
    )


@torch.inference_mode()
def score_record_tokens(
    model: Model,
    tokens_L: npt.NDArray[np.int64],
    is_query_L: npt.NDArray[np.bool_],
    real_ids: range,
) -> TokenScores:
    """Score a model that does not see the predicted base on a whole record.

    Args:
        model: Causal or two-stack model that can carry a state.
        tokens_L: Token ids of the record.
        is_query_L: True at the scored bases; never the first base for a causal model.
        real_ids: Candidate token ids.
    """
    chunks = [
        _token_scores(functional.log_softmax(logits_CR[is_query], dim=-1), targets[is_query])
        for logits_CR, targets, is_query in _slices(model, tokens_L, is_query_L, real_ids)
        if bool(is_query.any())
    ]
    return concatenate_scores(chunks)


def _slices(
    model: Model,
    tokens_L: npt.NDArray[np.int64],
    is_query_L: npt.NDArray[np.bool_],
    real_ids: range,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield for each slice the logits, the index of each true base, and the queries."""
    shift = 1 if objective_for(model.config.direction).is_causal else 0
    tokens = torch.from_numpy(tokens_L).to(model.device)
    is_query = torch.from_numpy(is_query_L).to(model.device)
    for start, stop, features_BCE in model.features_by_slices(tokens[None], _SLICE):
        window = slice(start + shift, min(stop + shift, tokens.numel()))
        length = window.stop - window.start
        logits_CR = real_logits(model, features_BCE[0, :length], real_ids)
        yield logits_CR, tokens[window] - real_ids.start, is_query[window]
