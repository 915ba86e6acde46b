"""Distinct windows with their sequences, optionally a sample of each class.

The key of a window is a hash of the seed and of the smaller of its sequence and reverse complement.
Sampling keeps the smallest keys: copies share a key, the order of genomes affects only the copy
that is named, and memory is bounded by the sample.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.annotation.base_labels import circular_slice
from genomeformer_cli.core.annotation.config import Label, WindowRules, WrittenStrand
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.annotation.windows import Candidate, candidates
from genomeformer_cli.core.formats.feature import MINUS, PLUS
from genomeformer_cli.core.sequence import NUM_REAL_BASES, decode_bases, reverse_complement

_KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Window:
    """Window with its sequence."""

    genome: str  # Name of the genome.
    record: str  # Id of the record.
    candidate: Candidate  # Position and label.
    strand: int  # Strand of the sequence.
    sequence: str  # Letters A C G T N, 5' to 3' on that strand.
    key: int  # Hash shared by all copies of the sequence, on either strand.


def windows_of(record: AnnotatedRecord, rules: WindowRules, genome: str) -> list[Window]:
    """Return the windows of a record, without duplicates, ambiguous labels and too many N."""
    by_key: dict[int, Window | None] = {}
    for candidate in candidates(record, rules, genome):
        codes = circular_slice(record.codes, candidate.start, candidate.end)
        if np.count_nonzero(codes == NUM_REAL_BASES) > rules.max_n * codes.size:
            continue
        window = _read(candidate, decode_bases(codes), rules, (genome, record.id))
        previous = by_key.setdefault(window.key, window)
        if previous is not None and previous.candidate.label is not candidate.label:
            by_key[window.key] = None
    return [window for window in by_key.values() if window is not None]


def _read(candidate: Candidate, plus: str, rules: WindowRules, names: tuple[str, str]) -> Window:
    minus = reverse_complement(plus)
    salt = hashlib.sha256(str(rules.seed).encode()).digest()
    digest = hashlib.blake2b(min(plus, minus).encode(), digest_size=_KEY_BYTES, key=salt).digest()
    if rules.strand is WrittenStrand.PLUS:
        strand = PLUS
    else:  # a random strand, so that the strand carries no information on the class
        strand = candidate.strand or (PLUS if digest[0] & 1 else MINUS)
    sequence = plus if strand == PLUS else minus
    return Window(*names, candidate, strand, sequence, int.from_bytes(digest, "big"))


class Distinct:
    """Filter of windows with a new sequence."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def take(self, windows: list[Window]) -> Iterator[Window]:
        """Yield the windows with a new sequence, in order."""
        for window in windows:
            if window.key not in self._hashes:
                self._hashes.add(window.key)
                yield window


class Sample:
    """Sample of `size` windows per class.

    Args:
        size: Number of windows per class, over all genomes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._heaps: dict[Label, list[tuple[int, int, Window]]] = {}
        self._keys: dict[Label, set[int]] = {}
        self._count = 0

    def take(self, windows: list[Window]) -> Iterator[Window]:
        """Add windows to the sample; none is yielded before `finish`."""
        for window in windows:
            label = window.candidate.label
            heap = self._heaps.setdefault(label, [])
            keys = self._keys.setdefault(label, set())
            if window.key in keys:
                continue
            self._count += 1
            item = (-window.key, self._count, window)
            if len(heap) < self._size:
                heapq.heappush(heap, item)
            elif item[0] > heap[0][0]:
                keys.discard(heapq.heapreplace(heap, item)[2].key)
            else:
                continue
            keys.add(window.key)
        yield from ()

    def finish(self) -> Iterator[Window]:
        """Yield the sample in reading order, without sequences of two labels."""
        selected = sorted(item[1:] for heap in self._heaps.values() for item in heap)
        labels: dict[int, set[Label]] = {}
        for _, window in selected:
            labels.setdefault(window.key, set()).add(window.candidate.label)
        return (window for _, window in selected if len(labels[window.key]) == 1)
