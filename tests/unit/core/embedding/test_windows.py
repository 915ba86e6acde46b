from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.embedding.windows import Window, batch_windows, cut_windows
from tests.strategies import repeatable


def place(window: Window) -> tuple[int, int]:
    return window.row, window.start


lengths = st.lists(st.integers(0, 300), max_size=20)


@repeatable
@given(lengths=lengths, longest=st.integers(1, 64))
def test_windows_tile_each_sequence(lengths: list[int], longest: int) -> None:
    windows = cut_windows(lengths, longest)
    for row, length in enumerate(lengths):
        own = [window for window in windows if window.row == row]
        reached = 0
        for window in own:
            assert window.start == reached
            assert 0 < window.length <= longest
            reached += window.length
        assert reached == length
        assert len(own) == -(-length // longest)
        if own:
            sizes = [window.length for window in own]
            assert max(sizes) - min(sizes) <= 1


@repeatable
@given(lengths=lengths, longest=st.integers(1, 64), tokens=st.integers(1, 500))
def test_batches_hold_every_window_once_and_keep_to_their_size(
    lengths: list[int], longest: int, tokens: int
) -> None:
    windows = cut_windows(lengths, longest)
    batches = batch_windows(windows, tokens)
    batched = [window for batch in batches for window in batch]
    assert sorted(batched, key=place) == sorted(windows, key=place)
    for batch in batches:
        assert batch[0].length == max(window.length for window in batch)
        assert len(batch) == 1 or len(batch) * batch[0].length <= tokens


def test_a_short_sequence_is_one_window() -> None:
    assert cut_windows([5, 0, 64], 64) == [Window(0, 0, 5), Window(2, 0, 64)]


def test_a_long_sequence_is_cut_evenly() -> None:
    assert [window.length for window in cut_windows([100], 64)] == [50, 50]


def test_nothing_gives_nothing() -> None:
    assert cut_windows([], 8) == []
    assert batch_windows([], 8) == []


def test_windows_of_like_length_go_together() -> None:
    windows = [Window(0, 0, 2), Window(1, 0, 9), Window(2, 0, 2), Window(3, 0, 9)]
    assert [[window.row for window in batch] for batch in batch_windows(windows, 18)] == [
        [1, 3],
        [0, 2],
    ]
