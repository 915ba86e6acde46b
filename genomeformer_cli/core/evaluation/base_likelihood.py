"""How probable a model finds each base of a sequence: exactly, or as nearly as its kind can say.

| model         | a base is predicted from                             | the sum is a          |
|---------------|------------------------------------------------------|-----------------------|
| causal        | those before it; the first of a record is not        | log-likelihood        |
| two stacks    | all others, each left out in its turn                | pseudo-log-likelihood |
| bidirectional | all others but those hidden with it: one in `every`  | pseudo-log-likelihood |

A mechanism that can carry its state along reads whole records. The others read windows of the
context that overlap by half: a base is taken from the window in whose middle half it lies, of a
causal model from the one where half a window or more stands before it.
Shape letters: L length, W windows, T tokens in a window, R real bases.
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
from genomeformer_cli.core.models.genomeformer.build import is_equivariant
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.genomeformer.streaming_forward import (
    can_pass_state,
    features_by_slices,
)
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID

EVERY = 16
_TOKENS_A_BATCH = 16_384
_SLICE = 4_096
_LN2 = float(np.log(2))

Log2 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How sequences are read.

    Attributes:
        window: Longest stretch read at once by a mechanism that cannot carry its state; None: the
            context.
        every: Of a masked model: one base in so many is hidden at a time.
        both_strands: Whether log-probabilities are the mean of both strands' readings.
    """

    window: int | None = None
    every: int = EVERY
    both_strands: bool = False


def check_scorable(loaded: LoadedModel) -> None:
    """Make sure that a model predicts single bases.

    Raises:
        ConfigError: Its tokens are longer.
    """
    if not loaded.tokenizer.one_token_a_base:
        raise ConfigError(
            f"the tokens of the model are `{loaded.tokenizer.kind}`, and only single bases can be "
            "scored",
            hint="use a model of `char` tokens",
        )


