"""Log-odds of single substitutions by counting: context tables, k-mers, codon usage.

All tables are counted on the genome that holds the variants, both strands, which favours them; the
occurrence at the variant itself is taken away, because every reference allele has it.
Shape letters: N substitutions, K orders.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.counts import (
    ALPHA,
    ContextCounter,
    ContextTables,
    widest_order,
)
from genomeformer_cli.core.evaluation.wide_counts import Sides
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, Flags

WORD = 6
REACH = WORD
_BITS = 2

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


class CountOdds:
    """Tables of a genome.

    Args:
        sequences: Base codes of its records.
    """

    def __init__(self, sequences: Iterable[Codes]) -> None:
        sequences = list(sequences)
        order = widest_order(sum(codes.size for codes in sequences))
        counter = ContextCounter(Sides.BOTH, order)
        self._words = np.zeros(NUM_REAL_BASES**WORD, dtype=np.int64)
        for codes in sequences:
            counter.add(codes)
            self._words += _count_words(codes)
        self._words += self._words[_reverse_complements()]
        self.tables: ContextTables = counter.tables()

    def contexts(self, codes: Codes, position_N: Numbers, alt_N: Codes) -> tuple[Floats, Floats]:
        """Return log2 p(alt) - log2 p(ref), and log2 p(ref), by neighbours, both (K, N).

        Args:
            codes: Bases of a record.
            position_N: Positions with `REACH` known bases on both sides.
            alt_N: Alternative bases.
        """
        rows_N = np.arange(position_N.size)
        ref_N = codes[position_N].astype(np.int64)
        key_N = np.zeros(position_N.size, dtype=np.int64)
        probability_N4 = np.full((position_N.size, NUM_REAL_BASES), 1 / NUM_REAL_BASES)
        odds, ref_log2 = [], []
        for order, table in enumerate(self.tables.tables):
            for offset in self.tables.sides.offsets(order) if order else ():
                key_N = key_N * NUM_REAL_BASES + codes[position_N + offset]
            counts_N4 = table.reshape(-1, NUM_REAL_BASES)[key_N].astype(np.float64)
            counts_N4[rows_N, ref_N] = np.maximum(counts_N4[rows_N, ref_N] - 1, 0)
            total_N = counts_N4.sum(axis=1, keepdims=True)
            probability_N4 = (counts_N4 + ALPHA * probability_N4) / (total_N + ALPHA)
            log2_N4 = np.log2(probability_N4)
            odds.append(log2_N4[rows_N, alt_N] - log2_N4[rows_N, ref_N])
            ref_log2.append(log2_N4[rows_N, ref_N])
        return np.array(odds), np.array(ref_log2)

    def words(self, codes: Codes, position_N: Numbers, alt_N: Codes) -> Floats:
        """Return the change of the log2 counts of the k-mers around each position, summed, (N,)."""
        change_N = np.zeros(position_N.size)
        ref_N = codes[position_N].astype(np.int64)
        for start in range(1 - WORD, 1):
            key_N = np.zeros(position_N.size, dtype=np.int64)
            for offset in range(start, start + WORD):
                key_N = (key_N << _BITS) | codes[position_N + offset]
            digit = _BITS * (start + WORD - 1)
            changed_N = key_N + ((alt_N.astype(np.int64) - ref_N) << digit)
            change_N += np.log2(self._words[changed_N] + 1.0)
            change_N -= np.log2(np.maximum(self._words[key_N], 1))
        return change_N


def codon_usage_odds(codon_counts_64: Numbers, ref_N: Numbers, alt_N: Numbers) -> Floats:
    """Return the log2 ratio of the counts of codons, the observed codon taken away, (N,)."""
    ratio_N: Floats = np.log2(codon_counts_64[alt_N] + 1.0) - np.log2(
        np.maximum(codon_counts_64[ref_N], 1)
    )
    return ratio_N


def has_known_neighbours(codes: Codes) -> Flags:
    """Return True at bases with `REACH` known bases on both sides, (L,)."""
    is_unknown = np.concatenate(
        (np.ones(REACH, dtype=np.bool_), codes >= NUM_REAL_BASES, np.ones(REACH, dtype=np.bool_))
    )
    num_unknown = np.concatenate(([0], np.cumsum(is_unknown)))
    span = 2 * REACH + 1
    return np.asarray(num_unknown[span:] == num_unknown[:-span])


def _count_words(codes: Codes) -> Numbers:
    num_starts = codes.size - WORD + 1
    if num_starts < 1:
        return np.zeros(NUM_REAL_BASES**WORD, dtype=np.int64)
    key = np.zeros(num_starts, dtype=np.int64)
    is_real = np.ones(num_starts, dtype=np.bool_)
    for offset in range(WORD):
        letters = codes[offset : offset + num_starts]
        key = (key << _BITS) | letters
        is_real &= letters < NUM_REAL_BASES
    return np.bincount(key[is_real], minlength=NUM_REAL_BASES**WORD)


def _reverse_complements() -> Numbers:
    """Return the number of the reverse complement of every k-mer."""
    key = np.arange(NUM_REAL_BASES**WORD)
    reverse = np.zeros_like(key)
    for place in range(WORD):
        reverse = (reverse << _BITS) | (3 - ((key >> (_BITS * place)) & 3))
    return reverse
