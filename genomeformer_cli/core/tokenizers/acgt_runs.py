"""Where the stretches of A C G T lie between the N of a sequence."""

from __future__ import annotations

import numpy as np

from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.protocol import Positions

# Enough to hold the end of most stretches, and little to look through.
_LOOK_BACK = 1 << 12


def acgt_runs(codes: Codes) -> tuple[Positions, Positions]:
    """Starts and ends (half open) of all longest stretches without N, in order."""
    if not codes.size:
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing
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
    """Start of the stretch without N that the codes end in; their size if the last is an N."""
    stop = codes.size
    while stop:
        start = max(stop - _LOOK_BACK, 0)
        unknown = np.flatnonzero(codes[start:stop] >= NUM_REAL_BASES)
        if unknown.size:
            return start + int(unknown[-1]) + 1
        stop = start
    return 0


def ranges(firsts: Positions, counts: Positions, steps: Positions) -> Positions:
    """`first, first + step, ...`, `count` numbers of each row, end to end."""
    before = np.cumsum(counts) - counts
    within = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(before, counts)
    return np.repeat(firsts, counts) + within * np.repeat(steps, counts)
