"""k-mer spectra: exact counts of all k-mers, k = 1 to 8, in one pass.

Only 8-mers are counted base by base. Every k-mer with k < 8 is either the prefix of a (k+1)-mer or
the end of an A C G T run, hence

    count(w) = sum over b of count(wb) + occurrences of w before an N or the end of a record

Only the forward strand is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.acgt_runs import acgt_runs

MAX_K = 8
_UNKNOWN = NUM_REAL_BASES
_BLOCK = 1 << 18
_NUM_RANKS = 48

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class KmerCount:
    """k-mer and its count."""

    word: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Spectrum of k-mers."""

    k: int  # Length of the k-mers.
    num_possible: int  # 4^k.
    num_distinct: int  # Number of distinct k-mers that occur.
    num_words: int  # Number of k-mers counted, overlapping.
    bits_per_base: float  # Entropy of the k-mers divided by k; 2 for a uniform distribution.
    most: KmerCount  # Most frequent k-mer.
    least: KmerCount  # Least frequent of all 4^k, possibly absent; ties resolved alphabetically.
    num_canonical: int  # Number of canonical k-mers (k-mer and reverse complement combined).
    ranks: tuple[int, ...]  # Ranks of canonical k-mers by frequency, spaced logarithmically.
    counts: tuple[int, ...]  # Counts of the k-mers at these ranks.


class KmerCounter:
    """Count k-mers of records that arrive in blocks, in constant memory."""

    def __init__(self) -> None:
        self._longest: Counts = np.zeros(NUM_REAL_BASES**MAX_K, dtype=np.int64)
        self._last: dict[int, Counts] = {
            k: np.zeros(NUM_REAL_BASES**k, dtype=np.int64) for k in range(1, MAX_K)
        }
        self._buffer: Codes = np.empty(0, dtype=np.uint8)

    def add(self, codes: Codes) -> None:
        """Add the next bases of the open record."""
        for start in range(0, codes.size, _BLOCK):
            self._take(codes[start : start + _BLOCK])

    def end_record(self) -> None:
        """End the record; no k-mer crosses its end."""
        self._take(np.full(MAX_K - 1, _UNKNOWN, dtype=np.uint8))
        self._buffer = self._buffer[:0]

    def _take(self, codes: Codes) -> None:
        codes = np.concatenate([self._buffer, codes])
        num_starts = max(codes.size - MAX_K + 1, 0)
        self._buffer = codes[num_starts:].copy()
        if not num_starts:
            return
        kmers = _kmer_indices(codes, MAX_K)
        if codes.max() < _UNKNOWN:
            self._longest += np.bincount(kmers, minlength=self._longest.size)
            return
        unknown = codes == _UNKNOWN
        has_unknown = np.zeros(num_starts, dtype=np.bool_)
        for offset in range(MAX_K):
            has_unknown |= unknown[offset : offset + num_starts]
        self._longest += np.bincount(kmers[~has_unknown], minlength=self._longest.size)
        starts, ends = acgt_runs(codes)
        for k, counts in self._last.items():
            last_starts = ends[ends - starts >= k] - k
            # Later starts are counted with the next block, when the end of their run is known.
            last_starts = last_starts[last_starts < num_starts]
            # The upper bits of the 8-mer at a position are the k-mer at that position.
            counts += np.bincount(
                kmers[last_starts] >> np.uint16(2 * (MAX_K - k)), minlength=counts.size
            )

    def counts(self) -> dict[int, Counts]:
        """Return the counts over all ended records: k -> 4^k counts, A C G T."""
        counts = {MAX_K: self._longest.copy()}
        for k in range(MAX_K - 1, 0, -1):
            longer = counts[k + 1].reshape(-1, NUM_REAL_BASES).sum(axis=1)
            counts[k] = longer + self._last[k]
        return dict(sorted(counts.items()))


def _kmer_indices(codes: Codes, k: int) -> npt.NDArray[np.uint16]:
    """Return the index of the k-mer at every position; undefined for k-mers with an N."""
    num_starts = codes.size - k + 1
    two_bits = codes & np.uint8(NUM_REAL_BASES - 1)
    kmers = np.zeros(num_starts, dtype=np.uint16)
    for offset in range(k):
        np.left_shift(kmers, 2, out=kmers)
        np.bitwise_or(kmers, two_bits[offset : offset + num_starts], out=kmers)
    return kmers


def spectrum_of(k: int, counts: Counts) -> Spectrum | None:
    """Compute the spectrum of 4^k counts; None if all are zero."""
    num_words = int(counts.sum())
    if not num_words:
        return None
    most, least = int(counts.argmax()), int(counts.argmin())
    canonical = np.sort(_canonical(k, counts))[::-1]
    ranks = np.unique(np.geomspace(1, canonical.size, _NUM_RANKS).round().astype(np.int64))
    return Spectrum(
        k=k,
        num_possible=counts.size,
        num_distinct=int(np.count_nonzero(counts)),
        num_words=num_words,
        bits_per_base=entropy(counts) / k,
        most=KmerCount(word=_decode_kmer(most, k), count=int(counts[most])),
        least=KmerCount(word=_decode_kmer(least, k), count=int(counts[least])),
        num_canonical=canonical.size,
        ranks=tuple(ranks.tolist()),
        counts=tuple(canonical[ranks - 1].tolist()),
    )


def entropy(counts: Counts) -> float:
    """Return the entropy of the distribution in bits: -sum p log2 p."""
    shares = counts[counts > 0] / counts.sum()
    return abs(float(-(shares * np.log2(shares)).sum()))


def _canonical(k: int, counts: Counts) -> Counts:
    """Sum the counts of each k-mer and its reverse complement."""
    kmers = np.arange(counts.size)
    complements = np.zeros_like(kmers)
    for offset in range(k):
        complements = complements << 2 | 3 - (kmers >> 2 * offset & 3)
    sums = np.where(kmers == complements, counts, counts + counts[complements])
    canonical: Counts = sums[kmers <= complements]
    return canonical


def _decode_kmer(kmer: int, k: int) -> str:
    return "".join(BASES[kmer >> 2 * offset & 3] for offset in range(k - 1, -1, -1))
