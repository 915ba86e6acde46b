"""Cut sequences into windows, and group windows of like length so that padding is rare.

Where windows overlap each token belongs to one of them, the one in which it stands further from an
edge; so every token has one feature vector, whatever is made of them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Cut each sequence into windows of at most `longest` tokens, mirror-symmetrically.

    The windows of a reversed sequence are those of the sequence, reversed, and so are the tokens
    that belong to each. A model that is equivariant under reverse complement therefore is so
    beyond its context too.

    Args:
        lengths: Tokens of each sequence; an empty one has no window.
        longest: Tokens of a window.
        stride: None: the fewest windows of nearly equal length that do not overlap; one more where
            an even number would cut the token in the middle of a sequence. Else windows of equal
            length, evenly spaced, at most `stride` tokens from one start to the next; one token
            shorter than `longest`, or one more of them, where the middle would be cut else.
    """
    size = np.asarray(lengths, dtype=np.int64)
    is_odd = size % 2 == 1
    width = np.minimum(size, longest)
    if stride is None:
        number = -(-size // longest)
        number += is_odd & (number % 2 == 0)
    else:
        width = np.where((size > longest) & is_odd & (longest % 2 == 0), longest - 1, width)
        number = (size > 0) + -(-(size - width) // np.minimum(np.maximum(width, 1), stride))
        needs_even, is_even = ~is_odd & (width % 2 == 1), number % 2 == 0
        number += (number > 1) & np.where(is_odd, is_even, needs_even & ~is_even)
    row = np.repeat(np.arange(size.size), number)
    index = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    size, width, number = size[row], width[row], number[row]

    def bounds(index: Numbers) -> Numbers:
        """Return the places that part a sequence evenly, the first of `number + 1` at 0."""
        return _mirrored(lambda near: -(-near * size // number), index, number, size)

    if stride is None:
        start, stop = bounds(index), bounds(index + 1)
        return Windows(row, start, stop - start, np.zeros_like(start), stop - start)

    gaps, room = np.maximum(number - 1, 1), size - width

    def starts(index: Numbers) -> Numbers:
        return _mirrored(lambda near: -(-near * room // gaps), index, number - 1, room)

    def owned_from(index: Numbers) -> Numbers:
        """Return the first token of a window that is further from its edge than from the last's."""
        half_way = _mirrored(
            lambda near: (starts(near) + starts(near - 1) + width) // 2, index, number, size
        )
        return np.where(index == 0, 0, np.where(index == number, size, half_way))

    start = starts(index)
    return Windows(row, start, width, owned_from(index) - start, owned_from(index + 1) - start)


def _mirrored(
    place: Callable[[Numbers], Numbers], index: Numbers, last: Numbers, total: Numbers
) -> Numbers:
    """Return `place(index)` in the first half of 0 to `last`, its mirror image in the other."""
    return np.where(2 * index <= last, place(index), total - place(last - index))


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
