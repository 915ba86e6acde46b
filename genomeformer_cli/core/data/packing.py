"""Assign documents to rows such that short contigs waste no tokens.

Contigs shorter than a row are concatenated in a new order every epoch and cut into rows. A contig
that crosses the end of a row continues in the next as a separate document. Each of their tokens is
read once per epoch, and only the last row has padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Piece:
    """Part of a contig that is one document of a row."""

    contig: int  # Index of the contig.
    start: int  # First token within the contig.
    stop: int  # End of the tokens within the contig, exclusive.
    flipped: bool  # True if the other strand is read.


class PackedRows:
    """Rows that the short contigs fill in one epoch.

    Args:
        lengths: Number of tokens of every contig.
        row_length: Tokens per row.
        seed: Seed of the order and of the strands; different for every epoch.
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
        """Return the documents of a row from left to right."""
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
    """Return the number of rows that contigs of these lengths fill."""
    return -(-int(lengths.sum()) // row_length)
