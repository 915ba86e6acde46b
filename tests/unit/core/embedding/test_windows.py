"""Sequences are cut into windows, and windows into batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.embedding.windows import (
    WindowBatch,
    batch_windows,
    cut_windows,
    slice_sequences,
)
from tests.strategies import repeatable

lengths = st.lists(st.integers(0, 300), max_size=20)


def listed(windows: WindowBatch) -> list[tuple[int, ...]]:
    return [
        (int(row), int(start), int(length))
        for row, start, length in zip(windows.row, windows.start, windows.length, strict=True)
    ]


def assert_every_token_is_owned_once(windows: WindowBatch, lengths: list[int]) -> None:
    owners = [np.zeros(length, dtype=int) for length in lengths]
    for index in range(len(windows)):
        start, first, last = windows.start[index], windows.own_start[index], windows.own_stop[index]
        assert 0 <= first <= last <= windows.length[index]
        owners[windows.row[index]][start + first : start + last] += 1
    assert all((owned == 1).all() for owned in owners)
    assert (np.diff(windows.row) >= 0).all()


@repeatable
@given(lengths=lengths, longest=st.integers(1, 64))
def test_windows_tile_each_sequence(lengths: list[int], longest: int) -> None:
    windows = cut_windows(lengths, longest)
    assert_every_token_is_owned_once(windows, lengths)
    assert (windows.own_stop - windows.own_start == windows.length).all()
    for row, length in enumerate(lengths):
        sizes = windows.length[windows.row == row]
        fewest = -(-length // longest)
        assert sizes.size == fewest + (length % 2 == 1 and fewest % 2 == 0)
        if sizes.size:
            assert sizes.max() <= longest
            assert sizes.min() >= 1
            assert sizes.max() - sizes.min() <= 2


@repeatable
@given(lengths=lengths, longest=st.integers(1, 64), share=st.integers(1, 64))
def test_overlapping_windows_share_out_their_tokens(
    lengths: list[int], longest: int, share: int
) -> None:
    stride = min(share, longest)
    windows = cut_windows(lengths, longest, stride)
    assert_every_token_is_owned_once(windows, lengths)
    for row, length in enumerate(lengths):
        own = windows.row == row
        if length > longest:
            assert set(windows.length[own]) <= {longest, longest - (length % 2)}
            assert np.unique(windows.length[own]).size == 1
            assert (np.diff(windows.start[own]) >= 0).all()
            assert (np.diff(windows.start[own]) <= stride).all()
            assert windows.start[own][-1] + windows.length[own][-1] == length
        elif length:
            assert listed(windows).count((row, 0, length)) == own.sum() == 1


@repeatable
@given(length=st.integers(0, 400), longest=st.integers(1, 64), share=st.integers(0, 64))
def test_windows_of_a_reversed_sequence_are_the_windows_reversed(
    length: int, longest: int, share: int
) -> None:
    windows = cut_windows([length], longest, min(share, longest) or None)
    first = windows.start + windows.own_start
    last = windows.start + windows.own_stop
    for low, high in ((windows.start, windows.start + windows.length), (first, last)):
        assert ((length - high)[::-1] == low).all()


def test_a_token_is_taken_from_the_window_in_which_it_is_further_from_an_edge() -> None:
    windows = cut_windows([16], 8, 4)
    assert windows.start.tolist() == [0, 4, 8]
    assert (windows.start + windows.own_start).tolist() == [0, 6, 10]
    assert (windows.start + windows.own_stop).tolist() == [6, 10, 16]


@repeatable
@given(lengths=lengths, chunk=st.integers(1, 64))
def test_slices_are_where_a_state_is_passed(lengths: list[int], chunk: int) -> None:
    found = slice_sequences(lengths, chunk)
    assert_every_token_is_owned_once(found, lengths)
    assert (found.start % chunk == 0).all()


@repeatable
@given(lengths=st.lists(st.integers(1, 300), max_size=40), tokens=st.integers(1, 500))
def test_batches_hold_every_window_once_and_keep_to_their_size(
    lengths: list[int], tokens: int
) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    batches = batch_windows(sizes, tokens)
    assert sorted(int(one) for batch in batches for one in batch) == list(range(len(lengths)))
    for batch in batches:
        assert sizes[batch[0]] == sizes[batch].max()
        assert len(batch) == 1 or len(batch) * sizes[batch[0]] <= tokens


def test_a_short_sequence_is_one_window() -> None:
    assert listed(cut_windows([5, 0, 64], 64)) == [(0, 0, 5), (2, 0, 64)]


def test_a_long_sequence_is_cut_evenly() -> None:
    assert cut_windows([100], 64).length.tolist() == [50, 50]
    assert cut_windows([101], 64).length.tolist() == [34, 33, 34]


def test_empty_input_gives_empty_output() -> None:
    assert len(cut_windows([], 8)) == 0
    assert batch_windows(np.array([], dtype=np.int64), 8) == []


def test_windows_of_like_length_go_together() -> None:
    sizes = np.array([2, 9, 2, 9])
    assert [batch.tolist() for batch in batch_windows(sizes, 18)] == [[1, 3], [0, 2]]


def test_a_batch_that_is_nearly_full_ends_where_the_length_changes() -> None:
    sizes = np.array([10] * 8 + [9] * 4)
    assert [len(batch) for batch in batch_windows(sizes, 100)] == [8, 4]
    sizes = np.array([10] * 5 + [9] * 4)
    assert [len(batch) for batch in batch_windows(sizes, 100)] == [9]
