"""Golden numbers are compared within their tolerance, everything else exactly."""

from __future__ import annotations

from typing import Any

import pytest

from tests.golden_numbers import Tolerance, compare, to_text

TOLERANCE = Tolerance(relative=1e-6, absolute=1e-9, reason="rounding")
VALUES: dict[str, Any] = {"a": [1.0, 0.0, float("nan")], "b": {"ids": [3, 4], "name": "x"}}
TEXT = to_text(VALUES, TOLERANCE)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"a": [1.0 + 9e-7, 0.0, float("nan")]},
        {"a": [1.0, -9e-10, float("nan")]},
    ],
)
def test_within_the_tolerance_nothing_moved(change: dict[str, Any]) -> None:
    assert compare(TEXT, VALUES | change, TOLERANCE) == []


@pytest.mark.parametrize(
    "change",
    [
        {"a": [1.0 + 2e-6, 0.0, float("nan")]},
        {"a": [1.0, 2e-9, float("nan")]},
        {"a": [1.0, float("nan"), float("nan")]},
        {"a": [1.0, 0.0, 0.0]},
        {"a": [1.0, 0.0]},
        {"a": [1, 0.0, float("nan")]},
        {"b": {"ids": [3, 5], "name": "x"}},
        {"b": {"ids": [3, 4], "name": "y"}},
        {"b": {"ids": [3, 4]}},
        {"b": {"ids": [3, 4], "name": "x", "more": 1}},
        {"c": 1},
    ],
)
def test_what_moved_is_reported(change: dict[str, Any]) -> None:
    assert len(compare(TEXT, VALUES | change, TOLERANCE)) == 1


def test_another_tolerance_moves_the_file() -> None:
    (message,) = compare(TEXT, VALUES, Tolerance(relative=1e-3, absolute=0.0, reason="rounding"))
    assert "tolerance" in message
