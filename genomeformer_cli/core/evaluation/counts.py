"""The table every model must beat: p(base | k neighbours on each side), by counting.

Both strands of the training split are counted.

Orders 0 to K are interpolated by Dirichlet back-off: p_k = (n_k + a p_{k-1}) / (sum n_k + a), with
p_{-1} uniform (MacKay and Peto 1995, "A hierarchical Dirichlet language model", equation 12). The
order is chosen on the questions themselves, which favours the table.
Shape letters: N positions, K order, W windows, L window length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.evaluation.held_out import MARGIN, HeldOut
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    encode_bases,
    reverse_complement_codes,
)
from genomeformer_cli.core.training.metrics import Score, name_of_counts

ALPHA = 16.0
_CHUNK = 1 << 21
_CELLS_A_BASE = 4
Tables = list[npt.NDArray[np.uint32]]


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
    def words(self) -> str:
        """What it is called."""
        return name_of_counts(self.order, self.looks)


def _context_keys(
    codes: Codes, centres_N: npt.NDArray[np.int64], order: int
) -> list[npt.NDArray[np.int64]]:
    """For k = 0..order, the number of each centre's context of k neighbours a side."""
    keys = [np.zeros(centres_N.size, dtype=np.int64)]
    for distance in range(1, order + 1):
        key = keys[-1]
        for offset in (-distance, distance):
            key = key * NUM_REAL_BASES + codes[centres_N + offset]
        keys.append(key)
    return keys


def _count_into(tables: Tables, codes: Codes) -> None:
    order = len(tables) - 1
    if codes.size <= 2 * order:
        return
    real = codes < NUM_REAL_BASES
    centres_N = (
        np.flatnonzero(np.lib.stride_tricks.sliding_window_view(real, 2 * order + 1).all(axis=-1))
        + order
    )
    for table, key in zip(tables, _context_keys(codes, centres_N, order), strict=True):
        add_cells(table, key * NUM_REAL_BASES + codes[centres_N])


def add_cells(table: npt.NDArray[np.uint32], cells: npt.NDArray[np.int64]) -> None:
    """Count every cell that is named."""
    if table.size <= cells.size * 8:
        table += np.bincount(cells, minlength=table.size).astype(np.uint32)
        return
    unique, counts = np.unique(cells, return_counts=True)
    table[unique] += counts.astype(np.uint32)


def widest_order(num_bases: int) -> int:
    """The widest context worth a table: at most four cells a training base, at most `MARGIN`."""
    order = 0
    while order < MARGIN and NUM_REAL_BASES ** (2 * order + 3) <= _CELLS_A_BASE * num_bases:
        order += 1
    return order


def count_contexts(corpus: Corpus, order: int, reporter: Reporter) -> Tables:
    """Count every training segment on both strands, for all orders up to `order`."""
    tables = [np.zeros(NUM_REAL_BASES ** (2 * k + 1), dtype=np.uint32) for k in range(order + 1)]
    with reporter.track("counting contexts", corpus.manifest.num_train, "bases") as tracker:
        for segment in corpus.segments("train"):
            for start in range(0, segment.length, _CHUNK):
                first, stop = max(start - order, 0), min(start + _CHUNK + order, segment.length)
                codes = encode_bases(corpus.tokenizer.decode(corpus.tokens(segment, first, stop)))
                _count_into(tables, codes)
                _count_into(tables, reverse_complement_codes(codes))
                tracker.advance(min(_CHUNK, segment.length - start))
    return tables


def score_contexts(tables: Tables, codes_WL: Codes, asked_WL: npt.NDArray[np.bool_]) -> list[Score]:
    """Scores of the tables of order 0, 1, ... on bases with `MARGIN` real neighbours a side."""
    flat = np.ascontiguousarray(codes_WL).reshape(-1)
    centres_N = np.flatnonzero(asked_WL)
    truth_N = flat[centres_N].astype(np.int64)
    probability_N4 = np.full((centres_N.size, NUM_REAL_BASES), 1 / NUM_REAL_BASES)
    scores: list[Score] = []
    for table, key in zip(tables, _context_keys(flat, centres_N, len(tables) - 1), strict=True):
        counts_N4 = table.reshape(-1, NUM_REAL_BASES)[key].astype(np.float64)
        probability_N4 = (counts_N4 + ALPHA * probability_N4) / (
            counts_N4.sum(axis=1, keepdims=True) + ALPHA
        )
        true_N = probability_N4[np.arange(truth_N.size), truth_N]
        scores.append(
            Score(
                bits_per_base=float(-np.log2(true_N).mean()),
                accuracy=float((probability_N4.argmax(axis=1) == truth_N).mean()),
                num_bases=truth_N.size,
            )
        )
    return scores


def count_baseline(corpus: Corpus, questions: HeldOut, reporter: Reporter) -> CountBaseline:
    """Count the training split and answer the questions with the order that does best on them."""
    tables = count_contexts(corpus, widest_order(corpus.manifest.num_train), reporter)
    bases_PWL = questions.hidden_PWL if questions.bases_PWL is None else questions.bases_PWL
    scores = score_contexts(tables, questions.first_codes, np.logical_or.reduce(bases_PWL))
    order = min(range(len(scores)), key=lambda k: scores[k].bits_per_base)
    return CountBaseline(order=order, score=scores[order])
