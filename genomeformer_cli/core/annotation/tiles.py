"""Tiles: windows of one width along every record, with coordinates.

The first tile begins at the first base, each next one `step` bases later. Tail: if the steps leave
bases behind the last tile, one more tile ends at the record's end, so that all tiles of a record
have the same width and every base is in one; a record shorter than the width is one shorter tile.
N: a tile without any base is left out and counted, and so is one with more than `max_n` of N. A
record is read from its first to its last base; a tile does not cross the origin of a circle. With
both strands, each tile is followed by its reverse complement. With a context, every tile names the
stretch of the record in which it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query, TileContext
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, reverse_complement_codes

TILE = "tile"


@dataclass(frozen=True, kw_only=True)
class TileRules:
    """Width and distance of tiles."""

    width: int  # Bases of a tile.
    step: int | None = None  # Bases between the starts of tiles; None: the width.
    both_strands: bool = False  # Read each tile on both strands.
    max_n: float = 1.0  # Largest share of N in a tile; a tile of N alone is always left out.
    context: int | None = None  # Bases that are read at once, see `contexts`; None: the tile.

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            UsageError: A number is out of range.
        """
        if self.width < 1:
            raise UsageError(f"invalid `--tile {self.width}`", hint="give at least 1 base")
        if self.step is not None and not 1 <= self.step <= self.width:
            raise UsageError(
                f"`--step {self.step}` with tiles of {self.width} bases",
                hint="give 1 to the width, so that no base is skipped",
            )
        if not 0 <= self.max_n <= 1:
            raise UsageError(f"invalid share of N: {self.max_n:g}", hint="give 0 to 1")
        if self.context is not None and self.context < 2 * self.width:
            raise UsageError(
                f"invalid `regions.context={self.context}` of tiles of {self.width} bases",
                hint=f"give at least twice the width: {2 * self.width}",
            )

    def starts(self, length: int) -> Iterator[int]:
        """Yield the first base of each tile of a record, in ascending order."""
        if not length:
            return
        last = max(length - self.width, 0)
        yield from range(0, last, self.step or self.width)
        yield last

    def contexts(self, length: int) -> npt.NDArray[np.int64]:
        """Return the first base of each stretch of `context` bases along a record.

        Neighbours overlap by the width of a tile and a 16th of the stretch, so that every tile away
        from the ends of the record is in a stretch with at least a 32nd of it on either side.
        """
        assert self.context is not None
        last = max(length - self.context, 0)
        stride = self.context - self.width - self.context // 16
        return np.append(np.arange(0, last, stride), last)


@dataclass(slots=True)
class TileCount:
    """Counts of tiles: used, and left out for their N."""

    used: int = 0
    left_out: int = 0


def tile_queries(record: Query, rules: TileRules, count: TileCount) -> Iterator[Query]:
    """Yield the tiles of a record.

    Args:
        record: Record with its sequence.
        rules: Width and distance of tiles.
        count: Receives the number of tiles used and left out.
    """
    contexts = _Contexts(record.codes, rules) if rules.context is not None else None
    for start in rules.starts(record.codes.size):
        codes = record.codes[start : start + rules.width]
        num_n = int(np.count_nonzero(codes >= NUM_REAL_BASES))
        if num_n == codes.size or num_n > rules.max_n * codes.size:
            count.left_out += 1
            continue
        count.used += 1
        end = start + codes.size
        name = f"{record.id}:{start}-{end}"
        for strand in "+-" if rules.both_strands else "+":
            # A copy, so that the record can be released.
            bases = codes.copy() if strand == "+" else reverse_complement_codes(codes)
            identifier = f"{name}:{strand}" if rules.both_strands else name
            region = Region(chrom=record.id, start=start, end=end, strand=strand, feature=TILE)
            context = None if contexts is None else contexts.of_tile(start, end, strand)
            yield Query(identifier, bases, "", region, record.genome, context)


class _Contexts:
    """Stretches of a record in which its tiles are read."""

    def __init__(self, codes: Codes, rules: TileRules) -> None:
        assert rules.context is not None
        self._codes = codes
        self._size = min(rules.context, codes.size)
        self._first_S = rules.contexts(codes.size)
        self._number = -1
        self._strands: dict[str, Codes] = {}

    def of_tile(self, start: int, end: int, strand: str) -> TileContext:
        """Return the stretch whose centre is nearest to that of a tile; tiles share its bases."""
        distance_S = np.abs(2 * self._first_S + self._size - start - end)
        number = int(distance_S.argmin())
        first = int(self._first_S[number])
        if number != self._number:
            # A copy, so that the record can be released.
            codes = self._codes[first : first + self._size].copy()
            self._number = number
            self._strands = {"+": codes, "-": reverse_complement_codes(codes)}
        if strand == "-":
            start, end = 2 * first + self._size - end, 2 * first + self._size - start
        return TileContext(self._strands[strand], start - first, end - first)
