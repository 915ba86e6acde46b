"""The questions put to every model and table alike: what are these held-out bases?

One base in 64 is hidden at a time, so that its neighbours are visible to the model as they are to
the table; several disjoint sets are hidden in turn. Only real bases with `MARGIN` real bases on
both sides, within the window, are asked for, so that the widest table has its context and both
answer exactly the same questions.

k-mers of stride 1 show each base k times: all k of them are hidden, and of the one in the middle
the model is asked which of the four it is that differ in the hidden base. So it answers what a
model of single bases answers. Longer tokens that share no base with their neighbours (k-mers,
byte pairs) are asked for as wholes: all their bases are hidden at once, and the table is asked for
the same bases in the same way (`chains`).
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
# Tokens before a whole token that is asked for, and before what a causal model is asked for: bases
# enough for the longest chain of counts.
TOKENS_BEFORE = 12


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Windows and the bases asked for.

    Attributes:
        tokens_WL: Token ids of the windows.
        hidden_PWL: True where a token is hidden, one layer a pass; none is hidden in two passes,
            unless tokens overlap.
        real_ids: Ids that can be an answer.
        query_mask_PWL: True at the tokens that are asked for; None: those that are hidden.
        base_mask_PWL: True at the tokens whose first bases are asked for; None: those that are hidden.
        bases_V: Bases that each token stands for; None: one each is asked for.
        k: Bases of a token that overlaps its neighbours; 1 if they do not.
        base_offset: Which of these bases is asked for.
        reverse_strand: The same questions on the other strand, in the same order of windows; None if they
            are not put.
    """

    tokens_WL: npt.NDArray[np.int64]
    hidden_PWL: npt.NDArray[np.bool_]
    real_ids: range
    query_mask_PWL: npt.NDArray[np.bool_] | None = None
    base_mask_PWL: npt.NDArray[np.bool_] | None = None
    bases_V: npt.NDArray[np.int64] | None = None
    k: int = 1
    base_offset: int = 0
    reverse_strand: Queries | None = None

    @property
    def is_query(self) -> npt.NDArray[np.bool_]:
        """True at the tokens that are asked for."""
        return self.hidden_PWL if self.query_mask_PWL is None else self.query_mask_PWL

    @property
    def is_base(self) -> npt.NDArray[np.bool_]:
        """True at the tokens whose first bases are asked for."""
        return self.hidden_PWL if self.base_mask_PWL is None else self.base_mask_PWL

    @property
    def first_codes(self) -> npt.NDArray[np.uint8]:
        """Code of the first base of every token; that of N where it is no real one."""
        words_WL = self.tokens_WL - (self.real_ids.stop - NUM_REAL_BASES**self.k)
        first_WL = words_WL >> 2 * (self.k - 1)
        real_WL = (words_WL >= 0) & (self.tokens_WL < self.real_ids.stop)
        return np.where(real_WL, first_WL, NUM_REAL_BASES).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """How held-out questions are put.

    Attributes:
        length: Tokens in a window.
        max_windows: The split is thinned evenly to this many windows.
        passes: How many of the 64 disjoint sets of bases are asked for.
        causal: Whether the model knows only what is before.
        both_strands: Whether they are put on the other strand too.
    """

    length: int
    max_windows: int
    passes: int
    causal: bool = False
    both_strands: bool = False


def make_queries(corpus: Corpus, asking: QueryConfig) -> Queries:
    """Fixed questions on the validation split of a corpus.

    Raises:
        ConfigError: The validation split is too short to ask for a single base, or the questions
            cannot be put to these tokens.
    """
    lie = token_layout(corpus.tokenizer)
    tokens_WL = consecutive_windows(
        corpus, "validation", length=asking.length, limit=asking.max_windows
    ).tokens_BL
    real_ids = corpus.tokenizer.real_ids
    if corpus.tokenizer.one_token_a_base or lie.overlaps:
        words = range(real_ids.stop - NUM_REAL_BASES**lie.k, real_ids.stop)
        before = TOKENS_BEFORE if asking.causal else max(MARGIN, lie.k - 1)
        askable_WL = _surrounded(tokens_WL, words, (before, MARGIN))
        bases_PWL = _one_in_64(askable_WL, asking.passes)
        questions = _of_bases(tokens_WL, bases_PWL, real_ids, (lie.k, asking.causal))
    else:
        askable_WL = _surrounded(tokens_WL, real_ids, (TOKENS_BEFORE, 0))
        questions = Queries(
            tokens_WL=tokens_WL,
            hidden_PWL=_one_in_64(askable_WL, asking.passes),
            real_ids=real_ids,
            bases_V=lie.bases_V,
        )
    questions = _some(questions)
    if not asking.both_strands:
        return questions
    return replace(
        questions, reverse_strand=_turned(questions, corpus.tokenizer, causal=asking.causal)
    )


