"""Test rows whose sequence also stands among the rows that are learned from or chosen on.

A model can answer them from memory, so a report that counts them says more than it knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genomeformer_cli.core.sequence import Codes, reverse_complement_codes


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Test rows that stand in training or validation rows too.

    Attributes:
        num_test: Distinct test rows.
        num_same: Test rows with the sequence of another part's row.
        num_reverse: Further test rows with the reverse complement of one.
    """

    num_test: int
    num_same: int
    num_reverse: int

    @property
    def exist(self) -> bool:
        """True where there is any."""
        return self.num_same + self.num_reverse > 0

    def warning(self, name: str) -> str:
        """Return a warning about a task of that name."""
        return (
            f"`{name}`: of {self.num_test:,} test rows {self.num_same:,} have a sequence that also "
            f"stands in training or validation rows, and {self.num_reverse:,} more its reverse "
            "complement: scores on them can come from memory"
        )


def find_duplicates(
    sequences: Sequence[Codes], parts: Iterable[tuple[Sequence[int], Sequence[int]]]
) -> Duplicates:
    """Count the test rows that also stand elsewhere.

    Args:
        sequences: Base codes of every row.
        parts: Pairs of rows that are learned from or chosen on, and rows that are tested: one
            pair for a split, several for folds.
    """
    digests = [_digest(codes) for codes in sequences]
    tested: set[int] = set()
    same: set[int] = set()
    reverse: set[int] = set()
    for known, test in parts:
        seen = {digests[row] for row in known}
        for row in test:
            tested.add(int(row))
            if digests[row] in seen:
                same.add(int(row))
            elif _digest(reverse_complement_codes(sequences[row])) in seen:
                reverse.add(int(row))
    return Duplicates(num_test=len(tested), num_same=len(same), num_reverse=len(reverse - same))


def _digest(codes: Codes) -> bytes:
    return hashlib.blake2b(codes.tobytes(), digest_size=16).digest()
