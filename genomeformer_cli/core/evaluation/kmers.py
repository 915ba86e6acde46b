"""What counting knows of a sequence: how often each k-mer occurs in it, or which bases are where.

Shape letters: N sequences, W words, L length, K entries that are not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import MissingExtraError
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KS = (3, 4, 5, 6)
ONE_HOT = "one-hot"


def require_sklearn(what: str) -> None:
    """Make sure that scikit-learn is there.

    Args:
        what: Needs it.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as failure:
        raise MissingExtraError(
            f"scikit-learn is not installed, and {what} needs it",
            hint='`pip install "genomeformer[evaluate]"`',
        ) from failure


@dataclass(frozen=True)
class SparseEntries:
    """What is not 0 in a table (N, W): of each such place its row, its column, and what is there.

    Attributes:
        rows_K: Sequences.
        columns_K: Words, or other features.
        values_K: How often, or 1.
    """

    rows_K: npt.NDArray[np.int64]
    columns_K: npt.NDArray[np.int64]
    values_K: npt.NDArray[np.float32]

    def table(self, shape: tuple[int, int]) -> csr_array:
        """As scipy has it."""
        from scipy.sparse import csr_array

        places = (self.rows_K.astype(np.int32), self.columns_K.astype(np.int32))
        return csr_array((self.values_K, places), shape=shape)


def kmer_frequencies(sequences: Sequence[Codes], k: int) -> csr_array:
    """(N, 4^k) shares of each word among the words without N; one strand, as it stands."""
    counts = kmer_counts(sequences, k)
    totals_N = np.bincount(counts.rows_K, counts.values_K, minlength=len(sequences))
    shares_K = (counts.values_K / totals_N[counts.rows_K]).astype(np.float32)
    shape = (len(sequences), NUM_REAL_BASES**k)
    return SparseEntries(counts.rows_K, counts.columns_K, shares_K).table(shape)


def kmer_counts(sequences: Sequence[Codes], k: int, *, both_strands: bool = False) -> SparseEntries:
    """(N, 4^k) how often each word without N occurs.

    Args:
        sequences: Base codes.
        k: Bases of a word.
        both_strands: Whether words of the other strand count as well.
    """
    found = []
    for codes in sequences:
        strands = (codes, reverse_complement_codes(codes)) if both_strands else (codes,)
        words = np.concatenate([_words(strand, k) for strand in strands])
        found.append(np.unique(words, return_counts=True))
    return _entries(found)


def _words(codes: Codes, k: int) -> npt.NDArray[np.int64]:
    """The number of each word without N."""
    if codes.size < k:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, k)
    windows = windows[(windows < NUM_REAL_BASES).all(axis=1)].astype(np.int64)
    return np.asarray(windows @ (NUM_REAL_BASES ** np.arange(k)[::-1]))


def positional_pairs(sequences: Sequence[Codes], length: int) -> SparseEntries:
    """(N, 16 (L - 1)) which two bases stand side by side where, from the start on.

    Args:
        sequences: Base codes; shorter ones have nothing at their missing places.
        length: L; what lies beyond is not seen.
    """
    found = []
    for codes in sequences:
        seen = codes[:length].astype(np.int64)
        one, two = seen[:-1], seen[1:]
        (places,) = np.nonzero((one < NUM_REAL_BASES) & (two < NUM_REAL_BASES))
        pairs = NUM_REAL_BASES * one[places] + two[places]
        found.append((NUM_REAL_BASES**2 * places + pairs, np.ones(places.size)))
    return _entries(found)


def one_hot(sequences: Sequence[Codes]) -> csr_array | None:
    """(N, 4 L) which base stands where; None unless all sequences have the same length."""
    lengths = {codes.size for codes in sequences}
    if len(lengths) != 1:
        return None
    (length,) = lengths
    codes_NL = np.stack(sequences)
    rows_K, places_K = np.nonzero(codes_NL < NUM_REAL_BASES)
    columns_K = places_K * NUM_REAL_BASES + codes_NL[rows_K, places_K]
    ones_K = np.ones(rows_K.size, dtype=np.float32)
    shape = (len(sequences), NUM_REAL_BASES * length)
    return SparseEntries(rows_K, columns_K, ones_K).table(shape)


def _entries(of_rows: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> SparseEntries:
    """From the columns of each row, and what stands in them."""
    nothing = np.empty(0)
    return SparseEntries(
        np.repeat(np.arange(len(of_rows)), [columns.size for columns, _ in of_rows]),
        np.concatenate([nothing, *(columns for columns, _ in of_rows)]).astype(np.int64),
        np.concatenate([nothing, *(values for _, values in of_rows)]).astype(np.float32),
    )
