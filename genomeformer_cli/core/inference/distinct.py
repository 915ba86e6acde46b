"""Distinct sequences of a batch, so that equal ones are computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class DistinctRows:
    """Distinct rows among sequences."""

    first_D: npt.NDArray[np.int64]  # First sequence of each distinct row, ascending.
    distinct_N: npt.NDArray[np.int64]  # Distinct row of each sequence.

    @classmethod
    def of_sequences(cls, sequences: Sequence[npt.NDArray[Any]]) -> DistinctRows:
        """Find the distinct rows of sequences of one dtype."""
        index_of: dict[bytes, int] = {}
        first: list[int] = []
        distinct_N = np.empty(len(sequences), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            digest = hashlib.blake2b(np.ascontiguousarray(sequence).data, digest_size=16).digest()
            distinct = distinct_N[row] = index_of.setdefault(digest, len(first))
            if distinct == len(first):
                first.append(row)
        return cls(np.array(first, dtype=np.int64), distinct_N)

    @property
    def repeats(self) -> npt.NDArray[np.int64]:
        """Sequences that are equal to an earlier one."""
        is_repeat = np.ones(self.distinct_N.size, dtype=bool)
        is_repeat[self.first_D] = False
        return np.flatnonzero(is_repeat)
