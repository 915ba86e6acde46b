"""Log-odds of changed tokens that a model predicts from the other tokens of their window.

A bidirectional model reads the window with these tokens masked, a model of two stacks does not see
the token that it predicts.
Shape letters: T tokens, N predicted tokens, V vocabulary, E width, R real bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genomeformer_cli.core.attention.positions import SelectedPositions
from genomeformer_cli.core.evaluation.changed_windows import PairTokens
from genomeformer_cli.core.evaluation.token_bases import (
    Coverage,
    Cut,
    Numbers,
    TokenBases,
    TokenQuery,
)
from genomeformer_cli.core.evaluation.variant_windows import WindowPair
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.registry import objective_for


@dataclass(frozen=True)
class HiddenTokens:
    """Tokens of a window, some of which are predicted from the others."""

    ids_T: Numbers  # Token ids.
    hidden: slice  # Predicted tokens, masked together.
    query: TokenQuery | None = None  # Predicted base of an overlapping token.
    token_index: int = 0  # Index of the token whose logits give the base.

    @property
    def predicted(self) -> slice:
        """Tokens whose logits are needed."""
        return self.hidden if self.query is None else slice(self.token_index, self.token_index + 1)


Question = tuple[HiddenTokens, HiddenTokens]


def masked_log_odds(
    loaded: LoadedModel, questions: Sequence[Question | None], pairs: Sequence[WindowPair]
) -> list[float | None]:
    """Return log2 p(alt) - log2 p(ref) of each pair by masking; None without a question."""
    bases = TokenBases(loaded.tokenizer)
    positions = [hidden for question in questions if question for hidden in question]
    logits = iter(_hidden_logits(loaded, positions))
    odds: list[float | None] = []
    for pair, question in zip(pairs, questions, strict=True):
        if question is None:
            odds.append(None)
            continue
        (ref, ref_logits), (alt, alt_logits) = ((hidden, next(logits)) for hidden in question)
        if ref.query is not None:
            log2_R = bases.log2_of_base(
                ref_logits, ref.ids_T[ref.token_index : ref.token_index + 1], ref.query
            )
            odds.append(float(log2_R[0, pair.alt[pair.first]] - log2_R[0, pair.ref[pair.first]]))
            continue
        odds.append(token_sum(bases, alt, alt_logits) - token_sum(bases, ref, ref_logits))
    return odds


def token_sum(bases: TokenBases, hidden: HiddenTokens, logits_NV: torch.Tensor) -> float:
    """Return the sum of the log2 probabilities of the predicted tokens."""
    ids_N = torch.from_numpy(hidden.ids_T[hidden.hidden]).to(logits_NV.device)
    return float(bases.log2_of_tokens(logits_NV, ids_N).sum())


def hidden_tokens(
    bases: TokenBases, loaded: LoadedModel, pair: WindowPair, tokens: PairTokens
) -> Question | None:
    """Return the tokens of both alleles that are predicted; None if the log-odds are undefined."""
    same_length = pair.num_ref == pair.num_alt
    if not same_length and bases.cut is not Cut.PIECES:
        return None
    hides = objective_for(loaded.model.config.direction).hides_targets
    ref, alt = tokens.ref_L, tokens.alt_M
    if bases.cut is Cut.OVERLAPPING:
        if pair.num_ref > 1 or not hides:
            return None
        coverage = Coverage.of_sequence(loaded.tokenizer, pair.ref)
        token = int(coverage.query_tokens(causal=False)[pair.first])
        if token < 0:
            return None
        span = slice(int(coverage.low_L[pair.first]), int(coverage.high_L[pair.first]))
        hidden = HiddenTokens(ref, span, coverage.query(pair.first, token), token)
        return hidden, hidden
    spans = (pair.changed, pair.changed) if bases.cut is Cut.BASES else tokens.spans
    ref_span, alt_span = spans
    is_single = ref_span.stop - ref_span.start == alt_span.stop - alt_span.start == 1
    is_real = loaded.tokenizer.is_real
    if not (hides or is_single) or not (
        is_real[ref[ref_span]].all() and is_real[alt[alt_span]].all()
    ):
        return None
    return HiddenTokens(ref, ref_span), HiddenTokens(alt, alt_span)


@torch.inference_mode()
def _hidden_logits(loaded: LoadedModel, positions: Sequence[HiddenTokens]) -> list[torch.Tensor]:
    """Return the logits (N, V) at the predicted tokens of each window; equal rows are run once."""
    tokenizer, model = loaded.tokenizer, loaded.model
    if not positions:
        return []
    assert tokenizer.mask_id is not None
    rows: dict[bytes, int] = {}
    inputs: list[Numbers] = []
    places: list[int] = []
    for hidden in positions:
        ids_T = hidden.ids_T.copy()
        ids_T[hidden.hidden] = tokenizer.mask_id
        place = rows.setdefault(ids_T.tobytes(), len(inputs))
        if place == len(inputs):
            inputs.append(ids_T)
        places.append(place)
    tokens = _pad_tokens(loaded, inputs)
    spans = [hidden.predicted for hidden in positions]
    is_predicted_BL = torch.zeros(tokens.shape, dtype=torch.bool)
    for place, span in zip(places, spans, strict=True):
        is_predicted_BL[place, span] = True
    selected = SelectedPositions.from_mask(is_predicted_BL.to(model.device))
    mask = padding_mask(tokens, tokenizer.pad_id)
    logits_TV = model.logits(model.hidden_at(tokens, mask, None, selected))
    rank = is_predicted_BL.flatten().cumsum(0) - 1
    first = [
        int(rank[place * tokens.shape[1] + span.start]) if span.stop > span.start else 0
        for place, span in zip(places, spans, strict=True)
    ]
    return [
        logits_TV[row : row + span.stop - span.start]
        for row, span in zip(first, spans, strict=True)
    ]


def _pad_tokens(loaded: LoadedModel, rows: Sequence[Numbers]) -> torch.Tensor:
    """Return token ids (N, L), padded at the end, on the model's device."""
    longest = max(ids.size for ids in rows)
    tokens_NL = np.full((len(rows), longest), loaded.tokenizer.pad_id, dtype=np.int64)
    for row, ids in enumerate(rows):
        tokens_NL[row, : ids.size] = ids
    return torch.from_numpy(tokens_NL).to(loaded.model.device)
