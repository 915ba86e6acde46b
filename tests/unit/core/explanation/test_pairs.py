"""Strongest pairs of a map: planted stems and repeats are found and named."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.explanation.dependencies import DependencyMap
from genomeformer_cli.core.explanation.pairs import (
    codon_periodicity,
    corrected,
    mean_by_distance,
    stem_scores,
    strongest_pairs,
)
from genomeformer_cli.core.sequence import encode_bases

STEM, LOOP = "GCGAT", "CCCCAA"


def map_of(strengths: np.ndarray, pairing: np.ndarray | None = None) -> DependencyMap:
    if pairing is None:
        pairing = np.zeros_like(strengths)
    return DependencyMap(strengths_LL=strengths, pairing_LL=pairing)


def planted(sequence: str, pairs: list[tuple[int, int]]) -> DependencyMap:
    strengths = np.full((len(sequence), len(sequence)), 0.1, dtype=np.float32)
    for i, j in pairs:
        strengths[i, j], strengths[j, i] = 2.0, 1.0
    np.fill_diagonal(strengths, 0)
    return map_of(strengths)


@pytest.mark.parametrize(
    ("sequence", "first", "second", "step", "kind", "length"),
    [
        ("CC" + STEM + LOOP + "ATCGC" + "CC", 2, 17, -1, "stem", 5),
        ("CC" + STEM + "A" + LOOP + "TATCGC" + "CC", 2, 19, -1, "inverted repeat", 6),
        ("CC" + STEM + LOOP + "GTTGC" + "CC", 2, 17, -1, "stem", 5),
        ("CCGATTGA" + "CT" + "TTGATTGACA", 2, 12, 1, "direct repeat", 6),
    ],
)
def test_a_planted_run_is_found(
    sequence: str, first: int, second: int, step: int, kind: str, length: int
) -> None:
    pairs = [(first + k, second + step * k) for k in range(length)]
    found = strongest_pairs(planted(sequence, pairs), encode_bases(sequence), limit=length)
    assert {(pair.first, pair.second) for pair in found.pairs} == set(pairs)
    run = found.runs[found.pairs[0].run or 0]
    assert (run.kind, set(pairs) <= set(run.pairs())) == (kind, True)
    assert [pair.strength for pair in found.pairs] == pytest.approx([1.5] * length)


def test_the_correction_removes_a_base_that_moves_with_all() -> None:
    weights = np.ones(30)
    weights[2] = 5
    strengths = np.outer(weights, weights).astype(np.float32)
    strengths[0, 15] = strengths[15, 0] = 3
    best = np.unravel_index(np.argmax(np.triu(corrected(strengths), 2)), strengths.shape)
    assert tuple(map(int, best)) == (0, 15)


def test_codons_show_in_the_means_by_distance() -> None:
    i, j = np.indices((60, 60))
    strengths = np.where((i - j) % 3 == 0, 2.0, 1.0).astype(np.float32)
    assert codon_periodicity(strengths) == pytest.approx(2)
    assert mean_by_distance(strengths, 4).tolist() == [1, 1, 2, 1]
    assert np.isnan(codon_periodicity(strengths[:20, :20]))


def test_missing_values_are_no_pairs() -> None:
    sequence = "ACGTACGTACGT"
    strengths = np.full((12, 12), np.nan, dtype=np.float32)
    assert strongest_pairs(map_of(strengths, strengths), encode_bases(sequence)).pairs == ()


def test_a_stem_is_found_among_bases_that_answer_every_substitution() -> None:
    generator = np.random.default_rng(0)
    pairing = generator.normal(size=(40, 40)).astype(np.float32)
    pairing *= generator.uniform(0.2, 20, (40, 1)) * generator.uniform(0.2, 20, (1, 40))
    pairing += generator.normal(0, 10, (1, 40)).astype(np.float32)
    stem = [(5 + k, 30 - k) for k in range(7)]
    for i, j in stem:
        pairing[i, j] += 2 * pairing[:, j].std()
        pairing[j, i] += 2 * pairing[:, i].std()
    scores = stem_scores(pairing)
    np.testing.assert_allclose(scores, scores.T)
    first, second = np.triu_indices(40, k=4)
    best = np.argsort(-scores[first, second])[:5]
    assert {(int(first[k]), int(second[k])) for k in best} <= set(stem)
    sequence = "A" * 5 + "ACGGCTA" + "A" * 12 + "TAGCCGT" + "A" * 9
    found = strongest_pairs(map_of(np.zeros_like(pairing), pairing), encode_bases(sequence))
    assert len(found.pairs) == 8
    assert any(set(stem) <= set(run.pairs()) for run in found.runs)
