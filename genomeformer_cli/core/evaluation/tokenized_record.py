"""Logits of the tokens of a record, from a model that does not see the predicted bases.

A bidirectional model reads masked tokens, one in `every` at a time. Of overlapping tokens, all that
cover a base are masked at a time. The others read windows unmasked.
Windows overlap by half: a token is predicted in the window whose middle half contains it, or, for
a causal model, in the window that holds at least half a window of tokens before it.
Shape letters: L bases, T tokens of the record, B windows, M tokens of a window, N predicted tokens,
V vocabulary, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.configuration import check_whole
from genomeformer_cli.core.embedding.windows import cut_windows
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.evaluation.token_bases import (
    Coverage,
    Cut,
    Numbers,
    TokenBases,
    TokenQuery,
)
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.objectives.protocol import Objective
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import Codes

EVERY = 16
_TOKENS_PER_BATCH, _CPU_TOKENS = 16_384, 4_096
_SLICE = 4_096
# Numbers of a table of logits in double precision at a time.
_LOGITS_AT_ONCE = 1 << 23
# Masks of two bases do not touch one token if they are this many tokens' lengths apart.
_SPACING = 3

Log2 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Options of scoring sequences base by base."""

    # Longest window, in tokens, of a mechanism that cannot carry a state; None: the context.
    window: int | None = None
    every: int = EVERY  # Number of passes of a masked model; each pass masks one token in `every`.
    both_strands: bool = False  # Average the log-probabilities of both strands.
    only: int | None = None  # Number of the only pass to compute, modulo the passes; None: all.

    def __post_init__(self) -> None:
        check_whole("window", self.window, 1)
        check_whole("every", self.every, 1)


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
    # Starts do not depend on the length: a base is scored without regard to what follows it.
    starts = range(0, length - window + step, step)
    stops = [min(start + window, length) for start in starts]
    return [
        ScoringWindow(start, stop, first, stop)
        for start, stop, first in zip(starts, stops, [0, *stops[:-1]], strict=True)
    ]


@dataclass(frozen=True)
class PredictedTokens:
    """Tokens that are predicted, or the base of each that is."""

    token_N: Numbers  # Index of the token in the record.
    base_N: Numbers | None = None  # Predicted base of an overlapping token; None: all its bases.


UseLogits = Callable[[PredictedTokens, Tensor], None]


