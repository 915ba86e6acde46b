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

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.evaluation.likelihood import real_logits
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID, require_ordered

EVERY = 16
_TOKENS_PER_BATCH = 16_384
_SLICE = 4_096
_LN2 = float(np.log(2))

Log2 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Options of scoring sequences base by base."""

    # Longest window of a mechanism that cannot carry a state; None: the context.
    window: int | None = None
    every: int = EVERY  # Number of passes of a masked model; each pass masks one base in `every`.
    both_strands: bool = False  # Average the log-probabilities of both strands.


def check_scorable(loaded: LoadedModel) -> None:
    """Check that a model predicts single bases.

    Raises:
        ConfigError: The model's tokens are longer than one base.
    """
    if not loaded.tokenizer.one_token_per_base:
        raise ConfigError(
            f"the tokens of the model are `{loaded.tokenizer.kind}`, and only single bases can be "
            "scored",
            hint="use a model of `char` tokens",
        )


def base_log2(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    """Return log2 probabilities of A C G T at every base, shape (L, 4); NaN where not predicted."""
    forward_LR = _strand_log2(loaded, codes, rule)
    # Nothing is masked and windows are mirror-symmetric: both strands give equal scores.
    is_symmetric = loaded.model.is_equivariant and loaded.model.config.direction == "two-stack"
    if not rule.both_strands or is_symmetric:
        return forward_LR
    # Reverse complement: both the positions and the letters are reversed.
    reverse_LR = _strand_log2(loaded, reverse_complement_codes(codes), rule)[::-1, ::-1]
    return (forward_LR + reverse_LR) / 2


def _strand_log2(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    log2_LR = np.full((codes.size, NUM_REAL_BASES), np.nan)
    if not codes.size:
        return log2_LR
    tokens_L = torch.from_numpy(loaded.tokenizer.encode(codes).astype(np.int64))
    tokens_L = tokens_L.to(loaded.model.device)
    objective = objective_for(loaded.model.config.direction)
    if not objective.hides_targets and loaded.model.can_stream and rule.window is None:
        _score_whole(loaded, tokens_L, log2_LR)
    else:
        _score_windows(loaded, tokens_L, log2_LR, rule)
    log2_LR[codes >= NUM_REAL_BASES] = np.nan
    return log2_LR


def _log2(loaded: LoadedModel, features: Tensor) -> Log2:
    logits = real_logits(loaded.model, features, require_ordered(loaded.tokenizer).real_ids)
    log2_R: Log2 = (torch.log_softmax(logits, dim=-1) / _LN2).cpu().numpy()
    if np.isnan(log2_R).any():
        raise CheckpointError(
            f"the model in `{loaded.folder}` computes values that are not finite",
            hint="its weights are too large or damaged; fetch or train it again",
        )
    return log2_R


@torch.inference_mode()
def _score_whole(loaded: LoadedModel, tokens_L: Tensor, log2_LR: Log2) -> None:
    shift = 1 if objective_for(loaded.model.config.direction).is_causal else 0
    for start, stop, features_BCE in loaded.model.features_by_slices(tokens_L[None], _SLICE):
        end = min(stop + shift, len(log2_LR))
        log2_LR[start + shift : end] = _log2(loaded, features_BCE[0])[: end - start - shift]


@dataclass(frozen=True)
class ScoringWindow:
    """Window `start:stop`, and the range `first:last` of bases that are scored in it."""

    start: int
    stop: int
    first: int
    last: int


def scoring_windows(length: int, window: int, *, causal: bool) -> list[ScoringWindow]:
    """Return windows that overlap by half or more; every base is scored in exactly one of them.

    Windows of models that see both sides are mirror-symmetric.
    """
    if length <= window:
        return [ScoringWindow(0, length, 0, length)]
    step = max(window // 2, 1)
    if not causal:
        cuts = cut_windows([length], window, step)
        edges = (cuts.start, cuts.start + cuts.length)
        owned_edges = (cuts.start + cuts.own_start, cuts.start + cuts.own_stop)
        return [ScoringWindow(*map(int, row)) for row in zip(*edges, *owned_edges, strict=True)]
    starts = [*range(0, length - window, step), length - window]
    windows: list[ScoringWindow] = []
    first = 0
    for number, start in enumerate(starts):
        stop = start + window
        last = length
        if number + 1 < len(starts):
            last = stop
        windows.append(ScoringWindow(start, stop, first, last))
        first = last
    return windows


@torch.inference_mode()
def _score_windows(
    loaded: LoadedModel, tokens_L: Tensor, log2_LR: Log2, rule: ScoringOptions
) -> None:
    objective = objective_for(loaded.model.config.direction)
    length = rule.window or loaded.model.config.context
    windows = scoring_windows(len(log2_LR), length, causal=objective.is_causal)
    width = max(window.stop - window.start for window in windows)
    num_passes = min(rule.every, width) if objective.hides_targets else 1
    rows = [(window, offset) for window in windows for offset in range(num_passes)]
    for batch in _batches(rows, max(_TOKENS_PER_BATCH // width, 1)):
        inputs_BT = torch.full((len(batch), width), PAD_ID, dtype=torch.int64)
        inputs_BT = inputs_BT.to(tokens_L.device)
        for row, (window, offset) in enumerate(batch):
            inputs_BT[row, : window.stop - window.start] = tokens_L[window.start : window.stop]
            if objective.hides_targets:
                inputs_BT[row, offset : window.stop - window.start : num_passes] = MASK_ID
        features_BTE = loaded.model.hidden(inputs_BT, padding_mask(inputs_BT, PAD_ID))
        log2_BTR = _log2(loaded, features_BTE)
        for row, (window, offset) in enumerate(batch):
            _copy_owned(
                log2_LR, log2_BTR[row], window, (offset, num_passes), causal=objective.is_causal
            )


def _copy_owned(
    log2_LR: Log2, log2_TR: Log2, window: ScoringWindow, shift: tuple[int, int], *, causal: bool
) -> None:
    """Copy the scores of the bases that a window owns."""
    owned = np.arange(window.first, window.last)
    if causal:
        owned = owned[owned > window.start]
        log2_LR[owned] = log2_TR[owned - window.start - 1]
        return
    scored = owned[(owned - window.start) % shift[1] == shift[0]]
    log2_LR[scored] = log2_TR[scored - window.start]


def _batches(
    rows: list[tuple[ScoringWindow, int]], size: int
) -> Iterator[list[tuple[ScoringWindow, int]]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


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
    """Score one record; return the score and the log2 probabilities, shape (L, 4)."""
    log2_LR = base_log2(loaded, codes, rule)
    bits_L = -true_base_log2(log2_LR, codes)
    scored_L = np.isfinite(bits_L)
    number = int(scored_L.sum())
    total = float(bits_L[scored_L].sum()) if number else float("nan")
    mean = total / number if number else float("nan")
    score = RecordScore(
        id=identifier,
        length=codes.size,
        num_scored=number,
        log_likelihood=-total * _LN2,
        bits_per_base=mean,
        perplexity=2**mean,
        bits_L=bits_L,
    )
    return score, log2_LR


def true_base_log2(log2_LR: Log2, codes: Codes) -> npt.NDArray[np.float64]:
    """Return the log2 probability of every base of the sequence, shape (L,); NaN at N."""
    codes_L = np.minimum(codes, NUM_REAL_BASES - 1).astype(np.int64)
    true_LR: npt.NDArray[np.float64] = np.take_along_axis(log2_LR, codes_L[:, None], axis=1)
    return true_LR[:, 0]
