"""Tiles: one width, every base in one, N and tails by rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.annotation.tiles import TileCount, TileRules, tile_queries
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.sequence import decode_bases, encode_bases, reverse_complement


def tiles(sequence: str, rules: TileRules) -> tuple[list[Query], TileCount]:
    count = TileCount()
    return list(tile_queries(Query("r", encode_bases(sequence)), rules, count)), count


@given(st.integers(0, 300), st.integers(1, 80), st.data())
def test_every_base_is_in_a_tile_of_the_width(length: int, width: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, width))
    starts = list(TileRules(width=width, step=step).starts(length))
    covered = np.zeros(length, dtype=bool)
    for start in starts:
        assert start >= 0
        assert start + width <= length or (start == 0 and length < width)
        covered[start : start + width] = True
    assert covered.all()
    assert starts == sorted(set(starts))
    assert all(start % step == 0 for start in starts[:-1])


def test_a_tail_is_read_by_one_more_tile_that_ends_with_the_record() -> None:
    found, _ = tiles("ACGTACGTACG", TileRules(width=4))
    assert [query.id for query in found] == ["r:0-4", "r:4-8", "r:7-11"]
    (short,), _ = tiles("ACG", TileRules(width=4))
    assert (short.id, decode_bases(short.codes)) == ("r:0-3", "ACG")
    assert tiles("", TileRules(width=4))[0] == []


def test_both_strands_are_pairs_of_rows() -> None:
    found, _ = tiles("AACCGGTTAC", TileRules(width=5, both_strands=True))
    assert [query.id for query in found] == ["r:0-5:+", "r:0-5:-", "r:5-10:+", "r:5-10:-"]
    for plus, minus in zip(found[::2], found[1::2], strict=True):
        assert decode_bases(minus.codes) == reverse_complement(decode_bases(plus.codes))
    assert [query.region.strand for query in found if query.region] == ["+", "-", "+", "-"]


@pytest.mark.parametrize(("max_n", "used", "left_out"), [(1.0, 2, 1), (0.5, 1, 2), (0.0, 1, 2)])
def test_tiles_of_n_are_left_out_and_counted(max_n: float, used: int, left_out: int) -> None:
    found, count = tiles("ACGT" + "NNNA" + "NNNN", TileRules(width=4, max_n=max_n))
    assert (len(found), count.used, count.left_out) == (used, used, left_out)


@pytest.mark.parametrize(
    "rules",
    [{"width": 0}, {"width": 4, "step": 5}, {"width": 4, "step": 0}, {"width": 4, "max_n": 2}],
)
def test_invalid_rules_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        TileRules(**rules)  # type: ignore[arg-type]
