"""Cut sequences into windows, and batch windows of similar length to limit padding.

In overlapping windows each token is owned by the window in which it is further from an edge, so
that every token has exactly one feature vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows in the order of their sequences; each array has one entry per window."""

    row: Numbers  # Index of the sequence.
    start: Numbers  # First token.
    length: Numbers  # Number of tokens.
    own_start: Numbers  # First owned token, relative to the start of the window.
    own_stop: Numbers  # End of the owned tokens, relative to the start of the window.

    def __len__(self) -> int:
        return self.row.size

    def __getitem__(self, selection: slice | npt.NDArray[np.bool_]) -> WindowBatch:
        """Return the selected windows."""
        return WindowBatch(
            self.row[selection],
            self.start[selection],
            self.length[selection],
            self.own_start[selection],
            self.own_stop[selection],
        )


def cut_windows(lengths: Sequence[int], max_length: int, stride: int | None = None) -> WindowBatch:
    """Cut each sequence into windows of at most `max_length` tokens, mirror-symmetrically.

    The windows of a reversed sequence are the windows of the sequence, reversed, and so are their
    owned tokens. A model that is equivariant under reverse complement therefore remains so beyond
    its context.

    Args:
        lengths: Tokens of each sequence; an empty one has no window.
        max_length: Maximum tokens of a window.
        stride: None: the fewest non-overlapping windows of nearly equal length; one more if an even
            number would cut the central token of a sequence. Else windows of equal length, evenly
            spaced, with at most `stride` tokens between starts; one token shorter than
            `max_length`, or one window more, if the centre would otherwise be cut.
    """
    size = np.asarray(lengths, dtype=np.int64)
    is_odd = size % 2 == 1
    width = np.minimum(size, max_length)
    if stride is None:
        number = -(-size // max_length)
        number += is_odd & (number % 2 == 0)
    else:
        width = np.where(
            (size > max_length) & is_odd & (max_length % 2 == 0), max_length - 1, width
        )
        number = (size > 0) + -(-(size - width) // np.minimum(np.maximum(width, 1), stride))
        needs_even, is_even = ~is_odd & (width % 2 == 1), number % 2 == 0
        number += (number > 1) & np.where(is_odd, is_even, needs_even & ~is_even)
    row = np.repeat(np.arange(size.size), number)
    index = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    size, width, number = size[row], width[row], number[row]

    def bounds(index: Numbers) -> Numbers:
        """Return evenly spaced boundaries of a sequence, the first of `number + 1` at 0."""
        return _mirrored(lambda near: -(-near * size // number), index, number, size)

    if stride is None:
        start, stop = bounds(index), bounds(index + 1)
        return WindowBatch(row, start, stop - start, np.zeros_like(start), stop - start)

    gaps, room = np.maximum(number - 1, 1), size - width

    def starts(index: Numbers) -> Numbers:
        return _mirrored(lambda near: -(-near * room // gaps), index, number - 1, room)

    def first_owned(index: Numbers) -> Numbers:
        """Return the first token that is deeper in this window than in the previous one."""
        half_way = _mirrored(
            lambda near: (starts(near) + starts(near - 1) + width) // 2, index, number, size
        )
        return np.where(index == 0, 0, np.where(index == number, size, half_way))

    start = starts(index)
    return WindowBatch(
        row, start, width, first_owned(index) - start, first_owned(index + 1) - start
    )


def _mirrored(
    position: Callable[[Numbers], Numbers], index: Numbers, last: Numbers, total: Numbers
) -> Numbers:
    """Return `position(index)` in the first half of 0 to `last`, its mirror image in the second."""
    return np.where(2 * index <= last, position(index), total - position(last - index))


def slice_sequences(lengths: Sequence[int], chunk: int) -> WindowBatch:
    """Cut each sequence into slices of `chunk` tokens; the last one may be shorter."""
    size = np.asarray(lengths, dtype=np.int64)
    number = -(-size // chunk)
    row = np.repeat(np.arange(size.size), number)
    index = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    start = index * chunk
    length = np.minimum(size[row] - start, chunk)
    return WindowBatch(row, start, length, np.zeros_like(start), length)


def batch_windows(lengths: Numbers, tokens_per_batch: int) -> list[Numbers]:
    """Batch windows of similar length, with at most `tokens_per_batch` tokens, padding included.

    A longer window is a batch of its own. A nearly full batch ends where the length changes, so
    that most batches hold windows of one length and need no mask.

    Returns:
        Window indices of each batch, the longest first.
    """
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    # End of the run of equal lengths around each position.
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1
    end_of_run = ends[np.searchsorted(ends, np.arange(ordered.size), side="right")]
    batches: list[Numbers] = []
    start = 0
    while start < ordered.size:
        full = max(1, tokens_per_batch // int(ordered[start]))
        stop = min(start + full, ordered.size)
        last_run = int(end_of_run[start])
        while last_run < stop and 4 * (last_run - start) < 3 * full:
            last_run = int(end_of_run[last_run])
        stop = min(stop, last_run)
        batches.append(order[start:stop])
        start = stop
    return batches
