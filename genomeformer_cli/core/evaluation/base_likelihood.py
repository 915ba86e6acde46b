"""Log-probability of every base of a sequence: exact, or a pseudo-log-likelihood.

| model         | context of a predicted base                              | sum                   |
|---------------|----------------------------------------------------------|-----------------------|
| causal        | the bases before it; a record's first base is not scored | log-likelihood        |
| two stacks    | all other bases                                          | pseudo-log-likelihood |
| bidirectional | all other bases but those masked with it, one in `every` | pseudo-log-likelihood |

A mechanism that can carry a state reads whole records. The others read windows of the context that
overlap by half: a base is scored in the window whose middle half contains it, or, for a causal
model, in the window that holds at least half a window of bases before it.
Shape letters: L length, W windows, T tokens per window, R real bases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.token_bases import Cut, TokenBases
from genomeformer_cli.core.evaluation.token_scores import TokenScores
from genomeformer_cli.core.evaluation.tokenized_record import (
    Log2,
    PredictedTokens,
    ScoringOptions,
    TokenizedRecord,
    use_record_logits,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes

_LN2 = float(np.log(2))


def check_scorable(loaded: LoadedModel) -> None:
    """Check that a model predicts tokens, with or without masking them.

    Raises:
        ConfigError: The model hides the tokens that it predicts, and its vocabulary has no mask.
    """
    hides = objective_for(loaded.model.config.direction).hides_targets
    if hides and loaded.tokenizer.mask_id is None:
        raise ConfigError(
            "the vocabulary of the model has no mask token, so that no base can be hidden",
            hint="score with a causal model, or with one that was trained on masked tokens",
        )


def check_single_bases(loaded: LoadedModel) -> None:
    """Check that the tokens of a model give probabilities of single bases.

    Raises:
        ConfigError: They are pieces of varying length.
    """
    if TokenBases(loaded.tokenizer).cut is Cut.PIECES:
        raise ConfigError(
            f"tokens of `{loaded.tokenizer.kind}` give probabilities of tokens, not of bases",
            hint="leave out what needs single bases; records and variants can be scored",
        )


def base_log2(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    """Return log2 probabilities of A C G T at every base, shape (L, 4); NaN where not predicted.

    Raises:
        ConfigError: The tokens are pieces, which give no probabilities of bases.
    """
    check_single_bases(loaded)
    forward_LR = _strand_log2(loaded, codes, rule)
    # Nothing is masked and windows are mirror-symmetric: both strands give equal scores.
    is_symmetric = loaded.is_equivariant and loaded.model.config.direction == "two-stack"
    if not rule.both_strands or is_symmetric:
        return forward_LR
    # Reverse complement: both the positions and the letters are reversed.
    reverse_LR = _strand_log2(loaded, reverse_complement_codes(codes), rule)[::-1, ::-1]
    return (forward_LR + reverse_LR) / 2


def _strand_log2(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    log2_LR = np.full((codes.size, NUM_REAL_BASES), np.nan)
    record = TokenizedRecord.of_codes(loaded, codes)
    use_record_logits(record, rule, partial(record.write_bases, log2_LR))
    log2_LR[codes >= NUM_REAL_BASES] = np.nan
    return log2_LR


def token_log2(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    """Return the log2 probability of every token of a sequence, (T,); NaN where not predicted.

    The probability is one among all tokens of A C G T only.
    """
    record = TokenizedRecord.of_codes(loaded, codes)
    log2_T = np.full(record.ids_T.size, np.nan)

    def write(queries: PredictedTokens, logits_NV: Tensor) -> None:
        ids_N = torch.from_numpy(record.ids_T[queries.token_N]).to(logits_NV.device)
        log2_T[queries.token_N] = record.bases.log2_of_tokens(logits_NV, ids_N).cpu().numpy()

    use_record_logits(record, rule, write)
    return log2_T


@dataclass(frozen=True, kw_only=True)
class RecordScore:
    """Likelihood of one record."""

    id: str  # First word of the header.
    length: int  # Number of bases.
    num_scored: int  # Number of real bases that are predicted.
    log_likelihood: float  # Sum of the natural logarithms; NaN if no base is scored.
    bits_per_base: float  # Negative mean of the binary logarithms.
    perplexity: float  # 2 to the power of the bits per base.
    bits_L: npt.NDArray[np.float64]  # Bits of every base, NaN where it is not predicted.


def score_record(
    loaded: LoadedModel, identifier: str, codes: Codes, rule: ScoringOptions
) -> tuple[RecordScore, Log2]:
    """Score one record; return the score and the log2 probabilities, shape (L, 4).

    Tokens that are pieces have probabilities, and their bases have none: NaN.
    """
    bases = TokenBases(loaded.tokenizer)
    if bases.cut is Cut.PIECES:
        return _score_pieces(loaded, identifier, codes, rule), np.full((codes.size, 4), np.nan)
    log2_LR = base_log2(loaded, codes, rule)
    bits_L = -true_base_log2(log2_LR, codes)
    scored_L = np.isfinite(bits_L)
    bits = float(bits_L[scored_L].sum())
    return _record_score(identifier, int(scored_L.sum()), bits, bits_L), log2_LR


def _score_pieces(
    loaded: LoadedModel, identifier: str, codes: Codes, rule: ScoringOptions
) -> RecordScore:
    """Score a record whose tokens are pieces: each token, given the others."""
    strands = [codes, reverse_complement_codes(codes)] if rule.both_strands else [codes]
    totals = []
    for strand in strands:
        log2_T = token_log2(loaded, strand, rule)
        scored_T = np.isfinite(log2_T)
        offsets_T2 = loaded.tokenizer.offsets(strand)
        num_bases = int((offsets_T2[scored_T, 1] - offsets_T2[scored_T, 0]).sum())
        totals.append((num_bases, -float(log2_T[scored_T].sum())))
    num_scored, bits = np.mean(totals, axis=0)
    return _record_score(identifier, int(num_scored), float(bits), np.full(codes.size, np.nan))


def _record_score(
    identifier: str, num_scored: int, bits: float, bits_L: npt.NDArray[np.float64]
) -> RecordScore:
    """Return the score of a record from its total bits."""
    total = bits if num_scored else float("nan")
    mean = total / num_scored if num_scored else float("nan")
    return RecordScore(
        id=identifier,
        length=bits_L.size,
        num_scored=num_scored,
        log_likelihood=-total * _LN2,
        bits_per_base=mean,
        perplexity=2**mean,
        bits_L=bits_L,
    )


def score_bases(
    loaded: LoadedModel, codes: Codes, is_query_L: npt.NDArray[np.bool_]
) -> TokenScores:
    """Score a model at some bases of a sequence, each predicted as by `base_log2`.

    Args:
        loaded: The model.
        codes: Base codes.
        is_query_L: True at the scored bases; never in the first token for a causal model.
    """
    log2_LR = base_log2(loaded, codes, ScoringOptions())
    return TokenScores(
        bits_N=-true_base_log2(log2_LR, codes)[is_query_L],
        correct_N=(log2_LR[is_query_L].argmax(axis=1) == codes[is_query_L]),
    )


def true_base_log2(log2_LR: Log2, codes: Codes) -> npt.NDArray[np.float64]:
    """Return the log2 probability of every base of the sequence, shape (L,); NaN at N."""
    codes_L = np.minimum(codes, NUM_REAL_BASES - 1).astype(np.int64)
    true_LR: npt.NDArray[np.float64] = np.take_along_axis(log2_LR, codes_L[:, None], axis=1)
    return true_LR[:, 0]
