"""Changed copies of rows, whose equal beginnings and ends need no second computation.

Shape letters: B rows, C changed rows, M length of a changed row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ChangedRows:
    """Changed rows of equal length, and the rows from which they are derived."""

    tokens_CM: Tensor  # Token ids.
    row_C: Sequence[int]  # Original row of each changed row.
    before_C: Sequence[int]  # First tokens that equal those of the original.
    after_C: Sequence[int]  # Last tokens that equal those of the original.