@dataclass(frozen=True)
class TokenizedRecord:
    """Record with its tokens, and the model that predicts them."""

    loaded: LoadedModel
    bases: TokenBases
    codes: Codes
    ids_T: Numbers  # Token ids.

    @classmethod
    def of_codes(cls, loaded: LoadedModel, codes: Codes) -> TokenizedRecord:
        """Tokenize the base codes of a record."""
        ids_T = loaded.tokenizer.encode(codes).astype(np.int64)
        return cls(loaded, TokenBases(loaded.tokenizer), codes, ids_T)

    @cached_property
    def objective(self) -> Objective:
        """Objective of the model."""
        return objective_for(self.loaded.model.config.direction)

    @cached_property
    def coverage(self) -> Coverage:
        """Tokens that cover the bases."""
        return Coverage.of_sequence(self.loaded.tokenizer, self.codes)

    @cached_property
    def is_real(self) -> npt.NDArray[np.bool_]:
        """True at tokens of A C G T only, (T,)."""
        return self.loaded.tokenizer.is_real[self.ids_T]

    @cached_property
    def query_tokens(self) -> Numbers:
        """Token in which each base is predicted, (L,); -1 without one."""
        token_L = self.coverage.query_tokens(causal=self.objective.is_causal)
        return np.where((token_L >= 0) & self.is_real[token_L], token_L, -1)

    def queries_of_tokens(self, token_N: Numbers) -> PredictedTokens:
        """Return the queries that tokens serve, or that the bases new in them do."""
        token_N = token_N[self.is_real[token_N]]
        if self.bases.cut is not Cut.OVERLAPPING:
            return PredictedTokens(token_N)
        base_N = np.flatnonzero(np.isin(self.query_tokens, token_N))
        return PredictedTokens(self.query_tokens[base_N], base_N)

    def logits(self, features_NE: Tensor) -> Tensor:
        """Return the logits (N, V) of features.

        Raises:
            CheckpointError: A number is not finite.
        """
        logits_NV = self.loaded.model.logits(features_NE)
        if bool(logits_NV.isnan().any()):
            raise CheckpointError(
                f"the model in `{self.loaded.folder}` computes values that are not finite",
                hint="its weights are too large or damaged; fetch or train it again",
            )
        return logits_NV

    def write_bases(self, log2_LR: Log2, queries: PredictedTokens, logits_NV: Tensor) -> None:
        """Write the log2 probabilities of bases, (L, 4), from the logits of tokens."""
        if queries.base_N is not None:
            self._write_overlapping(log2_LR, queries.token_N, queries.base_N, logits_NV)
            return
        ids_N = self.ids_T[queries.token_N]
        length_N = self.bases.lengths[ids_N]
        first_N = self.coverage.first_T[queries.token_N] if ids_N.size else ids_N
        for length in np.unique(length_N).tolist():
            row_N = np.flatnonzero(length_N == length)
            log2_NKR = self.bases.log2_of_bases(logits_NV[torch.from_numpy(row_N)], length)
            base_NK = first_N[row_N][:, None] + np.arange(length)
            log2_LR[base_NK] = log2_NKR.cpu().numpy()

    def _write_overlapping(
        self, log2_LR: Log2, token_N: Numbers, base_N: Numbers, logits_NV: Tensor
    ) -> None:
        query_of = self.coverage.causal_query if self.objective.is_causal else self.coverage.query
        rows: dict[TokenQuery, list[int]] = {}
        for row, (base, token) in enumerate(zip(base_N.tolist(), token_N.tolist(), strict=True)):
            rows.setdefault(query_of(base, token), []).append(row)
        for query, row_N in rows.items():
            log2_NR = self.bases.log2_of_base(logits_NV[row_N], self.ids_T[token_N[row_N]], query)
            log2_LR[base_N[row_N]] = log2_NR.cpu().numpy()

    def pass_queries(
        self, window: ScoringWindow, offset: int, num_passes: int
    ) -> tuple[PredictedTokens, Numbers]:
        """Return what one pass of a window predicts, and the tokens that it masks.

        Args:
            window: Window.
            offset: Number of the pass.
            num_passes: Number of passes.
        """
        owned_N = np.arange(window.first, window.last)
        if self.objective.is_causal:
            owned_N = owned_N[owned_N > window.start]
        if not self.objective.hides_targets:
            return self.queries_of_tokens(owned_N), owned_N[:0]
        if self.bases.cut is not Cut.OVERLAPPING:
            masked_N = np.arange(window.start + offset, window.stop, num_passes)
            queries = owned_N[(owned_N - window.start) % num_passes == offset]
            return self.queries_of_tokens(queries), masked_N
        begin = int(self.coverage.first_T[window.start])
        end = int(self.coverage.end_T[window.stop - 1])
        base_N = np.arange(begin + offset, end, num_passes)
        is_masked = np.zeros(self.ids_T.size + 1, dtype=np.int64)
        np.add.at(is_masked, self.coverage.low_L[base_N], 1)
        np.add.at(is_masked, np.maximum(self.coverage.high_L, self.coverage.low_L)[base_N], -1)
        masked_N = np.flatnonzero(np.cumsum(is_masked)[:-1] > 0)
        masked_N = masked_N[(masked_N >= window.start) & (masked_N < window.stop)]
        token_N = self.query_tokens[base_N]
        is_owned_N = (token_N >= window.first) & (token_N < window.last)
        return PredictedTokens(token_N[is_owned_N], base_N[is_owned_N]), masked_N


@torch.inference_mode()
def use_record_logits(record: TokenizedRecord, rule: ScoringOptions, use: UseLogits) -> None:
    """Compute the logits (N, V) of all predicted tokens of a record, part by part, on all cores.

    Args:
        record: The record.
        rule: Scoring options.
        use: Receives each part; called by several threads at once, with distinct tokens.

    Raises:
        ConfigError: Overlapping tokens would show the base to a model that does not mask them.
        CheckpointError: A number is not finite.
    """
    if not record.ids_T.size:
        return
    objective, bases = record.objective, record.bases
    if bases.cut is Cut.OVERLAPPING and not (objective.hides_targets or objective.is_causal):
        raise ConfigError(
            "tokens that overlap show the base that a model of two stacks predicts",
            hint="score with a masked or causal model",
        )
    may_stream = record.loaded.model.can_stream and not rule.window
    if may_stream and not objective.hides_targets:
        for queries, logits_NV in _streamed_logits(record):
            use(queries, logits_NV)
    else:
        _use_window_logits(record, rule, use)


