"""Features by counting: k-mer frequencies, base pairs by position, one-hot bases.

Shape letters: N sequences, W k-mers, L length, K non-zero entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KS = (3, 4, 5, 6)
KS_BOTH_STRANDS = (5, 6, 7)
ONE_HOT, PAIRS = "one-hot", "base pairs in place"
# Gapped k-mers: two 3-mers, with a gap of so many bases between them.
HALF_SITE = 3
GAPS = (1, 2, 3, 4, 5, 6, 7, 8)
GAPPED = f"gapped {2 * HALF_SITE}-mers"
NUM_GAPPED = len(GAPS) * NUM_REAL_BASES ** (2 * HALF_SITE)


# Features whose probes do not scale them to unit variance.
UNSCALED = (*(f"both-strand {k}-mers" for k in KS_BOTH_STRANDS), GAPPED, PAIRS)


@dataclass(frozen=True)
class SparseEntries:
    """Non-zero entries of a table (N, W)."""

    rows_K: npt.NDArray[np.int64]  # Sequences.
    columns_K: npt.NDArray[np.int64]  # K-mers, or other features.
    values_K: npt.NDArray[np.float32]  # Counts, or 1.

    def table(self, shape: tuple[int, int]) -> csr_array:
        """Return the entries as a SciPy array in compressed rows."""
        from scipy.sparse import csr_array

        positions = (self.rows_K.astype(np.int32), self.columns_K.astype(np.int32))
        return csr_array((self.values_K, positions), shape=shape)


def kmer_frequencies(sequences: Sequence[Codes], k: int) -> csr_array:
    """Return the frequency of each k-mer among the k-mers without N, forward strand, (N, 4^k)."""
    counts = kmer_counts(sequences, k)
    totals_N = np.bincount(counts.rows_K, counts.values_K, minlength=len(sequences))
    shares_K = (counts.values_K / totals_N[counts.rows_K]).astype(np.float32)
    shape = (len(sequences), NUM_REAL_BASES**k)
    return SparseEntries(counts.rows_K, counts.columns_K, shares_K).table(shape)


def square_roots(entries: SparseEntries, num_columns: int, num_rows: int) -> csr_array:
    """Return the square roots of counts, shape (N, columns): their variance is even."""
    values_K = np.sqrt(entries.values_K)
    table = SparseEntries(entries.rows_K, entries.columns_K, values_K)
    return table.table((num_rows, num_columns))


def unscaled_counts(sequences: Sequence[Codes]) -> dict[str, csr_array]:
    """Return the features of `UNSCALED`: square roots of counts, and base pairs.

    Base pairs in their places are counted only if all sequences have the same length.
    """
    num_rows = len(sequences)
    tables = {
        f"both-strand {k}-mers": square_roots(
            kmer_counts(sequences, k, both_strands=True), NUM_REAL_BASES**k, num_rows
        )
        for k in KS_BOTH_STRANDS
    }
    gapped = gapped_counts(sequences, both_strands=True)
    tables[GAPPED] = square_roots(gapped, NUM_GAPPED, num_rows)
    lengths = {codes.size for codes in sequences}
    length = max(lengths, default=0)
    if len(lengths) == 1 and length > 1:
        pairs = positional_pairs(sequences, length)
        tables[PAIRS] = pairs.table((num_rows, NUM_REAL_BASES**2 * (length - 1)))
    return tables


def kmer_counts(sequences: Sequence[Codes], k: int, *, both_strands: bool = False) -> SparseEntries:
    """Return the count of each k-mer without N, shape (N, 4^k).

    Args:
        sequences: Base codes.
        k: K-mer length.
        both_strands: Count the k-mers of the reverse strand as well.
    """
    entries = []
    for codes in sequences:
        strands = (codes, reverse_complement_codes(codes)) if both_strands else (codes,)
        kmers = np.concatenate([_kmer_numbers(strand, k) for strand in strands])
        entries.append(np.unique(kmers, return_counts=True))
    return _entries(entries)


def _kmer_numbers(codes: Codes, k: int) -> npt.NDArray[np.int64]:
    """Return the number of each k-mer without N."""
    return _numbers(_spans(codes, k))


def _spans(codes: Codes, length: int) -> Codes:
    """Return every stretch of so many bases, (W, length)."""
    if codes.size < length:
        return np.empty((0, length), dtype=np.uint8)
    return np.lib.stride_tricks.sliding_window_view(codes, length)


def _numbers(words_WK: Codes) -> npt.NDArray[np.int64]:
    """Return the number of each k-mer without N."""
    known_WK = words_WK[(words_WK < NUM_REAL_BASES).all(axis=1)].astype(np.int64)
    return np.asarray(known_WK @ (NUM_REAL_BASES ** np.arange(words_WK.shape[1])[::-1]))


def gapped_counts(sequences: Sequence[Codes], *, both_strands: bool = False) -> SparseEntries:
    """Return the count of each pair of 3-mers at each gap, shape (N, `NUM_GAPPED`).

    Two half-sites at a distance are a common form of binding site. Gapped k-mers as features:
    Ghandi et al. 2014, "Enhanced Regulatory Sequence Prediction Using Gapped k-mer Features".

    Args:
        sequences: Base codes.
        both_strands: Count the pairs of the reverse strand as well.
    """
    entries = []
    for codes in sequences:
        strands = (codes, reverse_complement_codes(codes)) if both_strands else (codes,)
        numbers = [np.empty(0, dtype=np.int64)]
        for strand in strands:
            for index, gap in enumerate(GAPS):
                spans = _spans(strand, 2 * HALF_SITE + gap)
                sites = np.delete(spans, np.s_[HALF_SITE : HALF_SITE + gap], axis=1)
                numbers.append(_numbers(sites) + index * NUM_REAL_BASES ** (2 * HALF_SITE))
        entries.append(np.unique(np.concatenate(numbers), return_counts=True))
    return _entries(entries)


def positional_pairs(sequences: Sequence[Codes], length: int) -> SparseEntries:
    """Return the pair of adjacent bases at each position from the start, shape (N, 16 (L - 1)).

    Args:
        sequences: Base codes; shorter sequences have zeros beyond their end.
        length: Number of leading bases that are used.
    """
    entries = []
    for codes in sequences:
        prefix = codes[:length].astype(np.int64)
        first, second = prefix[:-1], prefix[1:]
        (positions,) = np.nonzero((first < NUM_REAL_BASES) & (second < NUM_REAL_BASES))
        pairs = NUM_REAL_BASES * first[positions] + second[positions]
        entries.append((NUM_REAL_BASES**2 * positions + pairs, np.ones(positions.size)))
    return _entries(entries)


def one_hot(sequences: Sequence[Codes]) -> csr_array | None:
    """Return one-hot bases, shape (N, 4 L); None unless all sequences have the same length."""
    lengths = {codes.size for codes in sequences}
    if len(lengths) != 1:
        return None
    (length,) = lengths
    codes_NL = np.stack(sequences)
    rows_K, positions_K = np.nonzero(codes_NL < NUM_REAL_BASES)
    columns_K = positions_K * NUM_REAL_BASES + codes_NL[rows_K, positions_K]
    ones_K = np.ones(rows_K.size, dtype=np.float32)
    shape = (len(sequences), NUM_REAL_BASES * length)
    return SparseEntries(rows_K, columns_K, ones_K).table(shape)


def _entries(entries_by_row: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> SparseEntries:
    """Build entries from the columns and the values of each row."""
    empty = np.empty(0)
    return SparseEntries(
        np.repeat(np.arange(len(entries_by_row)), [columns.size for columns, _ in entries_by_row]),
        np.concatenate([empty, *(columns for columns, _ in entries_by_row)]).astype(np.int64),
        np.concatenate([empty, *(values for _, values in entries_by_row)]).astype(np.float32),
    )
