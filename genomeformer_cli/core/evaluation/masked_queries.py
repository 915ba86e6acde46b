"""Queries for held-out bases, the same for every model and table.

One base in 64 is masked at a time, so that its neighbours are visible to the model as they are to
the table; several disjoint sets are masked in turn. Only real bases with `MARGIN` real bases on
both sides within the window are queried, so that the widest table has its context and both are
scored on exactly the same queries.

k-mers of stride 1 cover each base k times: all k of them are masked, and the model is scored at the
one in the middle, over the four k-mers that differ in the masked base. The score is comparable to
that of a model of single bases. Longer tokens that share no base with their neighbours (k-mers,
byte pairs) are queried whole: all their bases are masked at once, and the table is scored on the
same bases in the same way (`markov`).
Shape letters: W windows, L window length, P passes, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.windows import consecutive_windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Tokenizer
from genomeformer_cli.core.tokenizers.token_lengths import token_layout

HIDE_ONE_IN = 64
MARGIN = 6
# Tokens before a query for a whole token or for a causal model: enough bases for the longest Markov
# context.
TOKENS_BEFORE = 12


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Windows and the bases that are queried."""

    tokens_WL: npt.NDArray[np.int64]  # Token ids of the windows.
    # True at masked tokens of each pass; a token is masked in one pass at most, unless tokens
    # overlap.
    hidden_PWL: npt.NDArray[np.bool_]
    real_ids: range  # Candidate token ids.
    # True at the queried tokens; None: the masked tokens.
    query_mask_PWL: npt.NDArray[np.bool_] | None = None
    # True at the tokens whose first bases are queried; None: the masked tokens.
    base_mask_PWL: npt.NDArray[np.bool_] | None = None
    # Number of bases of each token; None: every query is for one base.
    bases_V: npt.NDArray[np.int64] | None = None
    k: int = 1  # Bases of a token that overlaps its neighbours; else 1.
    base_offset: int = 0  # Index of the queried base within its token.
    # Queries on the reverse strand, windows in the same order; None: the forward strand alone.
    reverse_strand: Queries | None = None

    @property
    def is_query(self) -> npt.NDArray[np.bool_]:
        """True at the queried tokens."""
        return self.hidden_PWL if self.query_mask_PWL is None else self.query_mask_PWL

    @property
    def is_base(self) -> npt.NDArray[np.bool_]:
        """True at the tokens whose first bases are queried."""
        return self.hidden_PWL if self.base_mask_PWL is None else self.base_mask_PWL

    @property
    def first_codes(self) -> npt.NDArray[np.uint8]:
        """Code of the first base of every token; the code of N if the token has no real base."""
        kmers_WL = self.tokens_WL - (self.real_ids.stop - NUM_REAL_BASES**self.k)
        first_WL = kmers_WL >> 2 * (self.k - 1)
        real_WL = (kmers_WL >= 0) & (self.tokens_WL < self.real_ids.stop)
        return np.where(real_WL, first_WL, NUM_REAL_BASES).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """Settings of held-out queries."""

    length: int  # Tokens per window.
    max_windows: int  # Maximum number of windows; a larger split is thinned evenly.
    passes: int  # Number of the 64 disjoint sets of bases that are queried.
    causal: bool = False  # The model sees only the tokens before the query.
    both_strands: bool = False  # Query the reverse strand too.


def make_queries(corpus: Corpus, config: QueryConfig) -> Queries:
    """Build fixed queries on the validation split of a corpus.

    Raises:
        ConfigError: The validation split is too short for a single query, or the tokenizer does not
            support the configured queries.
    """
    layout = token_layout(corpus.tokenizer)
    tokens_WL = consecutive_windows(
        corpus, "validation", length=config.length, limit=config.max_windows
    ).tokens_BL
    real_ids = corpus.tokenizer.real_ids
    if corpus.tokenizer.one_token_per_base or layout.overlaps:
        kmer_ids = range(real_ids.stop - NUM_REAL_BASES**layout.k, real_ids.stop)
        before = TOKENS_BEFORE if config.causal else max(MARGIN, layout.k - 1)
        queryable_WL = _has_margins(tokens_WL, kmer_ids, (before, MARGIN))
        bases_PWL = _sparse_masks(queryable_WL, config.passes)
        queries = _base_queries(tokens_WL, bases_PWL, real_ids, (layout.k, config.causal))
    else:
        queryable_WL = _has_margins(tokens_WL, real_ids, (TOKENS_BEFORE, 0))
        queries = Queries(
            tokens_WL=tokens_WL,
            hidden_PWL=_sparse_masks(queryable_WL, config.passes),
            real_ids=real_ids,
            bases_V=layout.bases_V,
        )
    queries = _require_queries(queries)
    if not config.both_strands:
        return queries
    return replace(
        queries, reverse_strand=_reverse_strand(queries, corpus.tokenizer, causal=config.causal)
    )


