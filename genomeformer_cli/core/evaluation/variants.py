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

Shape letters: L length, M length of the changed window, N tokens, R real bases, V vocabulary, E
width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.evaluation.base_likelihood import base_log2, true_base_log2
from genomeformer_cli.core.evaluation.changed_windows import (
    PairFeatures,
    PairTokens,
    VectorLayers,
    pair_features,
)
from genomeformer_cli.core.evaluation.masked_odds import (
    Question,
    hidden_tokens,
    masked_log_odds,
    token_sum,
)
from genomeformer_cli.core.evaluation.token_bases import TokenBases
from genomeformer_cli.core.evaluation.tokenized_record import Log2, ScoringOptions
from genomeformer_cli.core.evaluation.variant_divergence import window_divergence
from genomeformer_cli.core.evaluation.variant_windows import (
    WindowPair,
    window_pair,
    window_start,
)
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    reverse_complement_codes,
)

_VARIANTS_PER_BATCH, _CPU_BASES = 64, 8_192
# Variants of one reference window, of which only a part is computed again.
_VARIANTS_PER_WINDOW = 4

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

    Rows with the same change are computed once, see also `changed_windows`.

    Args:
        loaded: The model.
        variants: Variants.
        genome: Base codes of the records.
        options: Window, and the scores to compute beside log-odds.
        reporter: Receives progress.
    """
    numbers: dict[Variant, int] = {}
    number_of = [
        numbers.setdefault(replace(variant, id="", line=0), len(numbers)) for variant in variants
    ]
    batches = _variant_batches(loaded, list(numbers), genome, options.window)
    with reporter.track("scoring variants", len(variants), "variants") as tracker:
        tracker.advance(len(variants) - len(numbers))
        scores = _run_batches(
            lambda batch: _score_batch(loaded, batch, genome, options),
            batches,
            loaded,
            2 * options.window,
            lambda batch: tracker.advance(len(batch)),
        )
    distinct = [score for batch_scores in scores for score in batch_scores]
    return [
        replace(distinct[number], variant=variant)
        for number, variant in zip(number_of, variants, strict=True)
    ]


def _variant_batches(
    loaded: LoadedModel, variants: Sequence[Variant], genome: Mapping[str, Codes], window: int
) -> list[Sequence[Variant]]:
    """Divide variants into batches; one with few reference windows has more variants."""
    size = _batch_size(loaded, window)
    batches: list[Sequence[Variant]] = []
    first, starts = 0, set[tuple[str, int]]()
    for index, variant in enumerate(variants):
        record_size = genome[variant.chromosome].size if variant.chromosome in genome else 0
        start = window_start(variant, record_size, window)
        starts.add((variant.chromosome, start))
        num = index - first
        if num >= size and (len(starts) > size or num >= _VARIANTS_PER_WINDOW * size):
            batches.append(variants[first:index])
            first, starts = index, {(variant.chromosome, start)}
    return [*batches, variants[first:]] if variants else []


def _batch_size(loaded: LoadedModel, window: int) -> int:
    """Return the variants of a batch: few for each worker on the CPU."""
    if loaded.model.device.type != "cpu":
        return _VARIANTS_PER_BATCH
    return min(_VARIANTS_PER_BATCH, max(_CPU_BASES // max(window, 1), 1))


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
    strands = [_score_strand(loaded, pairs, options)]
    # The reverse complements have equal log-odds, divergences and distances.
    if not loaded.is_equivariant:
        reverse = [pair.reverse_complement for pair in pairs]
        strands.append(_score_strand(loaded, reverse, options))
    scores = iter([_mean_of_strands(numbers) for numbers in zip(*strands, strict=True)])
    return [
        VariantScore(variant=variant, log_odds=None, embedding_distance=None, note=result)
        if isinstance(result, str)
        else next(scores).score(variant, result)
        for variant, result in zip(variants, results, strict=True)
    ]


@dataclass
class _Numbers:
    """Numbers of a pair of windows."""

    log_odds: float | None = None
    distance: float | None = None
    divergence: float | None = None
    vectors_2E: npt.NDArray[np.float32] | None = None

    def score(self, variant: Variant, pair: WindowPair) -> VariantScore:
        """Return the score of the variant."""
        return VariantScore(
            variant=variant,
            log_odds=self.log_odds,
            embedding_distance=self.distance,
            note="" if self.log_odds is not None else _undefined_reason(pair),
            divergence=self.divergence,
            vectors_2E=self.vectors_2E,
        )


def _mean_of_strands(strands: Sequence[_Numbers]) -> _Numbers:
    """Return the mean of each number; None where a strand has none."""

    def mean(name: str) -> float | None:
        values = [getattr(strand, name) for strand in strands]
        return None if None in values else float(np.mean(values))

    vectors = [strand.vectors_2E for strand in strands if strand.vectors_2E is not None]
    return _Numbers(
        mean("log_odds"),
        mean("distance"),
        mean("divergence"),
        np.mean(vectors, axis=0, dtype=np.float32) if vectors else None,
    )


@torch.inference_mode()
def _score_strand(
    loaded: LoadedModel, pairs: Sequence[WindowPair], options: VariantOptions
) -> list[_Numbers]:
    """Return the numbers of each pair on one strand."""
    objective, bases = objective_for(loaded.model.config.direction), TokenBases(loaded.tokenizer)
    tokens = [PairTokens.of_pair(loaded, pair) for pair in pairs]
    questions: list[Question | None] = [None] * len(pairs)
    if not objective.is_causal:
        questions = [
            hidden_tokens(bases, loaded, pair, pair_tokens)
            for pair, pair_tokens in zip(pairs, tokens, strict=True)
        ]
    odds: list[float | None] = [None] * len(pairs)
    if objective.hides_targets:
        odds = masked_log_odds(loaded, questions, pairs)
    numbers = [_Numbers(log_odds=log_odds) for log_odds in odds]
    vector_layers = VectorLayers.of_model(loaded) if options.has_vectors else None
    layers = _needed_layers(loaded, vector_layers, options)
    for index, features in pair_features(loaded, tokens, layers):
        number = numbers[index]
        if not objective.hides_targets:
            number.log_odds = _log_odds(loaded, tokens[index], questions[index], features)
        if options.has_divergence:
            number.divergence = window_divergence(loaded, tokens[index], features)
        if vector_layers is not None:
            vectors_2E = vector_layers.pool_pair(loaded, tokens[index], features)
            number.distance = float(np.linalg.norm(vectors_2E[1] - vectors_2E[0]))
            strands = [vectors_2E]
            if loaded.is_equivariant:
                strands.append(vector_layers.swap(loaded, vectors_2E))
            number.vectors_2E = np.mean(strands, axis=0, dtype=np.float32)
    return numbers


def _needed_layers(
    loaded: LoadedModel, vectors: VectorLayers | None, options: VariantOptions
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the layers that are needed of original and of changed windows."""
    objective = objective_for(loaded.model.config.direction)
    top = {loaded.model.config.depth}
    changed = set() if vectors is None else {*vectors.numbers}
    if options.has_divergence or objective.is_causal:
        changed |= top
    original = changed if objective.hides_targets else changed | top
    return tuple(sorted(original)), tuple(sorted(changed))


