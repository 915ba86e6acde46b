"""Bits, hits and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.evaluation.token_scores import (
    TokenScores,
    bootstrap_mean,
    concatenate_scores,
    scores_from_probabilities,
)


def test_bits_and_hits_of_given_probabilities() -> None:
    given = np.array([[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]])
    answers = scores_from_probabilities(given, np.array([1, 3]))
    assert answers.bits_N == pytest.approx([2.0, -np.log2(0.4)])
    assert answers.correct_N.tolist() == [False, True]
    assert concatenate_scores([answers, answers]).score().num_bases == 4
    assert answers.score().bits_per_base == pytest.approx((2.0 - np.log2(0.4)) / 2)
    assert answers.score().num_tokens is None


def test_an_interval_holds_its_mean_and_is_wider_where_groups_agree_within() -> None:
    generator = np.random.default_rng(0)
    of_group = generator.normal(size=40)
    groups = np.repeat(np.arange(40), 25)
    values = of_group[groups] + 0.1 * generator.normal(size=groups.size)
    by_group = bootstrap_mean(values, groups, np.random.default_rng(1))
    by_value = bootstrap_mean(values, np.arange(values.size), np.random.default_rng(1))
    assert by_group.value == pytest.approx(values.mean())
    assert by_group.low < by_group.value < by_group.high
    # The standard error of 40 independent means, 1.96 times to either side.
    wanted = 2 * 1.96 * of_group.std() / np.sqrt(40)
    assert by_group.high - by_group.low == pytest.approx(wanted, rel=0.15)
    assert by_group.high - by_group.low > 3 * (by_value.high - by_value.low)


def test_a_single_window_has_no_interval() -> None:
    values = np.array([1.0, 2.0, 6.0])
    found = bootstrap_mean(values, np.zeros(3, dtype=np.int64), np.random.default_rng(0))
    assert found.value == pytest.approx(3.0)
    assert not found.is_known
    two = bootstrap_mean(values, np.array([0, 0, 1]), np.random.default_rng(0))
    assert two.is_known
    assert two.low < two.high


def test_the_same_seed_gives_the_same_interval() -> None:
    values, groups = np.arange(30.0), np.arange(30) // 3
    one, other = (bootstrap_mean(values, groups, np.random.default_rng(4)) for _ in range(2))
    assert one == other


def test_a_score_of_nothing_chosen_is_refused() -> None:
    empty = TokenScores(bits_N=np.empty(0), correct_N=np.empty(0, dtype=np.bool_))
    assert concatenate_scores([empty, empty]).bits_N.size == 0


def test_whole_tokens_are_scored_by_the_base_and_by_the_token() -> None:
    bits, right = np.array([6.0, 2.0, 1.0]), np.array([False, True, True])
    answers = TokenScores(bits_N=bits, correct_N=right, bases_N=np.array([3, 2, 1]))
    score = concatenate_scores([answers, answers]).score()
    assert (score.num_bases, score.num_tokens) == (12, 6)
    assert score.bits_per_base == pytest.approx(1.5)
    assert score.bits_per_token == pytest.approx(3.0)
    assert score.accuracy == pytest.approx(2 / 3)
