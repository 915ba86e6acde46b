"""Annotated stretches become a label per base."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.annotation.base_labels import circular_slice, mark_intervals, true_runs
from tests.strategies import repeatable


@given(
    intervals=st.lists(st.tuples(st.integers(-40, 60), st.integers(1, 30)), max_size=4),
    length=st.integers(1, 50),
    circular=st.booleans(),
)
@repeatable
def test_bases_are_marked_one_by_one(
    intervals: list[tuple[int, int]], length: int, circular: bool
) -> None:
    pairs = [(start, start + size) for start, size in intervals]
    bases = {base for start, end in pairs for base in range(start, end)}
    places = {base % length for base in bases} if circular else bases & set(range(length))
    flags = mark_intervals(pairs, length, circular=circular)
    assert set(np.flatnonzero(flags).tolist()) == places


@given(flags=st.lists(st.booleans(), min_size=1, max_size=40), circular=st.booleans())
@repeatable
def test_true_runs_cover_the_marked_bases_exactly(flags: list[bool], circular: bool) -> None:
    runs = true_runs(np.array(flags), circular=circular)
    covered = [base % len(flags) for start, end in runs for base in range(start, end)]
    assert sorted(covered) == [base for base, flag in enumerate(flags) if flag]
    for start, end in runs:
        if end - start < len(flags):  # each is as long as can be
            before, after = start - 1, end
            assert not (flags[before] if circular or before >= 0 else False)
            assert not (flags[after % len(flags)] if circular or after < len(flags) else False)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (3, 5), (4, 6), (5, 7), (9, 11), (2, 7)])
def test_a_stretch_is_led_around_the_circle(start: int, end: int) -> None:
    array = np.array([0, 1, 2, 3, 4], dtype=np.uint8)
    assert circular_slice(array, start, end).tolist() == [base % 5 for base in range(start, end)]
