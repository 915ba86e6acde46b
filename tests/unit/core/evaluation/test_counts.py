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
    LONGEST_LEFT,
    ContextCounter,
    best_tables,
    count_and_score,
    count_baseline,
    widest_order,
)
from genomeformer_cli.core.evaluation.masked_queries import (
    HIDE_ONE_IN,
    MARGIN,
    QueryConfig,
    make_queries,
)
from genomeformer_cli.core.evaluation.wide_counts import ContextQueries, Sides
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.tokenizers.protocol import PAD_ID
from tests.corpora import build_corpus, random_dna

HOLD_OUT_B = SplitConfig(by=SplitBy.RECORD, holdout=("b",))


def biased_dna(length: int, seed: int) -> str:
    """After CG always T, so that neighbours tell something."""
    text = random_dna(length, seed).replace("CGA", "CGT").replace("CGC", "CGT")
    return text.replace("CGG", "CGT")


def brute_force(train: str, test: str, p: int, order: int, widest: int) -> list[float]:
    """p(base | neighbours) with a dictionary; orders up to a dense table's count its windows."""
    probability = [0.25] * 4
    for k in range(order + 1):
        counts: Counter[str] = Counter()
        reach = max(k, widest)
        for strand in (train, reverse_complement(train)):
            for centre in range(reach, len(strand) - reach):
                window = strand[centre - reach : centre + reach + 1]
                if "N" not in window:
                    counts[window[reach - k : reach + k + 1]] += 1
        left, right = test[p - k : p], test[p + 1 : p + k + 1]
        seen = [counts[left + base + right] for base in "ACGT"]
        probability = [
            (n + ALPHA * q) / (sum(seen) + ALPHA) for n, q in zip(seen, probability, strict=True)
        ]
    return probability


def test_answers_equal_brute_force(tmp_path: Path) -> None:
    train = biased_dna(900, 1)[:400] + "NNNN" + biased_dna(500, 2)
    test = train[100:125] + biased_dna(60, 3)
    corpus = build_corpus(tmp_path / "c", {"a": train, "b": test}, split=HOLD_OUT_B)
    widest = widest_order(corpus.manifest.num_train)
    assert widest == 2
    positions = np.array([12, 25, 37, 48, 84])
    queries = ContextQueries.of_parts([(encode_bases(test), positions)])
    answers = list(count_and_score(corpus, queries, SilentReporter()))
    assert [answer.order for answer in answers] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12]
    for answer in answers[:8]:
        wanted = [
            brute_force(train, test, p, min(answer.order, len(test) - 1 - p), widest)
            for p in positions
            if p < 80
        ]
        truth = ["ACGT".index(test[p]) for p in positions[:4]]
        bits = [-math.log2(p[t]) for p, t in zip(wanted, truth, strict=True)]
        right = [int(np.argmax(p)) == t for p, t in zip(wanted, truth, strict=True)]
        assert answer.scores.bits_N[:4] == pytest.approx(bits, abs=1e-9)
        assert answer.scores.correct_N[:4].tolist() == right
    # No neighbour on the right: narrower counts remain.
    assert answers[-1].scores.bits_N[4] == answers[3].scores.bits_N[4]
    assert answers[-1].scores.bits_N[0] < answers[2].scores.bits_N[0]


def test_parts_of_a_corpus_are_counted_by_themselves(tmp_path: Path) -> None:
    first, second, test = biased_dna(3_000, 1), random_dna(3_000, 2), biased_dna(400, 3)
    sequences = {"a": first, "c": second, "b": test}
    corpus = build_corpus(tmp_path / "c", sequences, split=HOLD_OUT_B)
    centres = np.arange(12, 380)
    queries = ContextQueries.of_parts([(encode_bases(test), centres)])
    by_part = list(count_and_score(corpus, queries, SilentReporter(), Sides.BOTH, GroupBy.RECORD))
    assert {answer.group for answer in by_part} == {"", "a", "c"}
    for name, sequence in (("a", first), ("c", second)):
        alone = build_corpus(
            tmp_path / f"only-{name}", {"a": sequence, "b": test}, split=HOLD_OUT_B
        )
        expected = {x.order: x.scores for x in count_and_score(alone, queries, SilentReporter())}
        for answer in by_part:
            if answer.group == name:
                # The dense tables of a larger corpus count the windows of a wider order.
                bits = float(expected[answer.order].bits_N.mean())
                assert float(answer.scores.bits_N.mean()) == pytest.approx(bits, abs=0.01)
    every = {("all", "all"): np.ones(centres.size, dtype=np.bool_)}
    (best,) = best_tables(by_part, every).values()
    assert best.group == "a"
    lowest = min(float(answer.scores.bits_N.mean()) for answer in by_part)
    assert float(best.scores.bits_N.mean()) == lowest
    # Selected on the first half, scored on the second.
    is_first_N = np.arange(centres.size) < centres.size // 2
    first_half, second_half = {("all", "all"): is_first_N}, {("all", "all"): ~is_first_N}
    (selected,) = best_tables(by_part, second_half, first_half).values()
    expected_table = min(by_part, key=lambda x: float(x.scores.bits_N[is_first_N].mean()))
    assert (selected.group, selected.order) == (expected_table.group, expected_table.order)
    assert selected.scores.bits_N.tolist() == expected_table.scores.bits_N[~is_first_N].tolist()


