"""Count baseline that every model must beat: p(base | neighbours) from k-mer counts.

A masked model is compared with a table of the neighbours on both sides, a causal model with a table
of the bases on the left. Both strands of the training split are counted: k-mers of the forward
strand, and their reverse complements.

Orders 0 to K are interpolated by Dirichlet back-off: p_k = (n_k + a p_{k-1}) / (sum n_k + a), with
p_{-1} uniform (MacKay and Peto 1995, "A hierarchical Dirichlet language model", equation 12).
Orders with too many contexts for a table are counted for the queries alone, see `wide_counts`. The
training sequences of each group are counted by themselves as well. Group and order are selected on
the queries themselves, which favours the counts, unless other queries are given.
Shape letters: N positions, K order, W windows, L window length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.evaluation.masked_queries import MARGIN, Queries
from genomeformer_cli.core.evaluation.token_scores import (
    TokenScores,
    scores_from_probabilities,
)
from genomeformer_cli.core.evaluation.wide_counts import ContextQueries, Sides, WideContexts
from genomeformer_cli.core.formats.groups import GroupBy, group_name
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, encode_bases
from genomeformer_cli.core.training.metrics import Score, name_of_counts

ALPHA = 16.0
LONGEST_LEFT = 12
_CHUNK = 1 << 20
_CELLS_PER_BASE = 4
# Widest order of the dense table of a group.
_GROUP_ORDER = {Sides.BOTH: 5, Sides.LEFT: 11}
_MAX_GROUPS = 16
# Queries times groups: bounds the memory of the counts of groups to about 1.3 GB.
_MAX_CELLS = 1 << 24
CountTable = npt.NDArray[np.uint32]
Probabilities = npt.NDArray[np.float64]
# Kind and name of a subset of the queries.
Subset = tuple[str, str]


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
            probability_N4 = back_off(table.reshape(-1, NUM_REAL_BASES)[key_N], probability_N4)
            yield probability_N4


def back_off(counts_N4: CountTable, narrower_N4: Probabilities) -> Probabilities:
    """Interpolate counts with the probabilities of the next narrower context, shape (N, 4)."""
    total_N1 = counts_N4.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray((counts_N4 + ALPHA * narrower_N4) / (total_N1 + ALPHA))


class ContextCounter:
    """Counter of the k-mers of one order.

    Memory is 4^(bases of a k-mer) numbers, twice as much in `tables`.

    Args:
        sides: Side of the neighbours.
        order: Number of neighbours on a side.

    Attributes:
        span: Bases of a k-mer.
    """

    def __init__(self, sides: Sides, order: int) -> None:
        self._sides = sides
        self._order = order
        self.span = sides.span(order)
        self._counts = np.zeros(NUM_REAL_BASES**self.span, dtype=np.uint32)

    def add(self, codes: Codes) -> None:
        """Count every k-mer without N of a sequence."""
        for start in range(0, codes.size - self.span + 1, _CHUNK):
            self._count(codes[start : start + _CHUNK + self.span - 1])

    def _count(self, codes: Codes) -> None:
        num_starts = codes.size - self.span + 1
        kmers = np.zeros(num_starts, dtype=np.int32)
        unknown = codes >= NUM_REAL_BASES
        for offset in range(self.span):
            kmers <<= 2
            kmers |= codes[offset : offset + num_starts] & 3
        if unknown.any():
            num_unknown = np.concatenate(([0], np.cumsum(unknown, dtype=np.int32)))
            kmers = kmers[num_unknown[self.span :] == num_unknown[:num_starts]]
        np.add.at(self._counts, kmers, np.uint32(1))

    def tables(self) -> ContextTables:
        """Return the tables of both strands and all orders; the counter is then empty."""
        digits = (NUM_REAL_BASES,) * self.span
        forward, self._counts = self._counts, np.zeros(0, dtype=np.uint32)
        # Turned, a word's digits run the other way; complemented, each d is 3 - d.
        counts = forward.reshape(digits).T.flatten()[::-1]
        counts += forward
        del forward  # the table of 13 bases has 268 MB
        centre = self._order
        axes = [
            centre + offset
            for distance in range(1, self._order + 1)
            for offset in self._sides.offsets(distance)
        ]
        widest = np.ascontiguousarray(counts.reshape(digits).transpose(*axes, centre)).reshape(-1)
        del counts
        tables = [widest]
        num_outer = NUM_REAL_BASES ** len(self._sides.offsets(1))
        for _ in range(self._order):
            wider = tables[-1].reshape(-1, num_outer, NUM_REAL_BASES)
            tables.append(wider.sum(axis=1, dtype=np.uint32).reshape(-1))
        return ContextTables(sides=self._sides, tables=tables[::-1])


@dataclass(frozen=True, kw_only=True)
class CountedScores:
    """Scores of one table."""

    order: int  # Bases of context.
    scores: TokenScores  # Scores on the queries.
    group: str = ""  # Counted group of the training split; empty: all of it.


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


def best_tables(
    tables: Iterable[CountedScores],
    subsets: Mapping[Subset, npt.NDArray[np.bool_]],
    validation: Mapping[Subset, npt.NDArray[np.bool_]] | None = None,
) -> dict[Subset, CountedScores]:
    """Return the table with the fewest bits on each subset, with its scores on that subset.

    Args:
        tables: Scores of all tables on all queries.
        subsets: Queries of each subset.
        validation: Queries that select the table of each subset; None: those of the subset itself,
            which favours the counts.
    """
    best: dict[Subset, tuple[float, CountedScores]] = {}
    for table in tables:
        for name, selected_N in subsets.items():
            selecting_N = selected_N if validation is None else validation[name]
            bits = float(table.scores.bits_N[selecting_N].mean())
            if name not in best or bits < best[name][0]:
                best[name] = (bits, replace(table, scores=table.scores.select(selected_N)))
    return {name: table for name, (_, table) in best.items()}


class CorpusCounter:
    """Counter of a training split: dense tables of narrow contexts, queries' wide contexts.

    Args:
        queries: Queried bases.
        num_bases: Training bases, which bound the dense tables.
        sides: Side of the neighbours.
        groups: Groups that are counted by themselves as well.
    """

    def __init__(
        self, queries: ContextQueries, num_bases: int, sides: Sides, groups: Sequence[str] = ()
    ) -> None:
        self._queries = queries
        self._groups = list(groups)
        order = widest_order(num_bases, sides)
        narrow = min(order, _GROUP_ORDER[sides])
        self._dense = ContextCounter(sides, order)
        self._dense_by_group = [ContextCounter(sides, narrow) for _ in groups]
        first = (narrow if groups else order) + 1
        self._wide = WideContexts(queries, sides, first, max(len(groups), 1))
        self.overlap = sides.span(sides.reach) - 1

    def add(self, codes: Codes, group: str = "", *, is_last: bool = True) -> None:
        """Count a training sequence.

        Args:
            codes: Base codes.
            group: Group of the sequence.
            is_last: False if the next chunk begins `overlap` bases before the end of this one.
        """
        number = self._groups.index(group) if self._groups else 0
        num_starts = codes.size if is_last else codes.size - self.overlap
        self._wide.add(codes, number, num_starts=num_starts)
        for counter in (self._dense, *self._dense_by_group[number : number + 1]):
            counter.add(codes[: num_starts + counter.span - 1])

    def scores(self) -> Iterator[CountedScores]:
        """Yield the scores of all orders, of the whole split and of every group."""
        yield from self._interpolate(self._dense, None)
        for number, counter in enumerate(self._dense_by_group):
            yield from self._interpolate(counter, number)

    def _interpolate(self, counter: ContextCounter, group: int | None) -> Iterator[CountedScores]:
        queries, tables = self._queries, counter.tables()
        targets_N = queries.codes[queries.centres_N].astype(np.int64)
        name = "" if group is None else self._groups[group]
        probability_N4 = np.full((targets_N.size, NUM_REAL_BASES), 1 / NUM_REAL_BASES)
        for order, probabilities_N4 in enumerate(
            tables.probabilities(queries.codes, queries.centres_N)
        ):
            probability_N4 = probabilities_N4
            scores = scores_from_probabilities(probability_N4, targets_N)
            yield CountedScores(order=order, scores=scores, group=name)
        for order, counts_N4 in self._wide.counts(group):
            if order > tables.order:
                probability_N4 = back_off(counts_N4, probability_N4)
                scores = scores_from_probabilities(probability_N4, targets_N)
                yield CountedScores(order=order, scores=scores, group=name)


def count_and_score(
    corpus: Corpus,
    queries: ContextQueries,
    reporter: Reporter,
    sides: Sides = Sides.BOTH,
    by: GroupBy | None = None,
) -> Iterator[CountedScores]:
    """Count the training split and yield the scores of all orders on queried bases.

    Args:
        corpus: Corpus with a training split.
        queries: Queried bases.
        reporter: Receives progress.
        sides: Side of the neighbours.
        by: Unit of the groups that are counted by themselves; None: only the whole split.
    """
    segments = corpus.segments("train")
    names = {
        segment: group_name(segment.genome, segment.record, by) if by else ""
        for segment in segments
    }
    groups = sorted(set(names.values()))
    max_groups = min(_MAX_GROUPS, _MAX_CELLS // max(queries.centres_N.size, 1))
    if len(groups) > max_groups:
        reporter.note(
            f"counts are of the whole corpus only: it has {len(groups):,} parts, and at most "
            f"{max_groups} are counted by themselves with {queries.centres_N.size:,} queries"
        )
    if not 1 < len(groups) <= max_groups:
        groups = []
    counter = CorpusCounter(queries, corpus.manifest.num_train, sides, groups)
    with reporter.track("counting contexts", corpus.manifest.num_train, "bases") as tracker:
        for segment in segments:
            for start in range(0, segment.length, _CHUNK):
                stop = min(start + _CHUNK + counter.overlap, segment.length)
                codes = encode_bases(corpus.tokenizer.decode(corpus.tokens(segment, start, stop)))
                is_last = start + _CHUNK >= segment.length
                counter.add(codes, names[segment] if groups else "", is_last=is_last)
                tracker.advance(min(_CHUNK, segment.length - start))
    yield from counter.scores()


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
    context_queries = ContextQueries.of_windows(queries)
    every_query = {("all", "all"): np.ones(context_queries.centres_N.size, dtype=np.bool_)}
    tables = count_and_score(corpus, context_queries, reporter, sides)
    (best,) = best_tables(tables, every_query).values()
    looks: Literal["a side", "before"] = "before" if sides is Sides.LEFT else "a side"
    return CountBaseline(order=best.order, score=best.scores.score(), looks=looks)
