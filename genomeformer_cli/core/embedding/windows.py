"""Cut sequences into windows, and group windows of like length so that padding is rare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one sequence.

    Attributes:
        row: Which sequence.
        start: First token.
        length: Number of tokens.
    """

    row: int
    start: int
    length: int


def cut_windows(lengths: Sequence[int], longest: int) -> list[Window]:
    """Cut each sequence into the fewest windows of at most `longest` tokens, all about equal.

    No token is lost or counted twice; an empty sequence has no window.
    """
    windows: list[Window] = []
    for row, length in enumerate(lengths):
        number = -(-length // longest)
        edges = [round(index * length / number) for index in range(number + 1)] if number else [0]
        windows += [Window(row, start, stop - start) for start, stop in pairwise(edges)]
    return windows


def batch_windows(windows: Sequence[Window], tokens_per_batch: int) -> list[list[Window]]:
    """Group windows of like length into batches of at most `tokens_per_batch`, padding included.

    A window longer than that is a batch of its own.
    """
    batches: list[list[Window]] = []
    current: list[Window] = []
    for window in sorted(windows, key=lambda one: (-one.length, one.row, one.start)):
        if current and (len(current) + 1) * current[0].length > tokens_per_batch:
            batches.append(current)
            current = []
        current.append(window)
    return [*batches, current] if current else batches