@pytest.mark.parametrize(("sides", "order"), [(Sides.BOTH, 2), (Sides.LEFT, 4)])
def test_tables_of_a_real_genome_equal_a_dictionary(sides: Sides, order: int) -> None:
    phage = sample_genomes()[0]
    install_sample(phage, store=Store())
    (record,) = read_records(Store().entry(Kind.GENOMES, phage.name).path / phage.fasta)
    genome = record.sequence.upper()
    counter = ContextCounter(sides, order)
    counter.add(encode_bases(genome))
    tables = counter.tables().tables
    for k in range(order + 1):
        counts: Counter[tuple[int, ...]] = Counter()
        after = order if sides is Sides.BOTH else 0
        offsets = [offset for distance in range(1, k + 1) for offset in sides.offsets(distance)]
        for strand in (genome, reverse_complement(genome)):
            for centre in range(order, len(strand) - after):
                counts[tuple("ACGT".index(strand[centre + o]) for o in (*offsets, 0))] += 1
        digits = tables[k].reshape((4,) * (len(offsets) + 1))
        assert int(digits.sum()) == sum(counts.values())
        assert all(digits[word] == number for word, number in counts.items())


def test_left_neighbours_equal_brute_force() -> None:
    train, test = biased_dna(3_000, 1), biased_dna(80, 3)
    counter = ContextCounter(Sides.LEFT, 3)
    counter.add(encode_bases(train))
    strands = (train, reverse_complement(train))
    by_order = list(counter.tables().probabilities(encode_bases(test), np.arange(3, 80)))
    for p, probabilities in enumerate(by_order[3], start=3):
        share = 0.25
        for k in range(4):
            windows = [s[i - k : i + 1] for s in strands for i in range(3, len(s))]
            context = test[p - k : p]
            seen = sum(window[:-1] == context for window in windows)
            same = sum(window == context + test[p] for window in windows)
            share = (same + ALPHA * share) / (seen + ALPHA)
        assert probabilities["ACGT".index(test[p])] == pytest.approx(share, abs=1e-9)
        if p > 12:
            break


@pytest.mark.parametrize("sides", list(Sides))
def test_chunks_do_not_change_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sides: Sides
) -> None:
    train = biased_dna(1000, 4)
    corpus = build_corpus(tmp_path / "c", {"a": train, "b": random_dna(99)}, split=HOLD_OUT_B)
    # The queries are of the training sequence: every context is counted, also across chunks.
    queries = ContextQueries.of_parts([(encode_bases(train), np.arange(16, 980))])
    whole = list(count_and_score(corpus, queries, SilentReporter(), sides))
    monkeypatch.setattr("genomeformer_cli.core.evaluation.counts._CHUNK", 137)
    parts = list(count_and_score(corpus, queries, SilentReporter(), sides))
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.scores.bits_N, other.scores.bits_N)


def test_the_table_learns_what_neighbours_tell(tmp_path: Path) -> None:
    sequences = {"a": biased_dna(30_000, 5), "b": biased_dna(6000, 6)}
    corpus = build_corpus(tmp_path / "c", sequences, split=HOLD_OUT_B)
    questions = make_queries(corpus, QueryConfig(length=256, max_windows=50, passes=16))
    baseline = count_baseline(corpus, questions, SilentReporter())
    assert baseline.order >= 2
    assert baseline.score.bits_per_base < 1.95


def test_a_table_is_as_wide_as_its_training_data_fills() -> None:
    assert widest_order(10) == 0
    orders = [widest_order(10**power) for power in range(1, 10)]
    assert orders == sorted(orders)
    assert widest_order(570_567) >= 3
    assert widest_order(10**12) == MARGIN
    assert widest_order(10**12, Sides.LEFT) == LONGEST_LEFT
    assert widest_order(570_567, Sides.LEFT) == 9


def test_questions_are_real_bases_with_real_neighbours_each_queried_once(tmp_path: Path) -> None:
    held = random_dna(300, 7) + "N" * 9 + random_dna(350, 8)
    corpus = build_corpus(tmp_path / "c", {"a": random_dna(500), "b": held}, split=HOLD_OUT_B)
    questions = make_queries(corpus, QueryConfig(length=128, max_windows=99, passes=HIDE_ONE_IN))
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


@pytest.mark.parametrize("sides", list(Sides))
def test_order_zero_is_the_composition_of_both_strands(sides: Sides) -> None:
    counter = ContextCounter(sides, 0)
    counter.add(encode_bases("AAAC"))
    assert counter.tables().tables[0].tolist() == [3, 1, 1, 3]


def test_a_causal_model_is_compared_with_counts_of_the_bases_before(tmp_path: Path) -> None:
    dna = random_dna(300) * 12
    corpus = build_corpus(tmp_path / "c", {"a": dna})
    asking = QueryConfig(length=128, max_windows=50, passes=16, causal=True)
    questions = make_queries(corpus, asking)
    asked = np.logical_or.reduce(questions.is_query)
    assert np.flatnonzero(asked.any(axis=0)).min() >= LONGEST_LEFT
    baseline = count_baseline(corpus, questions, SilentReporter(), Sides.LEFT)
    assert baseline.looks == "before"
    assert "bases before" in baseline.description
    # In what repeats itself every 300 bases, few bases before tell what comes.
    assert baseline.order >= 4
    assert baseline.score.bits_per_base < 1.0
    assert baseline.score.num_bases == asked.sum()
