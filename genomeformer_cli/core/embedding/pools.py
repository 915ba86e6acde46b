"""Names of the poolings; without imports, since the options of `embed` need them at its start."""

from __future__ import annotations

from typing import Literal

# Poolings of a row, and those that a model recommends for a kind of label.
Pool = Literal[
    "auto",
    "auto:placed",
    "auto:motif",
    "auto:composition",
    "mean",
    "max",
    "mean-max",
    "moments",
    "words",
    "bins",
    "first",
    "last",
    "none",
]
