"""Count baseline that every model must beat: p(base | neighbours) from k-mer counts.

A masked model is compared with a table of the neighbours on both sides, a causal model with a table
of the bases on the left. Both strands of the training split are counted: k-mers of the forward
strand, and their reverse complements.

Orders 0 to K are interpolated by Dirichlet back-off: p_k = (n_k + a p_{k-1}) / (sum n_k + a), with
p_{-1} uniform (MacKay and Peto 1995, "A hierarchical Dirichlet language model", equation 12). The
order is selected on the queries themselves, which favours the table.
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
_QUERIES_PER_CHUNK = 1 << 18
_CELLS_PER_BASE = 4
CountTable = npt.NDArray[np.uint32]


class Sides(StrEnum):
    """Side of a base on which its context is counted."""

    BOTH = "both"
    LEFT = "left"

    def span(self, order: int) -> int:
        """Return the number of bases of a k-mer: the neighbours and the base itself."""
        return order + 1 if self is Sides.LEFT else 2 * order + 1

    def offsets(self, distance: int) -> tuple[int, ...]:
        """Return the offsets of the neighbours at a distance."""
        return (-distance,) if self is Sides.LEFT else (-distance, distance)


@dataclass(frozen=True, kw_only=True)
class ContextTables:
    """Counts of the bases in every context."""

    sides: Sides  # Side of the neighbours.
    # Flat tables of order 0, 1, ... with 4 counts per context; the nearest neighbours are the
    # highest digits of a context's number. All orders count the windows of the widest order.
    tables: list[CountTable]

    @property
    def order(self) -> int:
        """Order of the widest table."""
        return len(self.tables) - 1

    def probabilities(
        self, codes: Codes, centres_N: npt.NDArray[np.int64]
    ) -> Iterator[npt.NDArray[np.float64]]:
        """Yield the probabilities of the bases at the centres for every order, shape (N, 4).

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
    """Counter of the k-mers of one order.

    Memory is 4^(bases of a k-mer) numbers, three times as much in `tables`.

    Args:
        sides: Side of the neighbours.
        order: Number of neighbours on a side.
    """

    def __init__(self, sides: Sides, order: int) -> None:
        self._sides = sides
        self._order = order
        self._span = sides.span(order)
        self._counts = np.zeros(NUM_REAL_BASES**self._span, dtype=np.uint32)

    def add(self, codes: Codes) -> None:
        """Count every k-mer without N of a sequence."""
        for start in range(0, codes.size - self._span + 1, _CHUNK):
            self._count(codes[start : start + _CHUNK + self._span - 1])

    def _count(self, codes: Codes) -> None:
        num_starts = codes.size - self._span + 1
        kmers = np.zeros(num_starts, dtype=np.int32)
        unknown = codes >= NUM_REAL_BASES
        for offset in range(self._span):
            kmers <<= 2
            kmers |= codes[offset : offset + num_starts] & 3
        if unknown.any():
            num_unknown = np.concatenate(([0], np.cumsum(unknown, dtype=np.int32)))
            kmers = kmers[num_unknown[self._span :] == num_unknown[:num_starts]]
        np.add.at(self._counts, kmers, np.uint32(1))

    def tables(self) -> ContextTables:
        """Return the tables of both strands and all orders."""
        digits = (NUM_REAL_BASES,) * self._span
        # Turned, a word's digits run the other way; complemented, each d is 3 - d.
        counts = self._counts.reshape(digits).T.flatten()[::-1]
        counts += self._counts
        centre = self._order
        axes = [
            centre + offset
            for distance in range(1, self._order + 1)
            for offset in self._sides.offsets(distance)
        ]
        widest = np.ascontiguousarray(counts.reshape(digits).transpose(*axes, centre)).reshape(-1)
        tables = [widest]
        num_outer = NUM_REAL_BASES ** len(self._sides.offsets(1))
        for _ in range(self._order):
            wider = tables[-1].reshape(-1, num_outer, NUM_REAL_BASES)
            tables.append(wider.sum(axis=1, dtype=np.uint32).reshape(-1))
        return ContextTables(sides=self._sides, tables=tables[::-1])


