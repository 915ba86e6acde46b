"""Markov baseline of models with longer tokens: p(base | k bases before it), by counting.

Such a model predicts all bases of a token at once, and so does the table: the probability of a
token is the product over its bases, each given the bases before it. Both strands of the training
split are counted; orders are interpolated and the best is selected as in `counts`. A model of byte
pairs must also predict the end of a token; the table need not, which favours it. For the accuracy,
the table predicts the most probable base after the bases it predicted before, to the true length.
Shape letters: T queried tokens, C columns: the bases before a token, then its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.evaluation.counts import ALPHA, CountBaseline, CountTable
from genomeformer_cli.core.evaluation.masked_queries import TOKENS_BEFORE, Queries
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    encode_bases,
    reverse_complement_codes,
)
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, Tokenizer
from genomeformer_cli.core.training.metrics import Score

_CHUNK = 1 << 20
_CELLS_PER_BASE = 4
Tables = list[CountTable]


def markov_baseline(corpus: Corpus, queries: Queries, reporter: Reporter) -> CountBaseline:
    """Count the training split and score the order that does best on the queries."""
    num_bases = corpus.manifest.num_bases or corpus.manifest.num_train
    order = 0
    while order < TOKENS_BEFORE and NUM_REAL_BASES ** (order + 2) <= _CELLS_PER_BASE * num_bases:
        order += 1
    tables = count_markov(corpus, order, reporter)
    columns_TC, sizes_T = _columns(queries, corpus.tokenizer, order)
    scores = [score_markov(tables[: k + 1], columns_TC, sizes_T, order) for k in range(order + 1)]
    best = min(range(len(scores)), key=lambda k: scores[k].bits_per_base)
    return CountBaseline(order=best, score=scores[best], looks="before")


def count_markov(corpus: Corpus, order: int, reporter: Reporter) -> Tables:
    """Count every base after the bases before it, on both strands, for all orders up to `order`."""
    tables = [np.zeros(NUM_REAL_BASES ** (k + 1), dtype=np.uint32) for k in range(order + 1)]
    with reporter.track("counting contexts", corpus.manifest.num_train, "tokens") as tracker:
        for segment in corpus.segments("train"):
            for start in range(0, segment.length, _CHUNK):
                # Tokens hold a base or more: so many of them hold the context of the next chunk.
                first, stop = max(start - order, 0), min(start + _CHUNK, segment.length)
                codes = encode_bases(corpus.tokenizer.decode(corpus.tokens(segment, first, stop)))
                _count_into(tables, codes)
                _count_into(tables, reverse_complement_codes(codes))
                tracker.advance(stop - start)
    return tables


def _count_into(tables: Tables, codes: Codes) -> None:
    for k, table in enumerate(tables):
        if codes.size <= k:
            return
        windows = np.lib.stride_tricks.sliding_window_view(codes, k + 1)
        real = (windows < NUM_REAL_BASES).all(axis=1)
        keys = np.zeros(len(windows), dtype=np.int64)
        for offset in range(k + 1):
            keys = keys * NUM_REAL_BASES + codes[offset : offset + len(windows)]
        _add_cells(table, keys[real])


def _add_cells(table: CountTable, cells: npt.NDArray[np.int64]) -> None:
    """Add 1 to the count of every listed cell."""
    if table.size <= cells.size * 8:
        table += np.bincount(cells, minlength=table.size).astype(np.uint32)
        return
    unique, counts = np.unique(cells, return_counts=True)
    table[unique] += counts.astype(np.uint32)


def _columns(
    queries: Queries, tokenizer: Tokenizer, order: int
) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Return the bases before and in each queried token (T, C), and the token lengths (T,)."""
    assert queries.bases_V is not None
    is_query_WL = np.logical_or.reduce(queries.is_query)
    longest = int(queries.bases_V[queries.tokens_WL[is_query_WL]].max())
    rows: list[Codes] = []
    sizes: list[int] = []
    for tokens_L, is_query_L in zip(queries.tokens_WL, is_query_WL, strict=True):
        ids = tokens_L[tokens_L != PAD_ID].astype(tokenizer.dtype)
        codes = encode_bases(tokenizer.decode(ids))
        ends = np.cumsum(queries.bases_V[ids])
        for token in np.flatnonzero(is_query_L):
            size = int(queries.bases_V[ids[token]])
            start = int(ends[token]) - size
            row = np.zeros(order + longest, dtype=np.uint8)
            row[: order + size] = codes[start - order : start + size]
            rows.append(row)
            sizes.append(size)
    return np.stack(rows), np.array(sizes)


def score_markov(
    tables: Tables, columns_TC: Codes, sizes_T: npt.NDArray[np.int64], before: int
) -> Score:
    """Score interpolated tables on tokens that follow `before` bases.

    Args:
        tables: Tables of order 0, 1, ...
        columns_TC: Bases before each token, then its own.
        sizes_T: Number of bases of each token.
        before: Number of bases before each token.
    """
    predicted_TC = columns_TC.copy()
    bits = 0.0
    correct_T = np.ones(len(sizes_T), dtype=np.bool_)
    every_T = np.arange(len(sizes_T))
    for column in range(before, columns_TC.shape[1]):
        within_T = column - before < sizes_T
        targets_T = columns_TC[:, column]
        probability_T4 = next_base_probabilities(tables, columns_TC[:, :column])
        bits -= float(np.log2(probability_T4[every_T, targets_T][within_T]).sum())
        predicted_TC[:, column] = next_base_probabilities(tables, predicted_TC[:, :column]).argmax(
            axis=1
        )
        correct_T &= ~within_T | (predicted_TC[:, column] == targets_T)
    num_bases = int(sizes_T.sum())
    return Score(
        bits_per_base=bits / num_bases,
        accuracy=float(correct_T.mean()),
        num_bases=num_bases,
        num_tokens=len(sizes_T),
    )


def next_base_probabilities(tables: Tables, before_TC: Codes) -> npt.NDArray[np.float64]:
    """Return the probabilities of the next base after the bases in `before_TC`, shape (T, 4)."""
    probability_T4 = np.full((len(before_TC), NUM_REAL_BASES), 1 / NUM_REAL_BASES)
    for order, table in enumerate(tables):
        key_T = np.zeros(len(before_TC), dtype=np.int64)
        for offset in range(order, 0, -1):
            key_T = key_T * NUM_REAL_BASES + before_TC[:, -offset]
        counts_T4 = table.reshape(-1, NUM_REAL_BASES)[key_T].astype(np.float64)
        probability_T4 = (counts_T4 + ALPHA * probability_T4) / (
            counts_T4.sum(axis=1, keepdims=True) + ALPHA
        )
    return probability_T4