def sparse_queries(tokens_WL: npt.NDArray[np.int64], real_ids: range, passes: int) -> Queries:
    """Build queries that mask one base in 64 at a time, for windows of single bases.

    Args:
        tokens_WL: Token ids of the windows.
        real_ids: Candidate token ids.
        passes: Number of the 64 disjoint sets of bases that are queried.

    Raises:
        ConfigError: The windows are too short for a single query.
    """
    hidden_PWL = _sparse_masks(queryable(tokens_WL, real_ids), passes)
    return _require_queries(Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_PWL, real_ids=real_ids))


def queries_at_rate(
    tokens_WL: npt.NDArray[np.int64], real_ids: range, rate: float, generator: np.random.Generator
) -> Queries:
    """Build queries that mask each base with the same probability, as in training.

    Raises:
        ConfigError: The windows are too short for a single query.
    """
    hidden_WL = queryable(tokens_WL, real_ids) & (generator.random(tokens_WL.shape) < rate)
    return _require_queries(
        Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_WL[None], real_ids=real_ids)
    )


def all_queries(tokens_WL: npt.NDArray[np.int64], real_ids: range) -> Queries:
    """Build queries for every base in one pass, for models that do not see the predicted base.

    Raises:
        ConfigError: The windows are too short for a single query.
    """
    hidden_PWL = queryable(tokens_WL, real_ids)[None]
    return _require_queries(Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_PWL, real_ids=real_ids))


def queryable(tokens_WL: npt.NDArray[np.int64], real_ids: range) -> npt.NDArray[np.bool_]:
    """Return True at real bases with `MARGIN` real bases on both sides within the window."""
    return _has_margins(tokens_WL, real_ids, (MARGIN, MARGIN))


def _require_queries(queries: Queries) -> Queries:
    if not queries.hidden_PWL.any():
        raise ConfigError(
            "the held-out part is too short to validate on",
            hint="hold out more bases; for a run, a shorter `--context` helps too",
        )
    return queries


def _base_queries(
    tokens_WL: npt.NDArray[np.int64],
    bases_PWL: npt.NDArray[np.bool_],
    real_ids: range,
    layout: tuple[int, bool],
) -> Queries:
    """Build queries for single bases that mask all k tokens covering each base."""
    k, causal = layout
    if k == 1:
        return Queries(tokens_WL=tokens_WL, hidden_PWL=bases_PWL, real_ids=real_ids)
    base_offset = k - 1 if causal else k // 2
    shifted = [np.roll(bases_PWL, -shift, axis=-1) for shift in range(k)]
    return Queries(
        tokens_WL=tokens_WL,
        hidden_PWL=np.logical_or.reduce(shifted),
        real_ids=real_ids,
        query_mask_PWL=shifted[base_offset],
        base_mask_PWL=bases_PWL,
        k=k,
        base_offset=base_offset,
    )


def _has_margins(
    tokens_WL: npt.NDArray[np.int64], allowed: range, margins: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return True at known tokens with enough known tokens before and after them in the window."""
    before, after = margins
    length = tokens_WL.shape[1]
    is_allowed_WL = (tokens_WL >= allowed.start) & (tokens_WL < allowed.stop)
    queryable_WL = np.zeros_like(is_allowed_WL)
    width = before + 1 + after
    if length >= width:
        surrounded = np.lib.stride_tricks.sliding_window_view(is_allowed_WL, width, axis=1).all(
            axis=-1
        )
        queryable_WL[:, before : length - after] = surrounded
    return queryable_WL


def _sparse_masks(queryable_WL: npt.NDArray[np.bool_], passes: int) -> npt.NDArray[np.bool_]:
    """Select one position in 64, shifted from window to window and from pass to pass."""
    num_windows, length = queryable_WL.shape
    residues_WL = (np.arange(length)[None, :] + np.arange(num_windows)[:, None] * 7) % HIDE_ONE_IN
    offsets = np.linspace(0, HIDE_ONE_IN, min(passes, HIDE_ONE_IN), endpoint=False).astype(int)
    return np.stack([queryable_WL & (residues_WL == offset) for offset in offsets])


def _reverse_strand(queries: Queries, tokenizer: Tokenizer, *, causal: bool) -> Queries:
    """Return the queries on the reverse strand: windows reversed, padding still at their ends."""
    if causal or queries.k > 1 or queries.bases_V is not None:
        raise ConfigError(
            "queries on both strands need single-base tokens and a model that sees both sides",
            hint="set `training.both_strands=false`, or use `--tokenizer char` and `--objective "
            "masked`",
        )
    tokens_WL, hidden_PWL = queries.tokens_WL.copy(), queries.hidden_PWL.copy()
    for row, size in enumerate((tokens_WL != PAD_ID).sum(axis=1)):
        ids = tokens_WL[row, :size].astype(tokenizer.dtype)
        tokens_WL[row, :size] = tokenizer.reverse_complement(ids)
        hidden_PWL[:, row, :size] = hidden_PWL[:, row, :size][:, ::-1]
    return replace(queries, tokens_WL=tokens_WL, hidden_PWL=hidden_PWL)
