"""Cut sequences into windows, and group windows of like length so that padding is rare.

Where windows overlap each token belongs to one of them, the one in which it stands further from an
edge; so every token has one feature vector, whatever is made of them afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of sequences, in the order of the sequences: one number a window in each array.

    Attributes:
        row: Which sequence.
        start: First token.
        length: Number of tokens.
        own_start: First token that belongs to the window, counted from its first.
        own_stop: One past the last that does.
    """

    row: Numbers
    start: Numbers
    length: Numbers
    own_start: Numbers
    own_stop: Numbers

    def __len__(self) -> int:
        return self.row.size

    def __getitem__(self, chosen: slice) -> Windows:
        """Some of them."""
        return Windows(
            self.row[chosen],
            self.start[chosen],
            self.length[chosen],
            self.own_start[chosen],
            self.own_stop[chosen],
        )


def cut_windows(lengths: Sequence[int], longest: int, stride: int | None = None) -> Windows:
    """Cut each sequence into windows of at most `longest` tokens.

    Args:
        lengths: Tokens of each sequence; an empty one has no window.
        longest: Tokens of a window.
        stride: None: the fewest windows, all about equal, none overlapping. Else windows start at
            every `stride`-th token, and the last one ends with the sequence.
    """
    size = np.asarray(lengths, dtype=np.int64)
    if stride is None:
        number = -(-size // longest)
    else:
        number = (size > 0) + -(-np.maximum(size - longest, 0) // stride)
    row = np.repeat(np.arange(size.size), number)
    index = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    size, number = size[row], number[row]
    if stride is None:
        start = index * size // number
        stop = (index + 1) * size // number
        return Windows(row, start, stop - start, np.zeros_like(start), stop - start)
    start = np.minimum(index * stride, np.maximum(size - longest, 0))
    stop = np.minimum(start + longest, size)
    # Half way through what a window shares with its neighbour.
    first = start.copy()
    first[1:] = np.where(row[1:] == row[:-1], (start[1:] + stop[:-1]) // 2, first[1:])
    last = stop.copy()
    last[:-1] = np.where(row[1:] == row[:-1], first[1:], last[:-1])
    return Windows(row, start, stop - start, first - start, last - start)


def slice_sequences(lengths: Sequence[int], chunk: int) -> Windows:
    """Cut each sequence into stretches of `chunk` tokens; the last one may be shorter."""
    size = np.asarray(lengths, dtype=np.int64)
    number = -(-size // chunk)
    row = np.repeat(np.arange(size.size), number)
    index = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    start = index * chunk
    length = np.minimum(size[row] - start, chunk)
    return Windows(row, start, length, np.zeros_like(start), length)


def batch_windows(lengths: Numbers, tokens_per_batch: int) -> list[Numbers]:
    """Group windows of like length into batches of at most `tokens_per_batch`, padding included.

    A window longer than that is a batch of its own. A batch that is nearly full ends where the
    length changes, so that most batches hold windows of one length and need no mask.

    Returns:
        Which windows, a batch at a time, the longest first.
    """
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    # Where the run of equal lengths that a place stands in ends.
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1
    end_of_run = ends[np.searchsorted(ends, np.arange(ordered.size), side="right")]
    batches: list[Numbers] = []
    at = 0
    while at < ordered.size:
        full = max(1, tokens_per_batch // int(ordered[at]))
        stop = min(at + full, ordered.size)
        last_run = int(end_of_run[at])
        while last_run < stop and 4 * (last_run - at) < 3 * full:
            last_run = int(end_of_run[last_run])
        stop = min(stop, last_run)
        batches.append(order[at:stop])
        at = stop
    return batches
