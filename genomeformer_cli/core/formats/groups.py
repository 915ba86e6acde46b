"""Groups of records: a genome, a record, or the records whose ids share a prefix."""

from __future__ import annotations

from enum import StrEnum


class GroupBy(StrEnum):
    """Unit of a row."""

    GENOME = "genome"
    RECORD = "record"
    PREFIX = "prefix"


def group_name(genome: str, record: str, by: GroupBy) -> str:
    """Return the group of a record; a prefix is the part of its id before the first `|`."""
    if by is GroupBy.GENOME:
        return genome
    return record if by is GroupBy.RECORD else record.partition("|")[0]
