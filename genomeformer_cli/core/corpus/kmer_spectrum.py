"""k-mer spectra: how often each word of 1 to 8 bases occurs, counted exactly in one pass.

Only the longest words are counted base by base. A word of k < 8 bases either goes on with a base,
and then begins a word of k + 1, or it ends a stretch of A C G T; so

    count(w) = sum over b of count(wb) + occurrences of w right before an N or the end of a record

One strand is counted, as the records stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.acgt_runs import acgt_runs

LONGEST_WORD = 8
_UNKNOWN = NUM_REAL_BASES
_PIECE = 1 << 18
_NUM_RANKS = 48

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class KmerCount:
    """A word of A C G T and how often it occurs."""

    word: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The words of k bases.

    Attributes:
        k: Bases in a word.
        num_possible: 4^k.
        num_distinct: Different words that occur.
        num_words: Words counted, overlapping ones each.
        bits_per_base: Entropy of the words, divided by k; 2 where all are equally frequent.
        most: The most frequent word.
        least: The least frequent of all 4^k, which may never occur; of equals the first by letters.
        num_canonical: Words that can be when a word and its reverse complement are one.
        ranks: Places among those, the most frequent first, evenly spaced on a logarithmic scale.
        counts: How often the words at these places occur.
    """

    k: int
    num_possible: int
    num_distinct: int
    num_words: int
    bits_per_base: float
    most: KmerCount
    least: KmerCount
    num_canonical: int
    ranks: tuple[int, ...]
    counts: tuple[int, ...]


class KmerCounter:
    """Counts the words of records that arrive in pieces; memory does not grow with them."""

    def __init__(self) -> None:
        self._longest: Counts = np.zeros(NUM_REAL_BASES**LONGEST_WORD, dtype=np.int64)
        self._last: dict[int, Counts] = {
            k: np.zeros(NUM_REAL_BASES**k, dtype=np.int64) for k in range(1, LONGEST_WORD)
        }
        self._waiting: Codes = np.empty(0, dtype=np.uint8)

    def add(self, codes: Codes) -> None:
        """Take the next bases of the open record."""
        for start in range(0, codes.size, _PIECE):
            self._take(codes[start : start + _PIECE])

    def end_record(self) -> None:
        """No word reaches over what comes next."""
        self._take(np.full(LONGEST_WORD - 1, _UNKNOWN, dtype=np.uint8))
        self._waiting = self._waiting[:0]

    def _take(self, codes: Codes) -> None:
        codes = np.concatenate([self._waiting, codes])
        num_starts = max(codes.size - LONGEST_WORD + 1, 0)
        self._waiting = codes[num_starts:].copy()
        if not num_starts:
            return
        words = _words(codes, LONGEST_WORD)
        if codes.max() < _UNKNOWN:
            self._longest += np.bincount(words, minlength=self._longest.size)
            return
        unknown = codes == _UNKNOWN
        broken = np.zeros(num_starts, dtype=np.bool_)
        for place in range(LONGEST_WORD):
            broken |= unknown[place : place + num_starts]
        self._longest += np.bincount(words[~broken], minlength=self._longest.size)
        starts, ends = acgt_runs(codes)
        for k, counts in self._last.items():
            lasts = ends[ends - starts >= k] - k
            # The others wait: their stretch is not known to end, or they are looked at again.
            lasts = lasts[lasts < num_starts]
            # The words of 8 that begin there hold the word of k in their upper bits.
            counts += np.bincount(
                words[lasts] >> np.uint16(2 * (LONGEST_WORD - k)), minlength=counts.size
            )

    def counts(self) -> dict[int, Counts]:
        """How often each word occurs in the records that have ended: k -> 4^k counts, A C G T."""
        counts = {LONGEST_WORD: self._longest.copy()}
        for k in range(LONGEST_WORD - 1, 0, -1):
            longer = counts[k + 1].reshape(-1, NUM_REAL_BASES).sum(axis=1)
            counts[k] = longer + self._last[k]
        return dict(sorted(counts.items()))


def _words(codes: Codes, k: int) -> npt.NDArray[np.uint16]:
    """The number of the word at every place; with an N in it, it means nothing."""
    num_starts = codes.size - k + 1
    two_bits = codes & np.uint8(NUM_REAL_BASES - 1)
    words = np.zeros(num_starts, dtype=np.uint16)
    for place in range(k):
        np.left_shift(words, 2, out=words)
        np.bitwise_or(words, two_bits[place : place + num_starts], out=words)
    return words


def spectrum_of(k: int, counts: Counts) -> Spectrum | None:
    """The spectrum of 4^k counts; None where no word is that long."""
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
        most=KmerCount(word=_spelled(most, k), count=int(counts[most])),
        least=KmerCount(word=_spelled(least, k), count=int(counts[least])),
        num_canonical=canonical.size,
        ranks=tuple(ranks.tolist()),
        counts=tuple(canonical[ranks - 1].tolist()),
    )


def entropy(counts: Counts) -> float:
    """Bits of a draw from these counts: -sum p log2 p."""
    shares = counts[counts > 0] / counts.sum()
    return abs(float(-(shares * np.log2(shares)).sum()))


def _canonical(k: int, counts: Counts) -> Counts:
    """Counts of words taken together with their reverse complements."""
    words = np.arange(counts.size)
    others = np.zeros_like(words)
    for place in range(k):
        others = others << 2 | 3 - (words >> 2 * place & 3)
    both = np.where(words == others, counts, counts + counts[others])
    folded: Counts = both[words <= others]
    return folded


def _spelled(word: int, k: int) -> str:
    return "".join(BASES[word >> 2 * place & 3] for place in range(k - 1, -1, -1))
