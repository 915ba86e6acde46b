"""Which documents fill which row, so that short contigs waste nothing.

Contigs shorter than a row lie end to end, in a fresh order every epoch, and are cut into rows; one
that reaches over the end of a row goes on in the next as a document of its own. So every token of
them is read once an epoch, and only the last row has padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Piece:
    """A stretch of a contig that is one document of a row.

    Attributes:
        contig: Which one, as a number.
        start: Its first token within the contig.
        stop: The one after its last.
        flipped: Whether to read the other strand.
    """

    contig: int
    start: int
    stop: int
    flipped: bool


class PackedRows:
    """The rows that short contigs fill in one epoch.

    Args:
        lengths: Tokens of every contig.
        row_length: Tokens of a row.
        seed: What order and strands are drawn from; another for every epoch.
    """

    def __init__(
        self, lengths: npt.NDArray[np.int64], row_length: int, seed: tuple[int, ...]
    ) -> None:
        generator = np.random.default_rng(seed)
        self._row_length = row_length
        self._order = generator.permutation(lengths.size)
        self._flipped = generator.random(lengths.size) < 0.5
        self._lengths = lengths[self._order]
        self._ends = np.cumsum(self._lengths)

    def row(self, number: int) -> list[Piece]:
        """The documents of a row, left to right."""
        first = number * self._row_length
        last = min(first + self._row_length, int(self._ends[-1]))
        places = range(
            int(np.searchsorted(self._ends, first, side="right")),
            int(np.searchsorted(self._ends, last - 1, side="right")) + 1,
        )
        pieces: list[Piece] = []
        for place in places:
            begin = int(self._ends[place] - self._lengths[place])
            start, stop = max(first - begin, 0), min(last - begin, int(self._lengths[place]))
            contig = int(self._order[place])
            pieces.append(Piece(contig, start, stop, bool(self._flipped[contig])))
        return pieces


def num_packed_rows(lengths: npt.NDArray[np.int64], row_length: int) -> int:
    """How many rows contigs of these lengths fill."""
    return -(-int(lengths.sum()) // row_length)
