"""Counts of a genome and areas under curves, compared with plain loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from genomeformer_cli.core.evaluation.class_metrics import average_precision
from genomeformer_cli.core.evaluation.count_odds import (
    REACH,
    WORD,
    CountOdds,
    codon_usage_odds,
    has_known_neighbours,
)
from genomeformer_cli.core.evaluation.counts import ALPHA
from genomeformer_cli.core.evaluation.grouped_ranking import Ranking, auroc_gain, group_weights
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.corpora import random_dna

SEQUENCE = "N".join((random_dna(700, 1), random_dna(400, 2)))


def occurrences(text: str, word: str) -> int:
    """Count a word, overlaps included."""
    return sum(text[at : at + len(word)] == word for at in range(len(text) - len(word) + 1))


def test_odds_are_those_of_plain_counting() -> None:
    counts = CountOdds([encode_bases(SEQUENCE)])
    both = f"{SEQUENCE}N{reverse_complement(SEQUENCE)}"
    places = np.array([20, 333, 650, 900])
    alts = np.array(["ACGT".index(SEQUENCE[at]) ^ 1 for at in places], dtype=np.uint8)
    odds_KN, known_KN = counts.contexts(encode_bases(SEQUENCE), places, alts)
    words_N = counts.words(encode_bases(SEQUENCE), places, alts)
    widest = len(odds_KN) - 1
    for column, (at, alt) in enumerate(
        zip(places.tolist(), "".join("ACGT"[a] for a in alts), strict=True)
    ):
        ref, chances = SEQUENCE[at], dict.fromkeys("ACGT", 0.25)
        for order in range(widest + 1):
            found = dict.fromkeys("ACGT", 0.0)
            # Shorter contexts are counted where the widest one fits, too.
            for middle in range(widest, len(both) - widest):
                window = both[middle - widest : middle + widest + 1]
                near = window[widest - order : widest] + window[widest + 1 : widest + 1 + order]
                around = SEQUENCE[at - order : at] + SEQUENCE[at + 1 : at + 1 + order]
                if "N" not in window and near == around:
                    found[window[widest]] += 1
            found[ref] -= 1
            total = sum(found.values()) + ALPHA
            chances = {base: (found[base] + ALPHA * chances[base]) / total for base in "ACGT"}
            wanted = np.log2(chances[alt] / chances[ref])
            assert odds_KN[order, column] == pytest.approx(wanted)
            assert known_KN[order, column] == pytest.approx(np.log2(chances[ref]))
        change = 0.0
        mutant = SEQUENCE[:at] + alt + SEQUENCE[at + 1 :]
        for start in range(at - WORD + 1, at + 1):
            change += np.log2(occurrences(both, mutant[start : start + WORD]) + 1)
            change -= np.log2(occurrences(both, SEQUENCE[start : start + WORD]))
        assert words_N[column] == pytest.approx(change)


def test_neighbours_are_known_away_from_n_and_from_the_ends() -> None:
    flags = has_known_neighbours(encode_bases("A" * 20 + "N" + "C" * 14))
    assert np.flatnonzero(flags).tolist() == [*range(REACH, 14), *range(27, 29)]
    assert not has_known_neighbours(encode_bases("ACGT")).any()


def test_codon_usage_leaves_the_codon_itself_out() -> None:
    counts = np.zeros(64, dtype=np.int64)
    counts[3] = 8
    odds = codon_usage_odds(counts, np.array([3, 5]), np.array([5, 3]))
    assert odds == pytest.approx([-3, np.log2(9)])


ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]), st.booleans(), st.integers(0, 3)),
    min_size=2,
    max_size=40,
).filter(lambda rows: len({positive for _, positive, _ in rows}) == 2)


@given(ROWS, st.integers(0, 3))
def test_areas_are_those_of_scikit_learn(rows: list[tuple[float, bool, int]], seed: int) -> None:
    scores, positive, groups = (np.array(column) for column in zip(*rows, strict=True))
    ranking = Ranking(scores, positive, groups)
    weights = np.random.default_rng(seed).integers(1, 4, scores.size).astype(float)
    for weights_N in (np.ones(scores.size), weights):
        assert ranking.auroc(weights_N) == pytest.approx(
            roc_auc_score(positive, scores, sample_weight=weights_N)
        )
        assert ranking.auprc(weights_N) == pytest.approx(
            average_precision_score(positive, scores, sample_weight=weights_N)
        )


def test_groups_are_drawn_whole_and_intervals_hold_the_value() -> None:
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    positive = draw.random(100) < 0.5
    good, bad = positive + draw.normal(0, 0.5, 100), draw.normal(0, 1, 100)
    for weights_N in np.concatenate(list(group_weights(groups, 3))):
        assert all(len(set(weights_N[groups == group])) == 1 for group in range(20))
    interval = Ranking(good, positive, groups).auroc_interval(0)
    assert interval.low < interval.value < interval.high
    gain = auroc_gain(Ranking(good, positive, groups), Ranking(bad, positive, groups), 0)
    assert gain.low > 0
    alone = Ranking(good, positive, np.zeros(100, dtype=np.int64))
    assert not alone.auprc_interval(0).is_known
    assert not auroc_gain(alone, alone, 0).is_known


def test_no_positive_row_has_no_precision() -> None:
    assert np.isnan(average_precision(np.array([0, 1]), np.array([False, False]), np.ones(2)))
