"""Which genomes are nearly the same: FracMinHash over canonical 31-mers, about one in 1,024 kept.

A k-mer is kept by its own content alone, so two sequences keep the same of what they share, on
either strand. It must pass twice: its middle 7-mer is one of 1/32 of all (cheap, by table), and its
hash is below 2^64 / 32. Eight bytes a kept k-mer: 8 kB a megabase. The containment of n kept k-mers
has a standard error of sqrt(c (1 - c) / n): at most 0.016 a megabase. Sequences that differ in a
part d of their bases share (1 - d)^31 of their 31-mers: half at 97.8 % identity.
What keeps fewer than 16 k-mers (about 16 kb) is too small to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

K = 31
SCALE = 1024
FEWEST = 16
_MIDDLE = 7
_FIRST_PASS = 32
_LIMIT = np.uint64(2**64 // (SCALE // _FIRST_PASS))

Hashes = npt.NDArray[np.uint64]


def _mix(values: Hashes) -> Hashes:
    """SplitMix64's finisher: every input bit moves every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _reverse_complements(kmers: Hashes, k: int) -> Hashes:
    flipped = np.zeros_like(kmers)
    rest = kmers.copy()
    for _ in range(k):
        flipped = (flipped << np.uint64(2)) | (np.uint64(3) - (rest & np.uint64(3)))
        rest >>= np.uint64(2)
    return flipped


def _chosen_middles() -> npt.NDArray[np.bool_]:
    kmers = np.arange(4**_MIDDLE, dtype=np.uint64)
    canonical = np.minimum(kmers, _reverse_complements(kmers, _MIDDLE))
    return _mix(canonical + np.uint64(1)) < np.uint64(2**64 // _FIRST_PASS)


_CHOSEN = _chosen_middles()


def minhash_codes(codes: Codes) -> Hashes:
    """Kept hashes of all 31-mers without N, in order of position, repeats and all."""
    num_kmers = codes.size - K + 1
    if num_kmers <= 0:
        return np.empty(0, dtype=np.uint64)
    side = (K - _MIDDLE) // 2
    wide = (codes & np.uint8(3)).astype(np.uint16)
    middles = np.zeros(num_kmers, dtype=np.uint16)
    for offset in range(side, side + _MIDDLE):
        middles <<= np.uint16(2)
        middles |= wide[offset : offset + num_kmers]
    starts = np.flatnonzero(_CHOSEN[middles])
    kmers = np.zeros(starts.size, dtype=np.uint64)
    known = np.ones(starts.size, dtype=np.bool_)
    for offset in range(K):
        bases = codes[starts + offset]
        known &= bases < NUM_REAL_BASES
        kmers = (kmers << np.uint64(2)) | (bases & np.uint8(3)).astype(np.uint64)
    kmers = kmers[known]
    hashes = _mix(np.minimum(kmers, _reverse_complements(kmers, K)))
    kept: Hashes = hashes[hashes < _LIMIT]
    return kept


class MinHasher:
    """Sketches one record that comes in pieces."""

    def __init__(self) -> None:
        self._kept: list[Hashes] = []
        self._last: Codes = np.empty(0, dtype=np.uint8)

    def add(self, codes: Codes) -> None:
        """Take the record's next bases."""
        joined = np.concatenate([self._last, codes]) if self._last.size else codes
        self._kept.append(minhash_codes(joined))
        self._last = joined[max(joined.size - K + 1, 0) :].copy()

    def finish(self) -> Hashes:
        """The record's distinct kept hashes, sorted; ready for the next record."""
        hashes = np.unique(np.concatenate(self._kept)) if self._kept else minhash_codes(self._last)
        self._kept, self._last = [], self._last[:0]
        return hashes


def shared_fractions(units: Mapping[str, Hashes], training: Iterable[Hashes]) -> dict[str, float]:
    """Part of each unit's hashes that occurs in training; units too small to say are left out.

    Args:
        units: Distinct hashes by name of what is held out; only these are held in memory.
        training: Hashes of what is trained on, one piece at a time.
    """
    names = [name for name, hashes in units.items() if hashes.size >= FEWEST]
    if not names:
        return {}
    wanted = np.unique(np.concatenate([units[name] for name in names]))
    found = np.zeros(wanted.size, dtype=np.bool_)
    for hashes in training:
        places = np.minimum(np.searchsorted(wanted, hashes), wanted.size - 1)
        found[places[wanted[places] == hashes]] = True
    return {name: float(found[np.searchsorted(wanted, units[name])].mean()) for name in names}
