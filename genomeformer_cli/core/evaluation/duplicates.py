"""Test rows whose sequence also occurs among training or validation rows.

A model can memorise these rows, so that their scores overestimate generalisation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genomeformer_cli.core.sequence import Codes, reverse_complement_codes


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Numbers of test rows that also occur in training or validation rows."""

    num_test: int  # Distinct test rows.
    num_same: int  # Test rows with the sequence of a training or validation row.
    num_reverse: int  # Further test rows with the reverse complement of such a row.

    @property
    def exist(self) -> bool:
        """True if there is at least one duplicate."""
        return self.num_same + self.num_reverse > 0

    def warning(self, name: str) -> str:
        """Return a warning about the task `name`."""
        return (
            f"`{name}`: of {self.num_test:,} test rows {self.num_same:,} have a sequence that also "
            f"occurs in training or validation rows, and {self.num_reverse:,} more its reverse "
            "complement: scores on them can come from memory"
        )


def find_duplicates(
    sequences: Sequence[Codes], folds: Iterable[tuple[Sequence[int], Sequence[int]]]
) -> Duplicates:
    """Count the test rows that also occur in training or validation rows.

    Args:
        sequences: Base codes of every row.
        folds: Pairs of training and validation rows, and test rows: one pair for a split, several
            for cross-validation.
    """
    digests = [_digest(codes) for codes in sequences]
    tested: set[int] = set()
    forward: set[int] = set()
    reverse: set[int] = set()
    for train, test in folds:
        train_digests = {digests[row] for row in train}
        for row in test:
            tested.add(int(row))
            if digests[row] in train_digests:
                forward.add(int(row))
            elif _digest(reverse_complement_codes(sequences[row])) in train_digests:
                reverse.add(int(row))
    return Duplicates(
        num_test=len(tested), num_same=len(forward), num_reverse=len(reverse - forward)
    )


def _digest(codes: Codes) -> bytes:
    return hashlib.blake2b(codes.tobytes(), digest_size=16).digest()
