"""Spike guard: skip a step whose gradient norm is far above the median.

The median covers the latest norms of steps that were taken; they are read back from the metrics, so
that a resumed run skips the same steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from genomeformer_cli.core.errors import TrainingError

_WINDOW = 64
_ENOUGH = 16
_MOST_IN_A_ROW = 16


class SpikeGuard:
    """Decide which steps are taken.

    Args:
        factor: Largest ratio of a norm to the median; 0: every step is taken.
        rows: Metrics of the steps so far.
    """

    def __init__(self, factor: float, rows: Iterable[Mapping[str, Any]]) -> None:
        self._factor = factor
        self._norms: deque[float] = deque(maxlen=_WINDOW)
        self._in_a_row = 0
        for row in rows if factor else ():
            self._remember(row["gradient_norm"], accepted=not row.get("left_out", False))

    def takes(self, norm: float) -> bool:
        """Return True if a step with this gradient norm is taken.

        Raises:
            TrainingError: Too many steps in a row were skipped.
        """
        usual = len(self._norms) >= _ENOUGH
        accepted = not self._factor or (
            math.isfinite(norm) and not (usual and norm > self._factor * median(self._norms))
        )
        self._remember(norm, accepted=accepted)
        if self._in_a_row > _MOST_IN_A_ROW:
            raise TrainingError(
                f"the gradients of {self._in_a_row} steps in a row were spikes",
                hint="lower `--learning-rate`, or raise `training.spike_factor`",
            )
        return accepted

    def _remember(self, norm: float, *, accepted: bool) -> None:
        self._in_a_row = 0 if accepted else self._in_a_row + 1
        if accepted:
            self._norms.append(norm)