def sparse_queries(tokens_WL: npt.NDArray[np.int64], real_ids: range, passes: int) -> Queries:
    """One base in 64 is hidden at a time, of windows of single bases.

    Args:
        tokens_WL: Windows.
        real_ids: Ids that can be an answer.
        passes: How many of the 64 disjoint sets of bases are asked for.

    Raises:
        ConfigError: The windows are too short to ask for a single base.
    """
    hidden_PWL = _one_in_64(queryable(tokens_WL, real_ids), passes)
    return _some(Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_PWL, real_ids=real_ids))


def queries_at_rate(
    tokens_WL: npt.NDArray[np.int64], real_ids: range, rate: float, generator: np.random.Generator
) -> Queries:
    """Bases are hidden together, each with the same chance, as in training.

    Raises:
        ConfigError: The windows are too short to ask for a single base.
    """
    hidden_WL = queryable(tokens_WL, real_ids) & (generator.random(tokens_WL.shape) < rate)
    return _some(Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_WL[None], real_ids=real_ids))


def all_queries(tokens_WL: npt.NDArray[np.int64], real_ids: range) -> Queries:
    """Every base is asked for in one pass: for models that do not see what they predict.

    Raises:
        ConfigError: The windows are too short to ask for a single base.
    """
    hidden_PWL = queryable(tokens_WL, real_ids)[None]
    return _some(Queries(tokens_WL=tokens_WL, hidden_PWL=hidden_PWL, real_ids=real_ids))


def queryable(tokens_WL: npt.NDArray[np.int64], real_ids: range) -> npt.NDArray[np.bool_]:
    """Real bases with `MARGIN` real bases on both sides within the window."""
    return _surrounded(tokens_WL, real_ids, (MARGIN, MARGIN))


def _some(questions: Queries) -> Queries:
    if not questions.hidden_PWL.any():
        raise ConfigError(
            "the held-out part is too short to validate on",
            hint="hold out more, or shorten `--seq-len`",
        )
    return questions


def _of_bases(
    tokens_WL: npt.NDArray[np.int64],
    bases_PWL: npt.NDArray[np.bool_],
    real_ids: range,
    tokens: tuple[int, bool],
) -> Queries:
    """Questions for single bases, through all k tokens that show each."""
    k, causal = tokens
    if k == 1:
        return Queries(tokens_WL=tokens_WL, hidden_PWL=bases_PWL, real_ids=real_ids)
    place = k - 1 if causal else k // 2
    shifted = [np.roll(bases_PWL, -back, axis=-1) for back in range(k)]
    return Queries(
        tokens_WL=tokens_WL,
        hidden_PWL=np.logical_or.reduce(shifted),
        real_ids=real_ids,
        query_mask_PWL=shifted[place],
        base_mask_PWL=bases_PWL,
        k=k,
        base_offset=place,
    )


def _surrounded(
    tokens_WL: npt.NDArray[np.int64], known: range, margins: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Known tokens with so many known ones before and after them within the window."""
    before, after = margins
    length = tokens_WL.shape[1]
    known_WL = (tokens_WL >= known.start) & (tokens_WL < known.stop)
    askable_WL = np.zeros_like(known_WL)
    reach = before + 1 + after
    if length >= reach:
        surrounded = np.lib.stride_tricks.sliding_window_view(known_WL, reach, axis=1).all(axis=-1)
        askable_WL[:, before : length - after] = surrounded
    return askable_WL


def _one_in_64(askable_WL: npt.NDArray[np.bool_], passes: int) -> npt.NDArray[np.bool_]:
    """One position in 64, moved from window to window and pass to pass."""
    num_windows, length = askable_WL.shape
    residues_WL = (np.arange(length)[None, :] + np.arange(num_windows)[:, None] * 7) % HIDE_ONE_IN
    offsets = np.linspace(0, HIDE_ONE_IN, min(passes, HIDE_ONE_IN), endpoint=False).astype(int)
    return np.stack([askable_WL & (residues_WL == offset) for offset in offsets])


def _turned(questions: Queries, tokenizer: Tokenizer, *, causal: bool) -> Queries:
    """The questions on the other strand: windows turned, padding still at their ends."""
    if causal or questions.k > 1 or questions.bases_V is not None:
        raise ConfigError(
            "both strands can be asked only where a token is a base and both sides are seen",
            hint="leave out `--both-strands`, or use `--tokenizer char` and `--objective masked`",
        )
    tokens_WL, hidden_PWL = questions.tokens_WL.copy(), questions.hidden_PWL.copy()
    for row, size in enumerate((tokens_WL != PAD_ID).sum(axis=1)):
        ids = tokens_WL[row, :size].astype(tokenizer.dtype)
        tokens_WL[row, :size] = tokenizer.reverse_complement(ids)
        hidden_PWL[:, row, :size] = hidden_PWL[:, row, :size][:, ::-1]
    return replace(questions, tokens_WL=tokens_WL, hidden_PWL=hidden_PWL)
