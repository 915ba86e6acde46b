"""Counts of changes made to sequences while reading, and their report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import AMBIGUOUS_BIT, MASKED_BIT, URACIL_BIT, Codes

_FLAGS = np.uint8(URACIL_BIT | AMBIGUOUS_BIT | MASKED_BIT)
_UNKNOWN = np.uint8(AMBIGUOUS_BIT | MASKED_BIT)
_MAX_UNKNOWN = 1 / 3


@dataclass(kw_only=True)
class Changes:
    """Counts of one or several files."""

    num_records: int = 0  # Number of records.
    num_bases: int = 0  # Number of bases.
    num_uracil: int = 0  # Number of U read as T.
    num_ambiguous: int = 0  # Number of IUPAC codes other than N read as N.
    num_masked: int = 0  # Number of X read as N.
    num_comments: int = 0  # Number of skipped lines that start with `;`.
    num_blank_starts: int = 0  # Number of headers with a blank between `>` and the id.
    num_unnamed: int = 0  # Number of records without an id.
    first_unnamed: str = ""  # Generated id of the first record without one.
    num_mostly_unknown: int = 0  # Number of records of which more than a third became N.
    first_mostly_unknown: str = ""  # Id of the first of these records.
    _id: str = field(default="", repr=False)
    _size: int = field(default=0, repr=False)
    _unknown: int = field(default=0, repr=False)

    def name_record(self) -> str:
        """Generate an id for the latest record, which `num_records` includes."""
        name = f"record_{self.num_records}"
        self.num_unnamed += 1
        self.first_unnamed = self.first_unnamed or name
        return name

    def count(self, flagged: Codes, starts: list[tuple[int, str]]) -> Codes:
        """Count the flags of a block, and return the block without them.

        Args:
            flagged: Codes with the flags of `sequence.flag_bases`.
            starts: Positions and ids of records that start in the block.
        """
        self.num_bases += flagged.size
        clean = not flagged.size or flagged.max() < URACIL_BIT
        if clean and not starts:
            self._size += flagged.size
            return flagged
        edges = np.array([0, *(position for position, _ in starts), flagged.size])
        unknown = np.zeros(edges.size - 1, dtype=np.int64)
        if not clean:
            self.num_uracil += int(np.count_nonzero(flagged & np.uint8(URACIL_BIT)))
            self.num_ambiguous += int(np.count_nonzero(flagged & np.uint8(AMBIGUOUS_BIT)))
            self.num_masked += int(np.count_nonzero(flagged & np.uint8(MASKED_BIT)))
            sums = np.concatenate(([0], np.cumsum((flagged & _UNKNOWN) != 0)))
            unknown = np.diff(sums[edges])
            flagged = flagged & ~_FLAGS
        if not (clean and not self._unknown):
            self._close_records(edges, unknown, starts)
        self._id = starts[-1][1] if starts else self._id
        last = int(edges[-1] - edges[-2])
        self._size = last if starts else self._size + last
        self._unknown = int(unknown[-1]) + (0 if starts else self._unknown)
        return flagged

    def _close_records(
        self,
        edges: npt.NDArray[np.int64],
        unknown: npt.NDArray[np.int64],
        starts: list[tuple[int, str]],
    ) -> None:
        """Count the records that end in a block."""
        sizes = np.diff(edges)
        sizes[0] += self._size
        unknown = unknown.copy()
        unknown[0] += self._unknown
        ids = [self._id, *(name for _, name in starts)]
        for index in np.flatnonzero(unknown[:-1] > sizes[:-1] * _MAX_UNKNOWN).tolist():
            self._add_mostly_unknown(ids[index])

    def _add_mostly_unknown(self, record: str) -> None:
        self.num_mostly_unknown += 1
        self.first_mostly_unknown = self.first_mostly_unknown or record

    def finish(self) -> None:
        """Count the last record of a file."""
        if self._unknown > self._size * _MAX_UNKNOWN:
            self._add_mostly_unknown(self._id)
        self._id, self._size, self._unknown = "", 0, 0

    def report(self, display_name: str, reporter: Reporter) -> None:
        """Report the changes: a note on letters, warnings on probable mistakes."""
        counts = (
            (self.num_uracil, "U as T"),
            (self.num_ambiguous, "IUPAC ambiguity codes as N"),
            (self.num_masked, "X as N"),
        )
        letters = [f"{number:,} {change}" for number, change in counts if number]
        if letters:
            reporter.note(f"`{display_name}`: read {', '.join(letters)}")
        if self.num_comments:
            reporter.note(f"`{display_name}`: skipped {self.num_comments} comment lines (`;`)")
        if self.num_blank_starts:
            reporter.warn(
                f"`{display_name}`: {self.num_blank_starts} of {self.num_records} headers have "
                "a blank "
                "between `>` and the id; the id is the first word behind it"
            )
        if self.num_unnamed:
            reporter.warn(
                f"`{display_name}`: {self.num_unnamed} of {self.num_records} records have no "
                "id in their "
                f"header; the first is called `{self.first_unnamed}` here"
            )
        if self.num_mostly_unknown:
            reporter.warn(
                f"`{display_name}`: more than a third of {self.num_mostly_unknown} of "
                f"{self.num_records} "
                f"records becomes N, the first is `{self.first_mostly_unknown}`: is it protein, or "
                "masked?"
            )
