"""What counting knows of a sequence: how often each k-mer occurs in it, or which base is where.

Shape letters: N sequences, W words, L length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import MissingExtraError
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KS = (3, 4, 5, 6)
ONE_HOT = "one-hot"


def need_sklearn() -> None:
    """Make sure that scikit-learn is there.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as failure:
        raise MissingExtraError(
            "probes need scikit-learn, which is not installed",
            hint='`pip install "genomeformer[evaluate]"`',
        ) from failure


def kmer_frequencies(sequences: Sequence[Codes], k: int) -> csr_array:
    """(N, 4^k) shares of each word among the words without N; one strand, as it stands."""
    rows: list[npt.NDArray[np.int64]] = []
    words: list[npt.NDArray[np.int64]] = []
    shares: list[npt.NDArray[np.float32]] = []
    for row, codes in enumerate(sequences):
        if codes.size < k:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(codes, k)
        windows = windows[(windows < NUM_REAL_BASES).all(axis=1)].astype(np.int64)
        unique, counts = np.unique(
            windows @ (NUM_REAL_BASES ** np.arange(k)[::-1]), return_counts=True
        )
        rows.append(np.full(unique.size, row, dtype=np.int64))
        words.append(unique)
        shares.append((counts / max(counts.sum(), 1)).astype(np.float32))
    return _sparse(rows, words, shares, (len(sequences), NUM_REAL_BASES**k))


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
    return _sparse([rows_K], [columns_K], [ones_K], (len(sequences), NUM_REAL_BASES * length))


def _sparse(rows: Any, columns: Any, values: Any, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array

    if not rows:
        return csr_array(shape, dtype=np.float32)
    places = (np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32))
    return csr_array((np.concatenate(values), places), shape=shape)
