"""Kinds of cache entries."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Kind of cache entry."""

    GENOMES = "genomes"
    VOCABULARIES = "vocabularies"
    CORPORA = "corpora"
    RUNS = "runs"
    WEIGHTS = "weights"
    UNPACKED = "unpacked"
    COMPARISONS = "comparisons"
