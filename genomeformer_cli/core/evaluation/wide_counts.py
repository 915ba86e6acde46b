"""Counts of wide contexts, up to 12 bases on each side, looked up for the queries alone.

A table of all contexts of 12 bases on each side would have 4^25 cells. Only contexts of queried
bases are counted here: the training bases are read once, and a hashed filter discards nearly all
other contexts before the exact search (Bloom 1970, "Space/time trade-offs in hash coding with
allowable errors", with one hash function). No context is confused with another.
Shape letters: N queries, U distinct contexts, G groups of training sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.evaluation.masked_queries import Queries
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

_UNKNOWN = NUM_REAL_BASES
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_CELLS_PER_KEY = 32
_FILTER_BITS = (12, 27)
# Beyond this order, even orders only.
_EVERY_ORDER = 8
Numbers = npt.NDArray[np.int64]


class Sides(StrEnum):
    """Side of a base on which its context is counted."""

    BOTH = "both"
    LEFT = "left"

    @property
    def reach(self) -> int:
        """Order of the widest context that is looked up."""
        return 16 if self is Sides.LEFT else 12

    def span(self, order: int) -> int:
        """Return the number of bases of a k-mer: the neighbours and the base itself."""
        return order + 1 if self is Sides.LEFT else 2 * order + 1

    def offsets(self, distance: int) -> tuple[int, ...]:
        """Return the offsets of the neighbours at a distance."""
        return (-distance,) if self is Sides.LEFT else (-distance, distance)


@dataclass(frozen=True, kw_only=True)
class ContextQueries:
    """Queried bases of several sequences, with unknown bases between the sequences."""

    codes: Codes  # Base codes.
    centres_N: Numbers  # Positions of the queried bases.

    @classmethod
    def of_parts(cls, parts: Iterable[tuple[Codes, Numbers]]) -> ContextQueries:
        """Join sequences and the queried positions in each."""
        gap = np.full(Sides.LEFT.reach, _UNKNOWN, dtype=np.uint8)
        codes: list[Codes] = [gap]
        centres: list[Numbers] = [np.empty(0, dtype=np.int64)]
        start = gap.size
        for part, centres_N in parts:
            codes += [part, gap]
            centres.append(centres_N + start)
            start += part.size + gap.size
        return cls(codes=np.concatenate(codes), centres_N=np.concatenate(centres))

    @classmethod
    def of_windows(cls, queries: Queries) -> ContextQueries:
        """Return the single bases that are queried in windows, in the order of their scores."""
        gap = Sides.LEFT.reach
        padded_WL = np.pad(queries.first_codes, ((0, 0), (gap, gap)), constant_values=_UNKNOWN)
        _, windows_N, columns_N = np.nonzero(queries.is_base)
        centres_N = windows_N * padded_WL.shape[1] + columns_N + gap
        return cls(codes=padded_WL.reshape(-1), centres_N=centres_N)


@dataclass(frozen=True)
class _Level:
    """Distinct contexts of one order, and their counts."""

    keys_U: Numbers  # Ascending; the last one is larger than every context.
    index_N: Numbers  # Context of each query; the last one without a complete context.
    counts_GUB: npt.NDArray[np.uint32]
    filter_H: npt.NDArray[np.bool_]

    def add(self, keys: Numbers, bases: Codes, group: int) -> None:
        """Count the bases of those contexts that are queried."""
        may_be_queried = self.filter_H[_hashes(keys, self.filter_H.size)]
        keys, bases = keys[may_be_queried], bases[may_be_queried]
        index = np.searchsorted(self.keys_U, keys)
        is_queried = self.keys_U[index] == keys
        cells = index[is_queried] * NUM_REAL_BASES + bases[is_queried]
        np.add.at(self.counts_GUB[group].reshape(-1), cells, np.uint32(1))


class WideContexts:
    """Counter of the contexts of queries, on both strands, per group of training sequences.

    Args:
        queries: Queried bases.
        sides: Side of the neighbours.
        first_order: Narrowest order that is counted.
        num_groups: G.
    """

    def __init__(
        self, queries: ContextQueries, sides: Sides, first_order: int, num_groups: int = 1
    ) -> None:
        self.sides = sides
        self._levels: dict[int, _Level] = {}
        centres_N = queries.centres_N
        for order, keys_L, is_whole_L in _contexts(queries.codes, sides, reverse=False):
            if order < first_order or (order > _EVERY_ORDER and order % 2):
                continue
            keys_N = np.where(is_whole_L[centres_N], keys_L[centres_N], np.iinfo(np.int64).max)
            keys_U = np.unique(np.append(keys_N, np.iinfo(np.int64).max))
            low, high = _FILTER_BITS
            bits = int(np.clip(np.ceil(np.log2(_CELLS_PER_KEY * keys_U.size)), low, high))
            filter_H = np.zeros(1 << bits, dtype=np.bool_)
            filter_H[_hashes(keys_U, filter_H.size)] = True
            counts = np.zeros((num_groups, keys_U.size, NUM_REAL_BASES), dtype=np.uint32)
            self._levels[order] = _Level(keys_U, np.searchsorted(keys_U, keys_N), counts, filter_H)

    def add(self, codes: Codes, group: int = 0, *, num_starts: int | None = None) -> None:
        """Count the contexts of a training sequence.

        Args:
            codes: Base codes.
            group: Group of the sequence.
            num_starts: Count only contexts that begin before this position; None: all.
        """
        limit = codes.size if num_starts is None else num_starts
        for reverse in (False, True):
            bases = 3 - codes if reverse else codes
            for order, keys_L, is_whole_L in _contexts(codes, self.sides, reverse=reverse):
                if order not in self._levels:
                    continue
                reach = 0 if reverse and self.sides is Sides.LEFT else order
                selected = np.flatnonzero(is_whole_L[: limit + reach])
                self._levels[order].add(keys_L[selected], bases[selected], group)

    def counts(self, group: int | None = None) -> Iterator[tuple[int, npt.NDArray[np.uint32]]]:
        """Yield every order and the counts of the bases in the context of each query, (N, 4).

        Args:
            group: Group of training sequences; None: all.
        """
        for order, level in self._levels.items():
            counts_GUB = level.counts_GUB
            of_group = (
                counts_GUB.sum(axis=0, dtype=np.uint32) if group is None else counts_GUB[group]
            )
            yield order, of_group[level.index_N]


def _hashes(keys: Numbers, size: int) -> npt.NDArray[np.uint64]:
    """Return a number below `size`, a power of two, for every key."""
    shift = np.uint64(64 - (size.bit_length() - 1))
    return (keys.astype(np.uint64) * _MULTIPLIER) >> shift


def _contexts(
    codes: Codes, sides: Sides, *, reverse: bool
) -> Iterator[tuple[int, Numbers, npt.NDArray[np.bool_]]]:
    """Yield for order 0, 1, ... the context of every base, and True where it has no N.

    The nearest neighbours are the highest digits of a context's number.

    Args:
        codes: Base codes.
        sides: Side of the neighbours.
        reverse: Read the contexts on the reverse strand; positions remain those of `codes`.
    """
    reach, size = sides.reach, codes.size
    gap = np.full(reach, _UNKNOWN, dtype=np.uint8)
    padded = np.concatenate((gap, codes, gap))
    is_known = padded < NUM_REAL_BASES
    letters = np.where(is_known, 3 - padded if reverse else padded, 0).astype(np.int64)
    keys_L = np.zeros(size, dtype=np.int64)
    is_whole_L = is_known[reach : reach + size].copy()
    for order in range(reach + 1):
        for offset in sides.offsets(order) if order else ():
            first = reach + (-offset if reverse else offset)
            keys_L = keys_L * NUM_REAL_BASES + letters[first : first + size]
            is_whole_L &= is_known[first : first + size]
        yield order, keys_L, is_whole_L
