"""Marks on the bases of a record: one array per question, around the origin of circles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from genomeformer_cli.core.formats.feature import PLUS, Feature, Kind
from genomeformer_cli.core.sequence import Codes, Flags

Marks = TypeVar("Marks", Codes, Flags)

_ALL_FRAMES = 0b111111
_ONE_FRAME = np.array([bits.bit_count() == 1 for bits in range(64)], dtype=np.bool_)


def pieces(start: int, end: int, length: int, *, circular: bool) -> Iterator[tuple[int, int]]:
    """Yield the pieces of an interval on its record: cut off, or led on around a circle."""
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


def marked(intervals: Iterable[tuple[int, int]], length: int, *, circular: bool) -> Flags:
    """True for every base of any interval."""
    flags = np.zeros(length, dtype=np.bool_)
    for start, end in intervals:
        for low, high in pieces(start, end, length, circular=circular):
            flags[low:high] = True
    return flags


def spans(features: Iterable[Feature]) -> Iterator[tuple[int, int]]:
    """Yield the interval of each feature, introns included; of one on both strands, its parts.

    A feature that is not understood takes up all that lies between its outermost bases.
    """
    for feature in features:
        if feature.unclear or len({part.strand for part in feature.parts}) == 1:
            yield feature.start, feature.end
        else:
            yield from ((part.start, part.end) for part in feature.parts)


def single_frame(features: Iterable[Feature], length: int) -> Flags:
    """True where all coding sequences agree on strand and codon position, and there is one.

    Each base collects a bit for every strand (2) and codon position (3) that a CDS gives it; a CDS
    that has no strand or phase, or is not understood, sets all of them.
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
                chosen = order[(part.phase + codon_position) % 3 :: 3]
                frames[chosen] |= np.uint8(1 << (codon_position + shift))
    return _ONE_FRAME[frames]


def stretches(flags: Flags, *, circular: bool) -> list[tuple[int, int]]:
    """Runs of True, ascending; on a circle the one across the origin is one, and comes last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).view(np.int8)))
    runs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    if circular and len(runs) > 1 and runs[0][0] == 0 and runs[-1][1] == flags.size:
        runs[-1] = (runs[-1][0], flags.size + runs.pop(0)[1])
    return runs


def taken(array: Marks, start: int, end: int) -> Marks:
    """A stretch of an array; what goes past the end of it, on a circle, is led on."""
    start, end = start % array.size, start % array.size + end - start
    if end <= array.size:
        return array[start:end]
    return np.concatenate((array[start:], array[: end - array.size]))