def _streamed_logits(record: TokenizedRecord) -> Iterator[tuple[PredictedTokens, Tensor]]:
    """Yield the logits of a record that a state passes through, slice by slice."""
    model = record.loaded.model
    shift = 1 if record.objective.is_causal else 0
    tokens = torch.from_numpy(record.ids_T).to(model.device)
    for start, stop, features_BCE in model.features_by_slices(tokens[None], _SLICE):
        token_N = np.arange(start + shift, min(stop + shift, record.ids_T.size))
        queries = record.queries_of_tokens(token_N)
        yield queries, record.logits(features_BCE[0, queries.token_N - start - shift])


def _use_window_logits(record: TokenizedRecord, rule: ScoringOptions, use: UseLogits) -> None:
    objective = record.objective
    length = rule.window or record.loaded.model.config.context
    windows = scoring_windows(record.ids_T.size, length, causal=objective.is_causal)
    width = max(window.stop - window.start for window in windows)
    num_passes = passes_of_record(record, rule.every, width)
    passes = range(num_passes) if rule.only is None else [rule.only % num_passes]
    rows = [(window, offset) for window in windows for offset in passes]
    device = record.loaded.model.device
    tokens_per_batch = _CPU_TOKENS if device.type == "cpu" else _TOKENS_PER_BATCH
    rows_per_batch = max(tokens_per_batch // width, 1)
    batches = [
        rows[first : first + rows_per_batch] for first in range(0, len(rows), rows_per_batch)
    ]

    def compute(batch: list[tuple[ScoringWindow, int]]) -> None:
        for queries, logits_NV in _batch_logits(record, batch, width, num_passes):
            use(queries, logits_NV)

    cost = BatchCost.of_model(record.loaded.model)
    demand = cost.demand((len(batch), width) for batch in batches)
    run_tasks(compute, batches, device=device, demand=demand)


def passes_of_record(record: TokenizedRecord, every: int, width: int) -> int:
    """Return the number of passes that predict all tokens of windows of a width."""
    if not record.objective.hides_targets:
        return 1
    if record.bases.cut is not Cut.OVERLAPPING:
        return min(every, width)
    longest = int(record.bases.lengths.max())
    return max(every, _SPACING * longest)


def _batch_logits(
    record: TokenizedRecord, rows: list[tuple[ScoringWindow, int]], width: int, num_passes: int
) -> Iterator[tuple[PredictedTokens, Tensor]]:
    loaded = record.loaded
    tokenizer, model = loaded.tokenizer, loaded.model
    inputs_BM = np.full((len(rows), width), tokenizer.pad_id, dtype=np.int64)
    all_queries: list[PredictedTokens] = []
    for row, (window, offset) in enumerate(rows):
        queries, masked_N = record.pass_queries(window, offset, num_passes)
        inputs_BM[row, : window.stop - window.start] = record.ids_T[window.start : window.stop]
        if masked_N.size:
            assert tokenizer.mask_id is not None
            inputs_BM[row, masked_N - window.start] = tokenizer.mask_id
        all_queries.append(queries)
    inputs = torch.from_numpy(inputs_BM).to(model.device)
    features_BME = model.hidden(inputs, padding_mask(inputs, tokenizer.pad_id))
    shift = 1 if record.objective.is_causal else 0
    at_once = max(_LOGITS_AT_ONCE // len(tokenizer.tokens), 1)
    for row, ((window, _), queries) in enumerate(zip(rows, all_queries, strict=True)):
        for first in range(0, queries.token_N.size, at_once):
            part = slice(first, first + at_once)
            token_N = queries.token_N[part]
            base_N = None if queries.base_N is None else queries.base_N[part]
            features_NE = features_BME[row, token_N - window.start - shift]
            yield PredictedTokens(token_N, base_N), record.logits(features_NE)
