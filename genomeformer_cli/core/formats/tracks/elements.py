"""Elements of tracks: hits, and spans of scores, 0-based and half-open.

Shape letters: N spans, L bases.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chromosome:
    """Record of a genome and its length."""

    name: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Interval with a class and a score."""

    chrom: str  # Id of the record.
    start: int  # First base, 0-based.
    end: int  # End (exclusive).
    strand: str  # `+`, `-`, or `.`.
    label: str  # Class.
    score: float  # Probability or quantity.


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Ascending intervals of one chromosome that do not overlap, each with a value."""

    chrom: str
    start_N: Integers
    end_N: Integers
    value_N: Floats

    def present(self) -> Spans:
        """Return the spans whose value is finite."""
        keep_N = np.isfinite(self.value_N)
        return Spans(
            chrom=self.chrom,
            start_N=self.start_N[keep_N],
            end_N=self.end_N[keep_N],
            value_N=self.value_N[keep_N],
        )


def binned(chrom: str, value_L: Floats, width: int, *, first: int = 0) -> Spans:
    """Return the mean of the finite values of each bin; a bin without any is absent.

    Bins begin at the multiples of their width; the first and the last may be shorter.

    Args:
        chrom: Id of the record.
        value_L: One value per base.
        width: Bases per bin.
        first: Position of the first value.
    """
    start_N = np.arange(-(first % width), value_L.size, width, dtype=np.int64).clip(0)
    if not value_L.size:
        start_N = start_N[:0]
        return Spans(chrom=chrom, start_N=start_N, end_N=start_N, value_N=np.empty(0))
    is_finite_L = np.isfinite(value_L)
    sum_N = np.add.reduceat(np.where(is_finite_L, value_L, 0.0), start_N)
    count_N = np.add.reduceat(is_finite_L.astype(np.int64), start_N)
    value_N = np.divide(sum_N, count_N, out=np.full(sum_N.size, np.nan), where=count_N > 0)
    end_N = np.append(start_N[1:], value_L.size)
    spans = Spans(chrom=chrom, start_N=start_N + first, end_N=end_N + first, value_N=value_N)
    return spans.present()


def sorted_hits(hits: Iterable[Hit], gap: int | None = None) -> Iterator[Hit]:
    """Yield hits by start, then end; perhaps those of a class and strand merged.

    Memory holds the hits that overlap the present position. A merged hit has the largest score.

    Args:
        hits: Hits, chromosome after chromosome, by ascending start.
        gap: Largest number of bases between hits that are merged, 0 for touching ones; None: merge
            none.
    """
    pending: dict[tuple[str, str], Hit] = {}
    ready: list[tuple[int, int, str, str, int, Hit]] = []
    chrom, number = "", 0
    for hit in hits:
        number += 1
        position = math.inf if hit.chrom != chrom else hit.start
        chrom = hit.chrom
        for key in [key for key, last in pending.items() if last.end + (gap or 0) < position]:
            _push(ready, pending.pop(key), number)
        floor = min([position, *(last.start for last in pending.values())])
        while ready and ready[0][0] < floor:
            yield heapq.heappop(ready)[-1]
        if gap is None:
            _push(ready, hit, number)
            continue
        key = (hit.strand, hit.label)
        last = pending.get(key)
        pending[key] = hit if last is None else _union(last, hit)
    for last in pending.values():
        _push(ready, last, number)
    while ready:
        yield heapq.heappop(ready)[-1]


def _push(ready: list[tuple[int, int, str, str, int, Hit]], hit: Hit, number: int) -> None:
    heapq.heappush(ready, (hit.start, hit.end, hit.strand, hit.label, number, hit))


def _union(last: Hit, hit: Hit) -> Hit:
    return replace(last, end=max(last.end, hit.end), score=max(last.score, hit.score))
