"""Labels of the bases of a record: one array per property, wrapped for circular records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from genomeformer_cli.core.formats.feature import PLUS, Feature, Kind
from genomeformer_cli.core.sequence import Codes, Flags

Marks = TypeVar("Marks", Codes, Flags)

_ALL_FRAMES = 0b111111
_ONE_FRAME = np.array([bits.bit_count() == 1 for bits in range(64)], dtype=np.bool_)


def split_interval(
    start: int, end: int, length: int, *, circular: bool
) -> Iterator[tuple[int, int]]:
    """Yield the parts of an interval on its record: clipped, or wrapped around a circle."""
    if not circular:
        if max(start, 0) < min(end, length):
            yield max(start, 0), min(end, length)
        return
    if end - start >= length:
        yield 0, length
        return
    low, high = start % length, start % length + end - start
    if low < high:
        yield low, min(high, length)
    if high > length:
        yield 0, high - length


def mark_intervals(intervals: Iterable[tuple[int, int]], length: int, *, circular: bool) -> Flags:
    """Return True for every base in any interval."""
    flags = np.zeros(length, dtype=np.bool_)
    for start, end in intervals:
        for low, high in split_interval(start, end, length, circular=circular):
            flags[low:high] = True
    return flags


def feature_intervals(features: Iterable[Feature]) -> Iterator[tuple[int, int]]:
    """Yield the interval of each feature with its introns, or its parts if it is on both strands.

    A feature with an unclear location covers everything between its outermost bases.
    """
    for feature in features:
        if feature.unclear or len({part.strand for part in feature.parts}) == 1:
            yield feature.start, feature.end
        else:
            yield from ((part.start, part.end) for part in feature.parts)


def single_frame(features: Iterable[Feature], length: int) -> Flags:
    """Return True where all coding sequences agree on strand and codon position.

    Each base collects one bit per strand (2) and codon position (3) of every CDS; a CDS without
    strand or phase, or with an unclear location, sets all bits.
    """
    frames = np.zeros(length, dtype=np.uint8)
    for feature in features:
        if feature.kind is not Kind.CDS or feature.pseudo:
            continue
        for part in feature.parts:
            positions = np.arange(part.start, part.end) % length
            if part.phase is None or not part.strand or feature.unclear:
                frames[positions] |= np.uint8(_ALL_FRAMES)
                continue
            shift = 0 if part.strand == PLUS else 3
            order = positions if part.strand == PLUS else positions[::-1]
            for codon_position in range(3):
                indices = order[(part.phase + codon_position) % 3 :: 3]
                frames[indices] |= np.uint8(1 << (codon_position + shift))
    return _ONE_FRAME[frames]


def true_runs(flags: Flags, *, circular: bool) -> list[tuple[int, int]]:
    """Return the runs of True in ascending order; a run across the origin of a circle is last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).view(np.int8)))
    runs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    if circular and len(runs) > 1 and runs[0][0] == 0 and runs[-1][1] == flags.size:
        runs[-1] = (runs[-1][0], flags.size + runs.pop(0)[1])
    return runs


def circular_slice(array: Marks, start: int, end: int) -> Marks:
    """Return a slice of an array; a slice past its end continues at its start."""
    start, end = start % array.size, start % array.size + end - start
    if end <= array.size:
        return array[start:end]
    return np.concatenate((array[start:], array[: end - array.size]))
