"""Effects of sequence changes: variants, and all single substitutions.

Log-odds are log2 p(alt) - log2 p(ref), the mean of both strands; above 0 the model predicts a
higher probability of the alternative allele.

| model         | log-odds of a change                                                             |
|---------------|----------------------------------------------------------------------------------|
| causal        | of the whole window with the change, against the window without it               |
| two stacks    | of the base, given all others of its window; single substitutions only           |
| bidirectional | of the changed bases, masked together, given the rest of the window; not for     |
|               | insertions and deletions, which change the number of predicted bases             |

Shape letters: N windows, L length, R real bases, E width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.evaluation.base_likelihood import (
    Log2,
    ScoringOptions,
    base_log2,
    true_base_log2,
)
from genomeformer_cli.core.evaluation.likelihood import real_logits
from genomeformer_cli.core.formats.named_records import unknown_record
from genomeformer_cli.core.formats.vcf import Variant, allele_problem
from genomeformer_cli.core.genomes.regions import variant_problem
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    encode_bases,
    reverse_complement_codes,
)
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID, require_ordered

_LN2 = float(np.log(2))
_VARIANTS_PER_BATCH = 64


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


@dataclass(frozen=True)
class _Pair:
    """Window with and without a change, and the position of the change."""

    ref: Codes
    alt: Codes
    first: int
    num_ref: int
    num_alt: int

    @property
    def changed(self) -> slice:
        """Slice of the changed bases."""
        return slice(self.first, self.first + self.num_ref)

    @property
    def reverse_complement(self) -> _Pair:
        """Reverse complement of the pair."""
        return _Pair(
            reverse_complement_codes(self.ref),
            reverse_complement_codes(self.alt),
            self.ref.size - self.first - self.num_ref,
            self.num_ref,
            self.num_alt,
        )


def score_variants(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    genome: Mapping[str, Codes],
    window: int,
    reporter: Reporter,
) -> list[VariantScore]:
    """Score variants in order; a variant that cannot be scored carries the reason.

    Args:
        loaded: Model of single bases.
        variants: Variants.
        genome: Base codes of the records.
        window: Bases of the window around a variant, with either allele.
        reporter: Receives progress.
    """
    scores: list[VariantScore] = []
    with reporter.track("scoring variants", len(variants), "variants") as tracker:
        for first in range(0, len(variants), _VARIANTS_PER_BATCH):
            batch = variants[first : first + _VARIANTS_PER_BATCH]
            scores += _score_batch(loaded, batch, genome, window)
            tracker.advance(len(batch))
    return scores


def _score_batch(
    loaded: LoadedModel,
    variants: Sequence[Variant],
    genome: Mapping[str, Codes],
    window: int,
) -> list[VariantScore]:
    results = [_window_of(variant, genome, window) for variant in variants]
    pairs = [result for result in results if isinstance(result, _Pair)]
    strands = (pairs, [pair.reverse_complement for pair in pairs])
    odds = iter(zip(*(_log_odds(loaded, strand_pairs) for strand_pairs in strands), strict=True))
    distances = iter(
        np.mean([_distances(loaded, strand_pairs) for strand_pairs in strands], axis=0)
    )
    scores: list[VariantScore] = []
    for variant, result in zip(variants, results, strict=True):
        if isinstance(result, str):
            log_odds, distance, note = None, None, result
        else:
            forward, reverse = next(odds)
            log_odds = None if forward is None or reverse is None else (forward + reverse) / 2
            distance, note = (
                float(next(distances)),
                "" if log_odds is not None else _undefined_reason(loaded),
            )
        scores.append(
            VariantScore(variant=variant, log_odds=log_odds, embedding_distance=distance, note=note)
        )
    return scores


def _undefined_reason(loaded: LoadedModel) -> str:
    if loaded.model.config.direction == "two-stack":
        return "not a single substitution"
    return "changes the length"


def _window_of(variant: Variant, genome: Mapping[str, Codes], window: int) -> _Pair | str:
    """Return the windows of a variant, or the reason why there are none."""
    codes = genome.get(variant.chromosome)
    if codes is None:
        return variant.problem or unknown_record(variant.chromosome, genome)
    problem = allele_problem(variant.position, variant.ref, variant.alt)
    if problem or (problem := variant_problem(variant, codes)):
        return problem
    start = variant.position - 1
    ref, alt = encode_bases(variant.ref), encode_bases(variant.alt)
    if (ref >= NUM_REAL_BASES).any() or (alt >= NUM_REAL_BASES).any():
        return "unknown base: an allele holds `N` or another ambiguity code"
    longer = max(ref.size, alt.size)
    if longer > window:
        return f"too long: an allele of {longer:,} bases, and the window holds {window:,}"
    # As many bases on either side, so that the other strand is read in the same window.
    flank = (window - longer) // 2
    is_whole = codes.size + longer - ref.size <= window
    width = codes.size if is_whole else min(ref.size + 2 * flank, codes.size)
    window_start = min(max(start - flank, 0), codes.size - width)
    window_end = window_start + width
    before, after = codes[window_start:start], codes[start + ref.size : window_end]
    return _Pair(
        codes[window_start:window_end],
        np.concatenate((before, alt, after)),
        start - window_start,
        ref.size,
        alt.size,
    )


@torch.inference_mode()
def _log_odds(loaded: LoadedModel, pairs: Sequence[_Pair]) -> list[float | None]:
    if not pairs:
        return []
    objective = objective_for(loaded.model.config.direction)
    if objective.is_causal:
        windows = [pair.ref for pair in pairs] + [pair.alt for pair in pairs]
        log_likelihoods = _log_likelihoods(loaded, _padded(loaded, windows))
        return [
            float(log_odds)
            for log_odds in log_likelihoods[len(pairs) :] - log_likelihoods[: len(pairs)]
        ]
    tokens_NL = _padded(loaded, [pair.ref for pair in pairs])
    if objective.hides_targets:
        for row, pair in enumerate(pairs):
            tokens_NL[row, pair.changed] = MASK_ID
    tokens = torch.from_numpy(tokens_NL).to(loaded.model.device)
    features_NLE = loaded.model.hidden(tokens, padding_mask(tokens, PAD_ID))
    odds: list[float | None] = []
    for row, pair in enumerate(pairs):
        if pair.num_ref != pair.num_alt or (not objective.hides_targets and pair.num_ref > 1):
            odds.append(None)
            continue
        features = features_NLE[row, pair.changed]
        logits = real_logits(loaded.model, features, require_ordered(loaded.tokenizer).real_ids)
        log2 = (torch.log_softmax(logits, dim=-1) / _LN2).cpu().numpy()
        rows = np.arange(pair.num_ref)
        ref_codes, alt_codes = pair.ref[pair.changed], pair.alt[pair.changed]
        odds.append(float((log2[rows, alt_codes] - log2[rows, ref_codes]).sum()))
    return odds


def _padded(loaded: LoadedModel, windows: Sequence[Codes]) -> npt.NDArray[np.int64]:
    tokens_NL = np.full(
        (len(windows), max(codes.size for codes in windows)), PAD_ID, dtype=np.int64
    )
    for row, codes in enumerate(windows):
        tokens_NL[row, : codes.size] = loaded.tokenizer.encode(codes)
    return tokens_NL


def _distances(loaded: LoadedModel, pairs: Sequence[_Pair]) -> npt.NDArray[np.float64]:
    ids = [loaded.tokenizer.encode(codes) for pair in pairs for codes in (pair.ref, pair.alt)]
    longest = max((codes.size for codes in ids), default=1)
    vectors_NE = embed_tokens(loaded, ids, window=longest, reporter=SilentReporter())
    return np.linalg.norm(vectors_NE[1::2] - vectors_NE[::2], axis=1).astype(np.float64)


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
    tokens_L = loaded.tokenizer.encode(codes).astype(np.int64)
    real_ids = require_ordered(loaded.tokenizer).real_ids
    reference = _log_likelihoods(loaded, tokens_L[None])[0]
    odds_LR = np.zeros((codes.size, NUM_REAL_BASES))
    substitutions = [
        (position, base)
        for position in range(codes.size)
        for base in range(NUM_REAL_BASES)
        if codes[position] < NUM_REAL_BASES and base != codes[position]
    ]
    for first in range(0, len(substitutions), _VARIANTS_PER_BATCH):
        batch = substitutions[first : first + _VARIANTS_PER_BATCH]
        mutants_NL = np.repeat(tokens_L[None], len(batch), axis=0)
        for row, (position, base) in enumerate(batch):
            mutants_NL[row, position] = real_ids.start + base
        log_odds = _log_likelihoods(loaded, mutants_NL) - reference
        for (position, base), odds in zip(batch, log_odds, strict=True):
            odds_LR[position, base] = odds
    return odds_LR


def _log_likelihoods(
    loaded: LoadedModel, tokens_NL: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the sum of the log2 probabilities of each row's real bases but the first."""
    real_ids = require_ordered(loaded.tokenizer).real_ids
    tokens = torch.from_numpy(tokens_NL).to(loaded.model.device)
    features = loaded.model.hidden(tokens, padding_mask(tokens, PAD_ID))[:, :-1]
    log2 = torch.log_softmax(real_logits(loaded.model, features, real_ids), dim=-1) / _LN2
    targets = tokens[:, 1:] - real_ids.start
    is_real = (targets >= 0) & (targets < len(real_ids))
    true_log2 = log2.gather(2, targets.clamp(0, len(real_ids) - 1)[..., None])[..., 0]
    sums_N: npt.NDArray[np.float64] = (true_log2 * is_real).sum(dim=1).cpu().numpy()
    return sums_N
