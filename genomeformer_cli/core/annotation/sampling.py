"""Windows with their letters, no sequence twice, as many of each class as are wanted.

A window's key is a hash of the seed and of its sequence or the reverse complement of it, whichever
comes first. To sample is to keep the smallest keys: copies share one, the order of genomes decides
only which copy is named, and no more than the sample is ever in memory.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genomeformer_cli.core.annotation.base_labels import taken
from genomeformer_cli.core.annotation.config import Label, WindowRules, WrittenStrand
from genomeformer_cli.core.annotation.reading import AnnotatedRecord
from genomeformer_cli.core.annotation.windows import Candidate, candidates
from genomeformer_cli.core.formats.feature import MINUS, PLUS
from genomeformer_cli.core.sequence import NUM_REAL_BASES, decode_bases, reverse_complement

_KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Window:
    """A window as it is written.

    Attributes:
        genome: Name of its genome.
        record: Id of its record.
        candidate: Place and label.
        strand: Strand that the sequence is read from.
        sequence: Letters A C G T N, 5' to 3' on that strand.
        key: Hash that all copies of the sequence share, on either strand.
    """

    genome: str
    record: str
    candidate: Candidate
    strand: int
    sequence: str
    key: int


def windows_of(record: AnnotatedRecord, rules: WindowRules, genome: str) -> list[Window]:
    """The windows of a record: none with too many N, none twice, none with two labels."""
    by_key: dict[int, Window | None] = {}
    for candidate in candidates(record, rules, genome):
        codes = taken(record.codes, candidate.start, candidate.end)
        if np.count_nonzero(codes == NUM_REAL_BASES) > rules.max_n * codes.size:
            continue
        window = _read(candidate, decode_bases(codes), rules, (genome, record.id))
        before = by_key.setdefault(window.key, window)
        if before is not None and before.candidate.label is not candidate.label:
            by_key[window.key] = None
    return [window for window in by_key.values() if window is not None]


def _read(candidate: Candidate, plus: str, rules: WindowRules, names: tuple[str, str]) -> Window:
    minus = reverse_complement(plus)
    salt = hashlib.sha256(str(rules.seed).encode()).digest()
    digest = hashlib.blake2b(min(plus, minus).encode(), digest_size=_KEY_BYTES, key=salt).digest()
    if rules.strand is WrittenStrand.PLUS:
        strand = PLUS
    else:  # without a strand of its own it gets one by chance, so that the strand tells nothing
        strand = candidate.strand or (PLUS if digest[0] & 1 else MINUS)
    sequence = plus if strand == PLUS else minus
    return Window(*names, candidate, strand, sequence, int.from_bytes(digest, "big"))


class Distinct:
    """Lets every window through whose sequence has not been seen."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def take(self, windows: list[Window]) -> Iterator[Window]:
        """Those of the windows that are new, in their order."""
        for window in windows:
            if window.key not in self._seen:
                self._seen.add(window.key)
                yield window


class Sample:
    """Keeps `size` windows of each class.

    Args:
        size: Windows of a class, of all genomes together.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._heaps: dict[Label, list[tuple[int, int, Window]]] = {}
        self._keys: dict[Label, set[int]] = {}
        self._count = 0

    def take(self, windows: list[Window]) -> Iterator[Window]:
        """Look at the windows; none is given back before the `end`."""
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

    def end(self) -> Iterator[Window]:
        """The sample, in the order in which it was seen; what has two labels is left out."""
        chosen = sorted(item[1:] for heap in self._heaps.values() for item in heap)
        labels: dict[int, set[Label]] = {}
        for _, window in chosen:
            labels.setdefault(window.key, set()).add(window.candidate.label)
        return (window for _, window in chosen if len(labels[window.key]) == 1)
