"""Splits are disjoint, complete and honest: what is held out is never trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genomeformer_cli.core.corpus.format import Segment
from genomeformer_cli.core.corpus.splits import (
    GENOMES_FOR_GENOME_SPLIT,
    SplitBy,
    SplitConfig,
    assign_splits,
)
from genomeformer_cli.core.errors import ConfigError
from tests.strategies import repeatable

Base = tuple[int, int]


def segments_of(*lengths_of_genomes: list[int]) -> list[Segment]:
    """One a record: genome `g0` with records `r0 r1 ...`, then `g1`, ..."""
    found: list[Segment] = []
    offset = 0
    for number, lengths in enumerate(lengths_of_genomes):
        for index, length in enumerate(lengths):
            found.append(
                Segment(
                    genome=f"g{number}",
                    record=f"r{index}",
                    start=0,
                    length=length,
                    shard=0,
                    offset=offset,
                    split="train",
                )
            )
            offset += length
    return found


def bases_of(segments: list[Segment]) -> list[Base]:
    return [
        (segment.shard, segment.offset + position)
        for segment in segments
        for position in range(segment.length)
    ]


def held_out(segments: list[Segment]) -> list[Segment]:
    return [segment for segment in segments if segment.split == "validation"]


genomes = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=1, max_size=12)
configs = st.builds(
    SplitConfig,
    by=st.sampled_from(SplitBy),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)


@repeatable
@given(lengths=genomes, config=configs)
def test_splits_are_disjoint_and_complete(lengths: list[list[int]], config: SplitConfig) -> None:
    segments = segments_of(*lengths)
    try:
        marked, _ = assign_splits(segments, config)
    except ConfigError:
        assume(False)
    trained = bases_of([segment for segment in marked if segment.split == "train"])
    held = bases_of(held_out(marked))
    assert trained
    assert held
    assert sorted(trained + held) == sorted(bases_of(segments))
    assert all(segment.length > 0 for segment in marked)
    # Position within the record and within the shard moved together.
    origin = {(s.genome, s.record): s.offset for s in segments}
    assert all(s.offset - s.start == origin[s.genome, s.record] for s in marked)


@repeatable
@given(lengths=genomes, config=configs)
def test_the_same_request_gives_the_same_split(
    lengths: list[list[int]], config: SplitConfig
) -> None:
    segments = segments_of(*lengths)
    try:
        marked = assign_splits(segments, config)
    except ConfigError:
        assume(False)
    assert assign_splits(segments, config) == marked


@pytest.mark.parametrize("seed", range(5))
def test_whole_genomes_are_held_out(seed: int) -> None:
    segments = segments_of(*[[10, 20, 30]] * 10)
    config = SplitConfig(by=SplitBy.GENOME, fraction=0.2, seed=seed)
    marked, _ = assign_splits(segments, config)
    names = {segment.genome for segment in held_out(marked)}
    assert not names & {s.genome for s in marked if s.split == "train"}
    assert len(names) == 2


@pytest.mark.parametrize("seed", range(5))
def test_records_of_one_id_in_one_genome_stay_together(seed: int) -> None:
    segments = [replace(s, record=f"r{n % 5}") for n, s in enumerate(segments_of([10] * 20))]
    config = SplitConfig(by=SplitBy.RECORD, fraction=0.2, seed=seed)
    marked, _ = assign_splits(segments, config)
    ids = {segment.record for segment in held_out(marked)}
    assert not ids & {s.record for s in marked if s.split == "train"}


def test_the_seed_of_a_draw_matters() -> None:
    segments = segments_of([10] * 30)
    drawn = {
        tuple(
            s.record
            for s in held_out(assign_splits(segments, SplitConfig(by=SplitBy.RECORD, seed=seed))[0])
        )
        for seed in range(5)
    }
    assert len(drawn) > 1


def test_a_draw_comes_close_to_the_fraction() -> None:
    marked, _ = assign_splits(segments_of([10] * 100), SplitConfig(by=SplitBy.RECORD, fraction=0.3))
    assert len(bases_of(held_out(marked))) == 300


def test_a_giant_record_is_not_held_out_for_a_tenth() -> None:
    segments = segments_of([1000, 50, 50, 50, 50])
    for seed in range(10):
        config = SplitConfig(by=SplitBy.RECORD, fraction=0.1, seed=seed)
        marked, _ = assign_splits(segments, config)
        assert "r0" not in {segment.record for segment in held_out(marked)}


def test_the_tail_is_one_stretch_at_the_end_of_every_record() -> None:
    marked, rule = assign_splits(segments_of([100, 50]), SplitConfig(by=SplitBy.TAIL))
    assert [(s.record, s.start, s.length, s.offset) for s in held_out(marked)] == [
        ("r0", 90, 10, 90),
        ("r1", 45, 5, 145),
    ]
    assert "10%" in rule


def test_tokens_that_reach_into_the_tail_are_unused() -> None:
    segments = segments_of([100], [3], [1])
    marked, rule = assign_splits(segments, SplitConfig(by=SplitBy.TAIL, fraction=0.4), overlap=5)
    assert [(s.split, s.start, s.length, s.offset) for s in marked] == [
        ("train", 0, 55, 0),
        ("unused", 55, 5, 55),
        ("validation", 60, 40, 60),
        ("unused", 0, 2, 100),
        ("validation", 2, 1, 102),
        ("train", 0, 1, 103),  # too short to have a tail
    ]
    assert "5 tokens" in rule


@pytest.mark.parametrize(
    ("number", "rule"),
    [(GENOMES_FOR_GENOME_SPLIT, "genome"), (GENOMES_FOR_GENOME_SPLIT - 1, "last")],
)
def test_auto_takes_genomes_if_there_are_enough(number: int, rule: str) -> None:
    _, words = assign_splits(segments_of(*[[100]] * number), SplitConfig())
    assert rule in words


@pytest.mark.parametrize(
    ("name", "held"),
    [("g1", {("g1", "r0"), ("g1", "r1")}), ("r1", {("g0", "r1"), ("g1", "r1")})],
)
def test_named_genomes_and_records_are_held_out(name: str, held: set[tuple[str, str]]) -> None:
    marked, rule = assign_splits(
        segments_of([10, 10], [10, 10], [10]), SplitConfig(holdout=(name,))
    )
    assert {(s.genome, s.record) for s in held_out(marked)} == held
    assert name in rule


def test_an_unknown_name_cannot_be_held_out() -> None:
    with pytest.raises(ConfigError, match="`g9`"):
        assign_splits(segments_of([10], [10]), SplitConfig(holdout=("g0", "g9")))


@pytest.mark.parametrize(
    ("lengths", "config", "words"),
    [
        ([[10], [10]], SplitConfig(holdout=("g0", "g1")), "no bases for training"),
        ([[1]], SplitConfig(by=SplitBy.TAIL, fraction=0.9), "no bases for training"),
        ([[4]], SplitConfig(by=SplitBy.TAIL, fraction=0.1), "too short"),
        ([[100, 100]], SplitConfig(by=SplitBy.GENOME), "a single genome or record"),
        ([[100]], SplitConfig(by=SplitBy.RECORD), "a single genome or record"),
    ],
)
def test_a_side_left_empty_is_refused(
    lengths: list[list[int]], config: SplitConfig, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        assign_splits(segments_of(*lengths), config)
    assert caught.value.hint


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_fraction_is_between_nothing_and_all(fraction: float) -> None:
    with pytest.raises(ConfigError, match="validation_fraction` cannot be"):
        SplitConfig(fraction=fraction)