def _log_odds(
    loaded: LoadedModel, tokens: PairTokens, question: Question | None, features: PairFeatures
) -> float | None:
    """Return the log-odds from a model that predicts every token of a window at once."""
    bases = TokenBases(loaded.tokenizer)
    if objective_for(loaded.model.config.direction).is_causal:
        return _causal_log_odds(loaded, bases, tokens, features)
    if question is None:
        return None
    ref, alt = question
    # A model of two stacks does not see the token that it predicts: the window of one allele
    # has the logits of both.
    logits_NV = loaded.model.logits(features.ref[loaded.model.config.depth][ref.hidden])
    return token_sum(bases, alt, logits_NV) - token_sum(bases, ref, logits_NV)


def _causal_log_odds(
    loaded: LoadedModel, bases: TokenBases, tokens: PairTokens, features: PairFeatures
) -> float:
    """Return the log-likelihood of the changed window minus that of the original.

    Tokens before the change are equally probable in both.
    """
    top, start = loaded.model.config.depth, max(tokens.spans[0].start, 1)
    sums = []
    for ids_L, of_window in ((tokens.ref_L, features.ref), (tokens.alt_M, features.alt)):
        token_N = start + np.flatnonzero(loaded.tokenizer.is_real[ids_L[start:]])
        ids_N = torch.from_numpy(ids_L[token_N]).to(loaded.model.device)
        logits_NV = loaded.model.logits(of_window[top][torch.from_numpy(token_N - 1)])
        sums.append(float(bases.log2_of_tokens(logits_NV, ids_N).sum()))
    return sums[1] - sums[0]


def _undefined_reason(pair: WindowPair) -> str:
    if pair.num_ref != pair.num_alt:
        return "changes the length"
    return "not a single substitution"


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


@torch.inference_mode()
def _causal_map(loaded: LoadedModel, codes: Codes) -> Log2:
    """Return the log-likelihood of every mutant minus that of the sequence, read as one window."""
    bases, top = TokenBases(loaded.tokenizer), (loaded.model.config.depth,)
    odds_LR = np.zeros((codes.size, NUM_REAL_BASES))
    substitutions = [
        (position, base)
        for position in range(codes.size)
        for base in range(NUM_REAL_BASES)
        if codes[position] < NUM_REAL_BASES and base != codes[position]
    ]

    def write(batch: Sequence[tuple[int, int]]) -> None:
        pairs = []
        for position, base in batch:
            mutant = codes.copy()
            mutant[position] = base
            pairs.append(PairTokens.of_pair(loaded, WindowPair(codes, mutant, position, 1, 1)))
        for index, features in pair_features(loaded, pairs, (top, top)):
            odds_LR[batch[index]] = _causal_log_odds(loaded, bases, pairs[index], features)

    size = _VARIANTS_PER_WINDOW * _batch_size(loaded, codes.size)
    batches = [substitutions[first : first + size] for first in range(0, len(substitutions), size)]
    _run_batches(write, batches, loaded, codes.size)
    return odds_LR
