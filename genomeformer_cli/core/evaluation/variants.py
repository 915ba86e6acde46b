"""Effects of sequence changes: variants, and all single substitutions.

Log-odds are log2 p(alt) - log2 p(ref), the mean of both strands; above 0 the model predicts a
higher probability of the alternative allele.

| model         | log-odds of a change                                                             |
|---------------|----------------------------------------------------------------------------------|
| causal        | of the whole window with the change, against the window without it               |
| two stacks    | of the base, given all others of its window; single substitutions only           |
| bidirectional | of the changed bases, masked together, given the rest of the window; not for     |
|               | insertions and deletions, which change the number of predicted bases             |

Of longer tokens, those that differ between the two windows are masked together, and the sums of
their log-probabilities are compared; if a change shifts the cut of pieces, each window has its own
tokens. Overlapping tokens are all masked that cover a substituted base; see `token_bases`.

Shape letters: N windows, L length, R real bases, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.evaluation.base_likelihood import base_log2, true_base_log2
from genomeformer_cli.core.evaluation.token_bases import (
    Coverage,
    Cut,
    Numbers,
    TokenBases,
    TokenQuery,
)
from genomeformer_cli.core.evaluation.tokenized_record import Log2, ScoringOptions
from genomeformer_cli.core.evaluation.variant_divergence import (
    differing_tokens,
    pad_tokens,
    window_divergences,
)
from genomeformer_cli.core.evaluation.variant_windows import WindowPair, window_pair
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    reverse_complement_codes,
)

_LN2 = float(np.log(2))
_VARIANTS_PER_BATCH, _CPU_BASES = 64, 8_192
_TARGET = -1

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class VariantScore:
    """Score of a variant."""

    variant: Variant  # The variant.
    # log2 p(alt) - log2 p(ref), mean of both strands; None if undefined for the model.
    log_odds: float | None
    # Euclidean distance between the vectors of the window with and without the variant, mean of
    # both strands; None if there is no window.
    embedding_distance: float | None
    note: str  # Reason for a missing value; empty if none is missing.
    # Jensen-Shannon divergence of the predictions of all other tokens, in bits, summed over the
    # window, mean of both strands; None if there is no window or it is not requested.
    divergence: float | None = None
    # Mean vectors of the windows with the reference and the alternative allele, shape (2, E), mean
    # of both strands; None if there is no window or they are not requested.
    vectors_2E: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class VariantOptions:
    """Options of scoring variants."""

    window: int  # Bases of the window around a variant, with either allele.
    has_vectors: bool = True  # Compute the vectors and their distance.
    has_divergence: bool = False  # Compute the divergence of the predictions.


def score_variants(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    genome: Mapping[str, Codes],
    options: VariantOptions,
    reporter: Reporter,
) -> list[VariantScore]:
    """Score variants in order; a variant that cannot be scored carries the reason.

    Args:
        loaded: The model.
        variants: Variants.
        genome: Base codes of the records.
        options: Window, and the scores to compute beside log-odds.
        reporter: Receives progress.
    """
    batches = _batches(loaded, variants, options.window)
    with reporter.track("scoring variants", len(variants), "variants") as tracker:
        scores = _run_batches(
            lambda batch: _score_batch(loaded, batch, genome, options),
            batches,
            loaded,
            2 * options.window,
            lambda batch: tracker.advance(len(batch)),
        )
    return [score for batch_scores in scores for score in batch_scores]


def _batches(loaded: LoadedModel, rows: Sequence[T], window: int) -> list[Sequence[T]]:
    """Divide variants or mutants into batches; small ones for the workers on the CPU."""
    size = _VARIANTS_PER_BATCH
    if loaded.model.device.type == "cpu":
        size = min(size, max(_CPU_BASES // max(window, 1), 1))
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _run_batches(
    function: Callable[[Sequence[T]], R],
    batches: Sequence[Sequence[T]],
    loaded: LoadedModel,
    num_bases: int,
    on_done: Callable[[Sequence[T]], None] | None = None,
) -> list[R]:
    """Apply a function to batches on all cores; each row has at most `num_bases` bases."""
    cost = BatchCost.of_model(loaded.model)
    return run_tasks(
        function,
        batches,
        device=loaded.model.device,
        demand=cost.demand((len(batch), num_bases) for batch in batches),
        on_done=on_done,
    )


def _score_batch(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    genome: Mapping[str, Codes],
    options: VariantOptions,
) -> list[VariantScore]:
    results = [window_pair(variant, genome, options.window) for variant in variants]
    pairs = [result for result in results if isinstance(result, WindowPair)]
    strands = (pairs, [pair.reverse_complement for pair in pairs])
    odds = list(zip(*(_log_odds(loaded, strand_pairs) for strand_pairs in strands), strict=True))
    vectors_N2E = distances_N = divergences_N = None
    if options.has_vectors:
        vectors = [_vectors(loaded, strand_pairs) for strand_pairs in strands]
        distances_N = np.mean([np.linalg.norm(v[:, 1] - v[:, 0], axis=1) for v in vectors], axis=0)
        vectors_N2E = np.mean(vectors, axis=0)
    if options.has_divergence:
        divergences_N = np.mean(
            [window_divergences(loaded, strand_pairs) for strand_pairs in strands], axis=0
        )
    scores: list[VariantScore] = []
    row = 0
    for variant, result in zip(variants, results, strict=True):
        if isinstance(result, str):
            scores.append(
                VariantScore(variant=variant, log_odds=None, embedding_distance=None, note=result)
            )
            continue
        forward, reverse = odds[row]
        log_odds = None if forward is None or reverse is None else (forward + reverse) / 2
        scores.append(
            VariantScore(
                variant=variant,
                log_odds=log_odds,
                embedding_distance=None if distances_N is None else float(distances_N[row]),
                note="" if log_odds is not None else _undefined_reason(result),
                divergence=None if divergences_N is None else float(divergences_N[row]),
                vectors_2E=None if vectors_N2E is None else vectors_N2E[row],
            )
        )
        row += 1
    return scores


def _undefined_reason(pair: WindowPair) -> str:
    if pair.num_ref != pair.num_alt:
        return "changes the length"
    return "not a single substitution"


@dataclass(frozen=True)
class _Hidden:
    """Tokens of a window, some of which are predicted from the others."""

    ids_T: Numbers  # Token ids.
    hidden: slice  # Predicted tokens, masked together.
    query: TokenQuery | None = None  # Predicted base of an overlapping token.
    asked: int = 0  # Index of the token that is asked for the base.


def _log_odds(loaded: LoadedModel, pairs: Sequence[WindowPair]) -> list[float | None]:
    """Return log2 p(alt) - log2 p(ref) of each pair on one strand; None where undefined."""
    if objective_for(loaded.model.config.direction).is_causal:
        windows = [window for pair in pairs for window in (pair.ref, pair.alt)]
        sums = _log_likelihoods(loaded, [loaded.tokenizer.encode(codes) for codes in windows])
        return [float(odds) for odds in sums[1::2] - sums[::2]]
    bases = TokenBases(loaded.tokenizer)
    questions = [_question(bases, loaded, pair) for pair in pairs]
    positions = [hidden for question in questions if question for hidden in question]
    answers = iter(_hidden_logits(loaded, positions))
    odds: list[float | None] = []
    for pair, question in zip(pairs, questions, strict=True):
        if question is None:
            odds.append(None)
            continue
        (ref, ref_logits), (alt, alt_logits) = ((hidden, next(answers)) for hidden in question)
        if ref.query is not None:
            log2_R = bases.log2_of_base(ref_logits, ref.ids_T[ref.asked : ref.asked + 1], ref.query)
            odds.append(float(log2_R[0, pair.alt[pair.first]] - log2_R[0, pair.ref[pair.first]]))
            continue
        odds.append(_token_sum(bases, alt, alt_logits) - _token_sum(bases, ref, ref_logits))
    return odds


def _token_sum(bases: TokenBases, hidden: _Hidden, logits_NV: torch.Tensor) -> float:
    ids_N = torch.from_numpy(hidden.ids_T[hidden.hidden]).to(logits_NV.device)
    return float(bases.log2_of_tokens(logits_NV, ids_N).sum())


def _question(
    bases: TokenBases, loaded: LoadedModel, pair: WindowPair
) -> tuple[_Hidden, _Hidden] | None:
    """Return the tokens of both alleles that are predicted; None if the log-odds are undefined."""
    same_length = pair.num_ref == pair.num_alt
    if not same_length and bases.cut is not Cut.PIECES:
        return None
    hides = objective_for(loaded.model.config.direction).hides_targets
    ref, alt = (loaded.tokenizer.encode(codes).astype(np.int64) for codes in (pair.ref, pair.alt))
    if bases.cut is Cut.OVERLAPPING:
        if pair.num_ref > 1 or not hides:
            return None
        coverage = Coverage.of_sequence(loaded.tokenizer, pair.ref)
        token = int(coverage.query_tokens(causal=False)[pair.first])
        if token < 0:
            return None
        span = slice(int(coverage.low_L[pair.first]), int(coverage.high_L[pair.first]))
        hidden = _Hidden(ref, span, coverage.query(pair.first, token), token)
        return hidden, hidden
    ref_span, alt_span = (
        (pair.changed, pair.changed) if bases.cut is Cut.BASES else differing_tokens(ref, alt)
    )
    is_single = ref_span.stop - ref_span.start == alt_span.stop - alt_span.start == 1
    is_real = loaded.tokenizer.is_real
    if not (hides or is_single) or not (
        is_real[ref[ref_span]].all() and is_real[alt[alt_span]].all()
    ):
        return None
    return _Hidden(ref, ref_span), _Hidden(alt, alt_span)


@torch.inference_mode()
def _hidden_logits(loaded: LoadedModel, positions: Sequence[_Hidden]) -> list[torch.Tensor]:
    """Return the logits (N, V) at the predicted tokens of each window; equal rows are run once."""
    tokenizer, model = loaded.tokenizer, loaded.model
    hides = objective_for(model.config.direction).hides_targets
    rows: dict[bytes, int] = {}
    inputs: list[Numbers] = []
    places: list[int] = []
    for hidden in positions:
        ids_T = hidden.ids_T.copy()
        if hides:
            assert tokenizer.mask_id is not None
            ids_T[hidden.hidden] = tokenizer.mask_id
        # A model of two stacks does not see the token that it predicts.
        key_T = ids_T.copy()
        key_T[hidden.hidden] = _TARGET
        place = rows.setdefault(key_T.tobytes(), len(inputs))
        if place == len(inputs):
            inputs.append(ids_T)
        places.append(place)
    if not inputs:
        return []
    tokens = pad_tokens(loaded, inputs)
    features_NLE = model.hidden(tokens, padding_mask(tokens, tokenizer.pad_id))
    logits = []
    for hidden, place in zip(positions, places, strict=True):
        span = hidden.hidden
        if hidden.query is not None:
            span = slice(hidden.asked, hidden.asked + 1)
        logits.append(model.logits(features_NLE[place, span]))
    return logits


def _vectors(loaded: LoadedModel, pairs: Sequence[WindowPair]) -> npt.NDArray[np.float32]:
    """Return the mean vectors of both windows of each pair, shape (N, 2, E)."""
    ids = [loaded.tokenizer.encode(codes) for pair in pairs for codes in (pair.ref, pair.alt)]
    longest = max((codes.size for codes in ids), default=1)
    vectors_NE = embed_tokens(loaded, ids, window=longest, reporter=SilentReporter())
    return np.stack((vectors_NE[::2], vectors_NE[1::2]), axis=1)


def mutagenesis_map(loaded: LoadedModel, codes: Codes, every: int) -> Log2:
    """Return log-odds of every single substitution, shape (L, 4); 0 for the base itself.

    Both strands are averaged. NaN at N.
    """
    if not objective_for(loaded.model.config.direction).is_causal:
        log2_LR = base_log2(loaded, codes, ScoringOptions(every=every, both_strands=True))
        odds_LR = log2_LR - true_base_log2(log2_LR, codes)[:, None]
    else:
        forward_LR = _causal_map(loaded, codes)
        reverse_LR = _causal_map(loaded, reverse_complement_codes(codes))[::-1, ::-1]
        odds_LR = (forward_LR + reverse_LR) / 2
    odds_LR[codes >= NUM_REAL_BASES] = np.nan
    return odds_LR


def _causal_map(loaded: LoadedModel, codes: Codes) -> Log2:
    """Return the log-likelihood of every mutant minus that of the sequence, read as one window."""
    encode = loaded.tokenizer.encode
    reference = _log_likelihoods(loaded, [encode(codes)])[0]
    odds_LR = np.zeros((codes.size, NUM_REAL_BASES))
    substitutions = [
        (position, base)
        for position in range(codes.size)
        for base in range(NUM_REAL_BASES)
        if codes[position] < NUM_REAL_BASES and base != codes[position]
    ]

    def write(batch: Sequence[tuple[int, int]]) -> None:
        mutants = []
        for position, base in batch:
            mutant = codes.copy()
            mutant[position] = base
            mutants.append(encode(mutant))
        log_odds = _log_likelihoods(loaded, mutants) - reference
        for (position, base), odds in zip(batch, log_odds, strict=True):
            odds_LR[position, base] = odds

    _run_batches(write, _batches(loaded, substitutions, codes.size), loaded, codes.size)
    return odds_LR


@torch.inference_mode()
def _log_likelihoods(
    loaded: LoadedModel, rows: Sequence[npt.NDArray[Any]]
) -> npt.NDArray[np.float64]:
    """Return the sum of the log2 probabilities of each row's real tokens but the first."""
    if not rows:
        return np.zeros(0)
    bases = TokenBases(loaded.tokenizer)
    tokens = pad_tokens(loaded, rows)
    features_NLE = loaded.model.hidden(tokens, padding_mask(tokens, loaded.tokenizer.pad_id))
    is_real = torch.from_numpy(loaded.tokenizer.is_real).to(tokens.device)
    sums = []
    for row, features_LE in zip(tokens, features_NLE, strict=True):
        position_N = is_real[row[1:]].nonzero()[:, 0]
        log2_N = bases.log2_of_tokens(
            loaded.model.logits(features_LE[position_N]), row[1:][position_N]
        )
        sums.append(float(log2_N.sum()))
    return np.array(sums)
