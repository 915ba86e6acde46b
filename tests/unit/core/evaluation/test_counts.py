"""Tables of counts against a dictionary and a loop."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.evaluation.counts import (
    ALPHA,
    count_baseline,
    count_contexts,
    score_contexts,
    widest_order,
)
from genomeformer_cli.core.evaluation.held_out import (
    HIDE_ONE_IN,
    MARGIN,
    Asking,
    held_out_questions,
)
from genomeformer_cli.core.reporting import Silent
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.tokenizers.protocol import PAD_ID
from tests.corpora import build_corpus, random_dna

HOLD_OUT_B = SplitConfig(by=SplitBy.RECORD, holdout=("b",))


def biased_dna(length: int, seed: int) -> str:
    """After CG always T, so that neighbours tell something."""
    text = random_dna(length, seed).replace("CGA", "CGT").replace("CGC", "CGT")
    return text.replace("CGG", "CGT")


def brute_force(train: str, test: str, p: int, order: int, widest: int) -> list[float]:
    """p(base | neighbours) with a dictionary; every order counts the windows of the widest."""
    probability = [0.25] * 4
    for k in range(order + 1):
        counts: Counter[str] = Counter()
        for strand in (train, reverse_complement(train)):
            for centre in range(widest, len(strand) - widest):
                window = strand[centre - widest : centre + widest + 1]
                if "N" not in window:
                    counts[window[widest - k : widest + k + 1]] += 1
        left, right = test[p - k : p], test[p + 1 : p + k + 1]
        seen = [counts[left + base + right] for base in "ACGT"]
        probability = [
            (n + ALPHA * q) / (sum(seen) + ALPHA) for n, q in zip(seen, probability, strict=True)
        ]
    return probability


def test_scores_equal_brute_force(tmp_path: Path) -> None:
    train = biased_dna(900, 1)[:400] + "NNNN" + biased_dna(500, 2)
    test = biased_dna(60, 3)
    corpus = build_corpus(tmp_path / "c", {"a": train, "b": test}, split=HOLD_OUT_B)
    tables = count_contexts(corpus, 2, Silent())
    positions = [10, 25, 37, 48]
    asked = np.zeros((1, 60), dtype=np.bool_)
    asked[0, positions] = True
    scores = score_contexts(tables, encode_bases(test)[None], asked)
    assert len(scores) == 3
    for order in (0, 1, 2):
        wanted = [brute_force(train, test, p, order, 2) for p in positions]
        truth = ["ACGT".index(test[p]) for p in positions]
        bits = [-math.log2(p[t]) for p, t in zip(wanted, truth, strict=True)]
        right = [int(np.argmax(p)) == t for p, t in zip(wanted, truth, strict=True)]
        assert scores[order].bits_per_base == pytest.approx(sum(bits) / len(bits), abs=1e-9)
        assert scores[order].accuracy == pytest.approx(sum(right) / len(right))
        assert scores[order].num_bases == len(positions)


def test_chunks_do_not_change_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = build_corpus(
        tmp_path / "c", {"a": biased_dna(1000, 4), "b": random_dna(99)}, split=HOLD_OUT_B
    )
    whole = count_contexts(corpus, 2, Silent())
    monkeypatch.setattr("genomeformer_cli.core.evaluation.counts._CHUNK", 137)
    for one, other in zip(whole, count_contexts(corpus, 2, Silent()), strict=True):
        assert np.array_equal(one, other)


def test_the_table_learns_what_neighbours_tell(tmp_path: Path) -> None:
    sequences = {"a": biased_dna(30_000, 5), "b": biased_dna(6000, 6)}
    corpus = build_corpus(tmp_path / "c", sequences, split=HOLD_OUT_B)
    questions = held_out_questions(corpus, Asking(length=256, max_windows=50, passes=16))
    baseline = count_baseline(corpus, questions, Silent())
    assert baseline.order >= 2
    assert baseline.score.bits_per_base < 1.95


def test_a_table_is_no_wider_than_its_training_data_can_fill() -> None:
    assert widest_order(10) == 0
    orders = [widest_order(10**power) for power in range(1, 10)]
    assert orders == sorted(orders)
    assert widest_order(570_567) >= 3
    assert widest_order(10**12) == MARGIN


def test_questions_are_real_bases_with_real_neighbours_each_asked_once(tmp_path: Path) -> None:
    held = random_dna(300, 7) + "N" * 9 + random_dna(350, 8)
    corpus = build_corpus(tmp_path / "c", {"a": random_dna(500), "b": held}, split=HOLD_OUT_B)
    questions = held_out_questions(corpus, Asking(length=128, max_windows=99, passes=HIDE_ONE_IN))
    real = (questions.tokens_WL >= 5) & (questions.tokens_WL < 9)
    asked = np.logical_or.reduce(questions.hidden_PWL)
    assert questions.hidden_PWL.sum() == asked.sum()
    for row, column in zip(*np.nonzero(real), strict=True):
        reach = real[row, max(column - MARGIN, 0) : column + MARGIN + 1]
        surrounded = reach.size == 2 * MARGIN + 1 and bool(reach.all())
        assert asked[row, column] == surrounded
    gaps = [np.diff(np.flatnonzero(row)) for one in questions.hidden_PWL for row in one]
    assert min(int(gap.min()) for gap in gaps if gap.size) == HIDE_ONE_IN
    assert not asked[questions.tokens_WL == PAD_ID].any()
