"""Runs of A C G T between the N of a sequence."""

from __future__ import annotations

import numpy as np

from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.protocol import Positions

# Long enough for the end of most runs, short enough to scan quickly.
_LOOK_BACK = 1 << 12


def acgt_runs(codes: Codes) -> tuple[Positions, Positions]:
    """Return starts and (exclusive) ends of all maximal runs without N, in order."""
    if not codes.size:
        empty = np.empty(0, dtype=np.int64)
        return empty, empty
    if codes.max() < NUM_REAL_BASES:
        return np.zeros(1, dtype=np.int64), np.array([codes.size], dtype=np.int64)
    real = codes < NUM_REAL_BASES
    edges = np.flatnonzero(real[1:] != real[:-1]) + 1
    if real[0]:
        edges = np.concatenate([[0], edges])
    if real[-1]:
        edges = np.concatenate([edges, [codes.size]])
    return edges[::2], edges[1::2]


def last_acgt_run(codes: Codes) -> int:
    """Return the start of the run of A C G T that ends the codes, or their size."""
    stop = codes.size
    while stop:
        start = max(stop - _LOOK_BACK, 0)
        unknown = np.flatnonzero(codes[start:stop] >= NUM_REAL_BASES)
        if unknown.size:
            return start + int(unknown[-1]) + 1
        stop = start
    return 0


def ranges(firsts: Positions, counts: Positions, steps: Positions) -> Positions:
    """Concatenate one arithmetic progression per row: `first, first + step, ...`, `count` terms."""
    starts = np.cumsum(counts) - counts
    ranks = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts, counts)
    return np.repeat(firsts, counts) + ranks * np.repeat(steps, counts)