def base_log2(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    """(L, 4) log2 of the probability of A C G T at every base; NaN where it is not predicted."""
    ahead_LR = _one_strand(loaded, codes, rule)
    # Nothing is hidden and cuts are mirror-symmetric, so the other strand's reading is the same.
    is_same = is_equivariant(loaded.model) and loaded.model.config.direction == "two-stack"
    if not rule.both_strands or is_same:
        return ahead_LR
    # Turned, A is T: both axes run the other way.
    back_LR = _one_strand(loaded, reverse_complement_codes(codes), rule)[::-1, ::-1]
    return (ahead_LR + back_LR) / 2


def _one_strand(loaded: LoadedModel, codes: Codes, rule: ScoringOptions) -> Log2:
    log2_LR = np.full((codes.size, NUM_REAL_BASES), np.nan)
    if not codes.size:
        return log2_LR
    tokens_L = torch.from_numpy(loaded.tokenizer.encode(codes).astype(np.int64))
    tokens_L = tokens_L.to(loaded.model.device)
    direction = loaded.model.config.direction
    if direction != "bidirectional" and can_pass_state(loaded.model) and rule.window is None:
        _read_whole(loaded, tokens_L, log2_LR)
    else:
        _read_windows(loaded, tokens_L, log2_LR, rule)
    log2_LR[codes >= NUM_REAL_BASES] = np.nan
    return log2_LR


def _log2(loaded: LoadedModel, features: Tensor) -> Log2:
    logits = real_logits(loaded.model, features, loaded.tokenizer.real_ids)
    found: Log2 = (torch.log_softmax(logits, dim=-1) / _LN2).cpu().numpy()
    if np.isnan(found).any():
        raise CheckpointError(
            f"the model in `{loaded.folder}` gives no finite numbers for bases",
            hint="its weights are too large or damaged; fetch or train it again",
        )
    return found


@torch.inference_mode()
def _read_whole(loaded: LoadedModel, tokens_L: Tensor, log2_LR: Log2) -> None:
    shift = 1 if loaded.model.config.direction == "causal" else 0
    for start, stop, features_BCE in features_by_slices(loaded.model, tokens_L[None], _SLICE):
        end = min(stop + shift, len(log2_LR))
        log2_LR[start + shift : end] = _log2(loaded, features_BCE[0])[: end - start - shift]


@dataclass(frozen=True)
class ScoringWindow:
    """A window, and which of its bases are taken from it."""

    start: int
    stop: int
    first: int
    last: int


def scoring_windows(length: int, window: int, *, causal: bool) -> list[ScoringWindow]:
    """Return windows that overlap by half or more; every base is taken from exactly one.

    Windows of models that see both sides are mirror-symmetric.
    """
    if length <= window:
        return [ScoringWindow(0, length, 0, length)]
    step = max(window // 2, 1)
    if not causal:
        cuts = cut_windows([length], window, step)
        edges = (cuts.start, cuts.start + cuts.length)
        owned = (cuts.start + cuts.own_start, cuts.start + cuts.own_stop)
        return [ScoringWindow(*map(int, row)) for row in zip(*edges, *owned, strict=True)]
    starts = [*range(0, length - window, step), length - window]
    found: list[ScoringWindow] = []
    first = 0
    for number, start in enumerate(starts):
        stop = start + window
        last = length
        if number + 1 < len(starts):
            last = stop
        found.append(ScoringWindow(start, stop, first, last))
        first = last
    return found


@torch.inference_mode()
def _read_windows(
    loaded: LoadedModel, tokens_L: Tensor, log2_LR: Log2, rule: ScoringOptions
) -> None:
    direction = loaded.model.config.direction
    window = rule.window or loaded.model.config.context
    places = scoring_windows(len(log2_LR), window, causal=direction == "causal")
    width = max(place.stop - place.start for place in places)
    passes = min(rule.every, width) if direction == "bidirectional" else 1
    rows = [(place, turn) for place in places for turn in range(passes)]
    for batch in _batches(rows, max(_TOKENS_A_BATCH // width, 1)):
        inputs_BT = torch.full((len(batch), width), PAD_ID, dtype=torch.int64)
        inputs_BT = inputs_BT.to(tokens_L.device)
        for row, (place, turn) in enumerate(batch):
            inputs_BT[row, : place.stop - place.start] = tokens_L[place.start : place.stop]
            if direction == "bidirectional":
                inputs_BT[row, turn : place.stop - place.start : passes] = MASK_ID
        features_BTE = loaded.model.hidden(inputs_BT, padding_mask(inputs_BT, PAD_ID))
        log2_BTR = _log2(loaded, features_BTE)
        for row, (place, turn) in enumerate(batch):
            _take(log2_LR, log2_BTR[row], place, (turn, passes), causal=direction == "causal")


def _take(
    log2_LR: Log2, log2_TR: Log2, place: ScoringWindow, turn: tuple[int, int], *, causal: bool
) -> None:
    """Keep what a window says of the bases that are its own."""
    wanted = np.arange(place.first, place.last)
    if causal:
        wanted = wanted[wanted > place.start]
        log2_LR[wanted] = log2_TR[wanted - place.start - 1]
        return
    own = wanted[(wanted - place.start) % turn[1] == turn[0]]
    log2_LR[own] = log2_TR[own - place.start]


def _batches(
    rows: list[tuple[ScoringWindow, int]], size: int
) -> Iterator[list[tuple[ScoringWindow, int]]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


@dataclass(frozen=True, kw_only=True)
class RecordScore:
    """What a model says of one record.

    Attributes:
        id: First word of its header.
        length: Bases.
        num_scored: Of these, real bases that are predicted.
        log_likelihood: Sum of the natural logarithms; NaN where nothing is scored.
        bits_per_base: Minus the mean of the binary logarithms.
        perplexity: 2 to the bits per base.
        bits_L: Of every base, NaN where it is not predicted.
    """

    id: str
    length: int
    num_scored: int
    log_likelihood: float
    bits_per_base: float
    perplexity: float
    bits_L: npt.NDArray[np.float64]


def score_record(
    loaded: LoadedModel, identifier: str, codes: Codes, rule: ScoringOptions
) -> tuple[RecordScore, Log2]:
    """Score one record; also (L, 4) log2 of the probabilities."""
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
    """Of every base, the log2 of its own probability; NaN at N."""
    own_L = np.minimum(codes, NUM_REAL_BASES - 1).astype(np.int64)
    found: npt.NDArray[np.float64] = np.take_along_axis(log2_LR, own_L[:, None], axis=1)[:, 0]
    return found
