"""Units of a held-out split."""

from __future__ import annotations

from enum import StrEnum


class SplitBy(StrEnum):
    """Unit of the held-out part."""

    AUTO = "auto"
    GENOME = "genome"
    RECORD = "record"
    TAIL = "tail"