@dataclass(frozen=True, kw_only=True)
class CountBaseline:
    """Score of the best count table on the held-out queries."""

    order: int  # Bases of context.
    score: Score  # Bits per base and accuracy.
    looks: Literal["a side", "before"] = "a side"  # Context: on each side, or before the base.

    @property
    def description(self) -> str:
        """Name in tables and messages."""
        return name_of_counts(self.order, self.looks)


def widest_order(num_bases: int, sides: Sides = Sides.BOTH) -> int:
    """Return the widest order worth counting: at most four cells per training base.

    The order is at most `MARGIN` on both sides, or `LONGEST_LEFT` on the left.
    """
    max_order = LONGEST_LEFT if sides is Sides.LEFT else MARGIN
    order = 0
    while (
        order < max_order and NUM_REAL_BASES ** sides.span(order + 1) <= _CELLS_PER_BASE * num_bases
    ):
        order += 1
    return order


def count_contexts(
    corpus: Corpus, order: int, reporter: Reporter, sides: Sides = Sides.BOTH
) -> ContextTables:
    """Count every training segment on both strands, for all orders up to `order`.

    Tokens may overlap at stride 1. Segments are read in chunks of 2^20 tokens; k-mers decode to k -
    1 bases beyond the end of a chunk, so that as many windows are counted twice.
    """
    counter = ContextCounter(sides, order)
    overlap = sides.span(order) - 1
    with reporter.track("counting contexts", corpus.manifest.num_train, "bases") as tracker:
        for segment in corpus.segments("train"):
            for start in range(0, segment.length, _CHUNK):
                stop = min(start + _CHUNK + overlap, segment.length)
                counter.add(
                    encode_bases(corpus.tokenizer.decode(corpus.tokens(segment, start, stop)))
                )
                tracker.advance(min(_CHUNK, segment.length - start))
    return counter.tables()


def score_positions(
    tables: ContextTables, codes: Codes, centres_N: npt.NDArray[np.int64]
) -> list[TokenScores]:
    """Return the scores of order 0, 1, ... on the bases at the centres."""
    chunks_by_order: list[list[TokenScores]] = [[] for _ in tables.tables]
    for start in range(0, max(centres_N.size, 1), _QUERIES_PER_CHUNK):
        centres = centres_N[start : start + _QUERIES_PER_CHUNK]
        targets = codes[centres].astype(np.int64)
        for chunks, probability_N4 in zip(
            chunks_by_order, tables.probabilities(codes, centres), strict=True
        ):
            chunks.append(scores_from_probabilities(probability_N4, targets))
    return [concatenate_scores(chunks) for chunks in chunks_by_order]


def best_order(scores: list[TokenScores]) -> int:
    """Return the order with the fewest bits."""
    return min(range(len(scores)), key=lambda k: float(scores[k].bits_N.mean()))


def score_queries(tables: ContextTables, queries: Queries) -> list[TokenScores]:
    """Return the scores of every order on queries for single bases."""
    codes_WL = queries.first_codes
    _, windows_N, columns_N = np.nonzero(queries.is_base)
    return score_positions(tables, codes_WL.reshape(-1), windows_N * codes_WL.shape[1] + columns_N)


def count_baseline(
    corpus: Corpus, queries: Queries, reporter: Reporter, sides: Sides = Sides.BOTH
) -> CountBaseline:
    """Count the training split and score the order that does best on the queries.

    Args:
        corpus: Corpus with a training split.
        queries: Queries for single bases; with `sides` left, the queries of a causal model.
        reporter: Receives progress.
        sides: Side of the neighbours that the compared model sees.
    """
    widest = widest_order(corpus.manifest.num_train, sides)
    scores = score_queries(count_contexts(corpus, widest, reporter, sides), queries)
    order = best_order(scores)
    looks: Literal["a side", "before"] = "before" if sides is Sides.LEFT else "a side"
    return CountBaseline(order=order, score=scores[order].score(), looks=looks)
