"""Region of a genome: the coordinates that every output of a command has.

Coordinates are 0-based and half-open, as in BED, on the strand of the FASTA file. A region across
the origin of a circular record ends past the record's length. The extent of a spliced region
includes its introns; its sequence does not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

COLUMNS = ("chrom", "start", "end", "strand", "feature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Interval of a record, with strand."""

    chrom: str  # Id of the record.
    start: int  # First base, 0-based.
    end: int  # End (exclusive).
    strand: str = "."  # `+`, `-`, or `.` if unknown or mixed; `.` is read as `+`.
    feature: str = ""  # Type of the feature, `tile`, or `ref` and `alt` of a variant; or empty.

    @property
    def place(self) -> str:
        """Record and extent, as in `chr1:100-200`."""
        return f"{self.chrom}:{self.start}-{self.end}"

    @property
    def cells(self) -> tuple[str, ...]:
        """Coordinates as text, in the order of `COLUMNS`."""
        return self.chrom, str(self.start), str(self.end), self.strand, self.feature


@dataclass(frozen=True, kw_only=True)
class RegionColumns:
    """Regions of many sequences as columns; a repeated word is stored once."""

    chrom: WordColumn
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    strand: WordColumn
    feature: WordColumn

    def items(self) -> list[tuple[str, Any]]:
        """Return the columns by name, in the order of tables."""
        return [(name, getattr(self, name)) for name in COLUMNS]

    def take(self, index: npt.NDArray[np.int64]) -> RegionColumns:
        """Return the columns of the selected rows."""
        return RegionColumns(
            chrom=self.chrom.take(index),
            start=self.start[index],
            end=self.end[index],
            strand=self.strand.take(index),
            feature=self.feature.take(index),
        )

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Yield the cells of every row as text."""
        chrom, strand, feature = (
            column.values() for column in (self.chrom, self.strand, self.feature)
        )
        low, high = self.start.tolist(), self.end.tolist()
        return zip(chrom, map(str, low), map(str, high), strand, feature, strict=True)


@dataclass(frozen=True)
class WordColumn:
    """Column of words, as codes into its distinct words."""

    words: tuple[str, ...]
    codes: npt.NDArray[np.int32]

    def values(self) -> list[str]:
        """Return the word of every row."""
        return [self.words[code] for code in self.codes.tolist()]

    def take(self, index: npt.NDArray[np.int64]) -> WordColumn:
        """Return the selected rows."""
        return WordColumn(self.words, self.codes[index])


def region_columns(regions: Iterable[Region]) -> RegionColumns:
    """Collect regions as columns, without keeping them."""
    words: dict[str, dict[str, int]] = {"chrom": {}, "strand": {}, "feature": {}}
    codes = {name: array("i") for name in words}
    start, end = array("q"), array("q")
    for region in regions:
        for name, index in words.items():
            codes[name].append(index.setdefault(getattr(region, name), len(index)))
        start.append(region.start)
        end.append(region.end)
    columns = {
        name: WordColumn(tuple(index), np.array(codes[name], dtype=np.int32))
        for name, index in words.items()
    }
    return RegionColumns(
        **columns, start=np.array(start, dtype=np.int64), end=np.array(end, dtype=np.int64)
    )


def join_columns(parts: Sequence[RegionColumns]) -> RegionColumns:
    """Return the rows of several columns, one after the other."""
    return region_columns(
        Region(chrom=chrom, start=int(start), end=int(end), strand=strand, feature=feature)
        for part in parts
        for chrom, start, end, strand, feature in part.rows()
    )
