"""Near-duplicate genomes: FracMinHash over canonical 31-mers, about 1 in 1,024 kept.

A k-mer is kept based on its content alone, so two sequences keep the same of their shared k-mers,
on either strand. Selection has two stages: the middle 7-mer is one of 1/32 of all (a cheap table
lookup), and the hash is below 2^64 / 32. Eight bytes per kept k-mer: 8 kB per megabase. The
containment of n kept k-mers has a standard error of sqrt(c (1 - c) / n), at most 0.016 per
megabase. Sequences that differ in a fraction d of their bases share (1 - d)^31 of their 31-mers:
half at 97.8 % identity. Sequences with fewer than 16 kept k-mers (about 16 kb) are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

K = 31
SCALE = 1024
_MIN_HASHES = 16
_MIDDLE = 7
_FIRST_PASS = 32
_LIMIT = np.uint64(2**64 // (SCALE // _FIRST_PASS))

Hashes = npt.NDArray[np.uint64]


def _mix(values: Hashes) -> Hashes:
    """Apply the SplitMix64 finaliser."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _reverse_complements(kmers: Hashes, k: int) -> Hashes:
    flipped = np.zeros_like(kmers)
    remaining = kmers.copy()
    for _ in range(k):
        flipped = (flipped << np.uint64(2)) | (np.uint64(3) - (remaining & np.uint64(3)))
        remaining >>= np.uint64(2)
    return flipped


def _select_middles() -> npt.NDArray[np.bool_]:
    kmers = np.arange(4**_MIDDLE, dtype=np.uint64)
    canonical = np.minimum(kmers, _reverse_complements(kmers, _MIDDLE))
    return _mix(canonical + np.uint64(1)) < np.uint64(2**64 // _FIRST_PASS)


_IS_SELECTED = _select_middles()


def minhash_codes(codes: Codes) -> Hashes:
    """Return the kept hashes of all 31-mers without N, by position, with repeats."""
    num_kmers = codes.size - K + 1
    if num_kmers <= 0:
        return np.empty(0, dtype=np.uint64)
    side = (K - _MIDDLE) // 2
    wide = (codes & np.uint8(3)).astype(np.uint16)
    middles = np.zeros(num_kmers, dtype=np.uint16)
    for offset in range(side, side + _MIDDLE):
        middles <<= np.uint16(2)
        middles |= wide[offset : offset + num_kmers]
    starts = np.flatnonzero(_IS_SELECTED[middles])
    kmers = np.zeros(starts.size, dtype=np.uint64)
    is_known = np.ones(starts.size, dtype=np.bool_)
    for offset in range(K):
        bases = codes[starts + offset]
        is_known &= bases < NUM_REAL_BASES
        kmers = (kmers << np.uint64(2)) | (bases & np.uint8(3)).astype(np.uint64)
    kmers = kmers[is_known]
    hashes = _mix(np.minimum(kmers, _reverse_complements(kmers, K)))
    selected: Hashes = hashes[hashes < _LIMIT]
    return selected


class MinHasher:
    """Sketch of one record that arrives in blocks."""

    def __init__(self) -> None:
        self._sketches: list[Hashes] = []
        self._last: Codes = np.empty(0, dtype=np.uint8)

    def add(self, codes: Codes) -> None:
        """Add the next bases of the record."""
        extended = np.concatenate([self._last, codes]) if self._last.size else codes
        self._sketches.append(minhash_codes(extended))
        self._last = extended[max(extended.size - K + 1, 0) :].copy()

    def finish(self) -> Hashes:
        """Return the distinct kept hashes of the record, sorted, and reset."""
        hashes = (
            np.unique(np.concatenate(self._sketches))
            if self._sketches
            else minhash_codes(self._last)
        )
        self._sketches, self._last = [], self._last[:0]
        return hashes


def shared_fractions(units: Mapping[str, Hashes], training: Iterable[Hashes]) -> dict[str, float]:
    """Return the fraction of each unit's hashes that occurs in training; small units are omitted.

    Args:
        units: Distinct hashes of held-out units by name; only these are held in memory.
        training: Hashes of the training data, in blocks.
    """
    names = [name for name, hashes in units.items() if hashes.size >= _MIN_HASHES]
    if not names:
        return {}
    hashes_of_units = np.unique(np.concatenate([units[name] for name in names]))
    is_shared = np.zeros(hashes_of_units.size, dtype=np.bool_)
    for hashes in training:
        indices = np.minimum(np.searchsorted(hashes_of_units, hashes), hashes_of_units.size - 1)
        is_shared[indices[hashes_of_units[indices] == hashes]] = True
    return {
        name: float(is_shared[np.searchsorted(hashes_of_units, units[name])].mean())
        for name in names
    }
