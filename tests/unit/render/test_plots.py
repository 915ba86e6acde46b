"""Limits of a picture of a loss."""

from __future__ import annotations

from genomeformer_cli.render.plots import bits_limits


def test_all_that_is_held_out_is_within_the_picture() -> None:
    low, high = bits_limits([1.8, 4.5, 1.9], [1.7, 1.75])
    assert low < 1.7
    assert high > 4.5
    assert bits_limits([1.9], [7.0, 3.0])[1] < 2.5
    assert bits_limits([1.95], [])[0] < 1.95
