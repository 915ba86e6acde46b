"""The table every model must beat: p(base | neighbours), by counting.

Neighbours of both sides answer what a masked model is asked, those on the left what a causal one
is. Both strands of the training split are counted: words on the one that is there, and each of
them once more as its reverse complement.

Orders 0 to K are interpolated by Dirichlet back-off: p_k = (n_k + a p_{k-1}) / (sum n_k + a), with
p_{-1} uniform (MacKay and Peto 1995, "A hierarchical Dirichlet language model", equation 12). The
order is chosen on the questions themselves, which favours the table.
Shape letters: N positions, K order, W windows, L window length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.evaluation.masked_queries import MARGIN, Queries
from genomeformer_cli.core.evaluation.token_scores import (
    TokenScores,
    concatenate_scores,
    scores_from_probabilities,
)
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases
from genomeformer_cli.core.training.metrics import Score, name_of_counts

ALPHA = 16.0
LONGEST_LEFT = 12
_CHUNK = 1 << 20
_QUESTIONS_AT_ONCE = 1 << 18
_CELLS_A_BASE = 4
CountTable = npt.NDArray[np.uint32]


class Sides(StrEnum):
    """Where the neighbours of a base stand."""

    BOTH = "both"
    LEFT = "left"

    def span(self, order: int) -> int:
        """Bases of a window: the neighbours and the base itself."""
        return order + 1 if self is Sides.LEFT else 2 * order + 1

    def offsets(self, distance: int) -> tuple[int, ...]:
        """Places of the neighbours at a distance."""
        return (-distance,) if self is Sides.LEFT else (-distance, distance)


@dataclass(frozen=True, kw_only=True)
class ContextTables:
    """Counts of the bases in every context.

    Attributes:
        sides: Where the neighbours stand.
        tables: Of order 0, 1, ...: 4 counts a context, flat; the nearest neighbours are the highest
            digits of a context's number. All count the windows of the widest order.
    """

    sides: Sides
    tables: list[CountTable]

    @property
    def order(self) -> int:
        """Of the widest table."""
        return len(self.tables) - 1

    def probabilities(
        self, codes: Codes, centres_N: npt.NDArray[np.int64]
    ) -> Iterator[npt.NDArray[np.float64]]:
        """For every order, (N, 4) probabilities of the bases at the centres.

        All neighbours of the widest order must be real bases of `codes`.
        """
        key_N = np.zeros(centres_N.size, dtype=np.int64)
        probability_N4 = np.full((centres_N.size, NUM_REAL_BASES), 1 / NUM_REAL_BASES)
        for order, table in enumerate(self.tables):
            for offset in self.sides.offsets(order) if order else ():
                key_N = key_N * NUM_REAL_BASES + codes[centres_N + offset]
            counts_N4 = table.reshape(-1, NUM_REAL_BASES)[key_N].astype(np.float64)
            probability_N4 = (counts_N4 + ALPHA * probability_N4) / (
                counts_N4.sum(axis=1, keepdims=True) + ALPHA
            )
            yield probability_N4


class ContextCounter:
    """Counts the windows of one order; memory is 4^(bases of a window) numbers, thrice at the end.

    Args:
        sides: Where the neighbours stand.
        order: How many of them, to a side.
    """

    def __init__(self, sides: Sides, order: int) -> None:
        self._sides = sides
        self._order = order
        self._span = sides.span(order)
        self._words = np.zeros(NUM_REAL_BASES**self._span, dtype=np.uint32)

    def add(self, codes: Codes) -> None:
        """Count every window of a sequence that has no N in it."""
        for start in range(0, codes.size - self._span + 1, _CHUNK):
            self._count(codes[start : start + _CHUNK + self._span - 1])

    def _count(self, codes: Codes) -> None:
        num_starts = codes.size - self._span + 1
        words = np.zeros(num_starts, dtype=np.int32)
        unknown = codes >= NUM_REAL_BASES
        for place in range(self._span):
            words <<= 2
            words |= codes[place : place + num_starts] & 3
        if unknown.any():
            before = np.concatenate(([0], np.cumsum(unknown, dtype=np.int32)))
            words = words[before[self._span :] == before[:num_starts]]
        np.add.at(self._words, words, np.uint32(1))

    def tables(self) -> ContextTables:
        """The tables of both strands, of all orders."""
        digits = (NUM_REAL_BASES,) * self._span
        # Turned, a word's digits run the other way; complemented, each d is 3 - d.
        both = self._words.reshape(digits).T.flatten()[::-1]
        both += self._words
        centre = self._order
        axes = [
            centre + offset
            for distance in range(1, self._order + 1)
            for offset in self._sides.offsets(distance)
        ]
        widest = np.ascontiguousarray(both.reshape(digits).transpose(*axes, centre)).reshape(-1)
        tables = [widest]
        farthest = NUM_REAL_BASES ** len(self._sides.offsets(1))
        for _ in range(self._order):
            wider = tables[-1].reshape(-1, farthest, NUM_REAL_BASES)
            tables.append(wider.sum(axis=1, dtype=np.uint32).reshape(-1))
        return ContextTables(sides=self._sides, tables=tables[::-1])


@dataclass(frozen=True, kw_only=True)
class CountBaseline:
    """The best table's answer to the held-out questions.

    Attributes:
        order: Bases of context.
        score: Its bits per base and accuracy.
        looks: Where these bases are: on each side, or before.
    """

    order: int
    score: Score
    looks: Literal["a side", "before"] = "a side"

    @property
    def description(self) -> str:
        """What it is called."""
        return name_of_counts(self.order, self.looks)


def widest_order(num_bases: int, sides: Sides = Sides.BOTH) -> int:
    """The widest context worth a table: at most four cells a training base.

    And at most `MARGIN` neighbours on each side, or `LONGEST_LEFT` on the left.
    """
    most = LONGEST_LEFT if sides is Sides.LEFT else MARGIN
    order = 0
    while order < most and NUM_REAL_BASES ** sides.span(order + 1) <= _CELLS_A_BASE * num_bases:
        order += 1
    return order


def count_contexts(
    corpus: Corpus, order: int, reporter: Reporter, sides: Sides = Sides.BOTH
) -> ContextTables:
    """Count every training segment on both strands, for all orders up to `order`.

    Tokens may overlap at stride 1. Where a segment is cut to be read, every 2^20 tokens, k-mers
    show k - 1 bases beyond the cut, and so many windows are counted twice.
    """
    counter = ContextCounter(sides, order)
    reach = sides.span(order) - 1
    with reporter.track("counting contexts", corpus.manifest.num_train, "bases") as tracker:
        for segment in corpus.segments("train"):
            for start in range(0, segment.length, _CHUNK):
                stop = min(start + _CHUNK + reach, segment.length)
                counter.add(
                    encode_bases(corpus.tokenizer.decode(corpus.tokens(segment, start, stop)))
                )
                tracker.advance(min(_CHUNK, segment.length - start))
    return counter.tables()


def score_positions(
    tables: ContextTables, codes: Codes, centres_N: npt.NDArray[np.int64]
) -> list[TokenScores]:
    """Answers of the tables of order 0, 1, ... about the bases at the centres."""
    parts: list[list[TokenScores]] = [[] for _ in tables.tables]
    for start in range(0, max(centres_N.size, 1), _QUESTIONS_AT_ONCE):
        centres = centres_N[start : start + _QUESTIONS_AT_ONCE]
        truth = codes[centres].astype(np.int64)
        for part, probability_N4 in zip(parts, tables.probabilities(codes, centres), strict=True):
            part.append(scores_from_probabilities(probability_N4, truth))
    return [concatenate_scores(part) for part in parts]


def best_order(answers: list[TokenScores]) -> int:
    """The order whose answers take the fewest bits."""
    return min(range(len(answers)), key=lambda k: float(answers[k].bits_N.mean()))


def score_queries(tables: ContextTables, questions: Queries) -> list[TokenScores]:
    """Answers of every order to held-out questions for single bases, in their order."""
    codes_WL = questions.first_codes
    _, windows_N, columns_N = np.nonzero(questions.is_base)
    return score_positions(tables, codes_WL.reshape(-1), windows_N * codes_WL.shape[1] + columns_N)


def count_baseline(
    corpus: Corpus, questions: Queries, reporter: Reporter, sides: Sides = Sides.BOTH
) -> CountBaseline:
    """Count the training split and answer the questions with the order that does best on them.

    Args:
        corpus: Its training split is counted.
        questions: For single bases; with neighbours on the left alone, put to a causal model.
        reporter: Follows the counting.
        sides: Which neighbours the model that is compared sees.
    """
    widest = widest_order(corpus.manifest.num_train, sides)
    answers = score_queries(count_contexts(corpus, widest, reporter, sides), questions)
    order = best_order(answers)
    looks: Literal["a side", "before"] = "before" if sides is Sides.LEFT else "a side"
    return CountBaseline(order=order, score=answers[order].score(), looks=looks)
