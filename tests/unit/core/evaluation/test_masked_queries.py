"""Queries of models of any tokens, comparable in bits per base."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.counts import ALPHA, count_baseline
from genomeformer_cli.core.evaluation.markov import count_markov, markov_baseline, score_markov
from genomeformer_cli.core.evaluation.masked_queries import Queries, QueryConfig, make_queries
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
from tests.corpora import build_corpus, random_dna

ASKING = QueryConfig(length=200, max_windows=99, passes=64)


def corpus_of(folder: Path, dna: str, **settings: int) -> Corpus:
    tokenizer = build_tokenizer("kmer", **settings) if settings else None
    return build_corpus(folder, {"a": dna}, tokenizer=tokenizer)


def test_overlapping_tokens_are_queried_for_hidden_bases_only(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", random_dna(4000), k=5, stride=1)
    questions = make_queries(corpus, ASKING)
    assert questions.base_mask_PWL is not None
    for bases_WL, hidden_WL, asked_WL in zip(
        questions.base_mask_PWL, questions.hidden_PWL, questions.is_query, strict=True
    ):
        for row, base in zip(*bases_WL.nonzero(), strict=True):
            shows = range(base - 4, base + 1)
            assert hidden_WL[row, list(shows)].all()
            (token,) = (one for one in shows if asked_WL[row, one])
            assert base - token == questions.base_offset
        assert hidden_WL.sum() == 5 * bases_WL.sum()


@pytest.mark.parametrize("max_windows", [3, 99])
def test_the_order_in_which_genomes_are_named_does_not_change_the_questions(
    tmp_path: Path, max_windows: int
) -> None:
    files = []
    for number in range(3):
        files.append(tmp_path / f"g{number}.fa")
        files[-1].write_text(f">r{number}\n{random_dna(3000 + 500 * number, number)}\n")
    found: list[Queries] = []
    for order in itertools.permutations(files):
        store = Store(tmp_path / f"store{len(found)}")
        request = TokenizeRequest(name="c", files=order)
        tokenize_genomes(request, reporter=SilentReporter(), store=store)
        corpus = Corpus(store.path(Kind.CORPORA, "c"))
        asking = QueryConfig(length=50, max_windows=max_windows, passes=4)
        found.append(make_queries(corpus, asking))
    for other in found[1:]:
        np.testing.assert_array_equal(other.tokens_WL, found[0].tokens_WL)
        np.testing.assert_array_equal(other.hidden_PWL, found[0].hidden_PWL)


def skewed_dna(length: int) -> str:
    """Each base is the one before it, or the next of A C G T, seven times out of ten."""
    generator = np.random.default_rng(0)
    steps = generator.choice(4, length, p=[0.1, 0.7, 0.1, 0.1])
    return "".join("ACGT"[code % 4] for code in np.cumsum(steps))


def test_the_table_answers_overlapping_tokens_as_it_answers_bases(tmp_path: Path) -> None:
    dna = skewed_dna(30_000)
    scores = []
    for folder, settings in (("a", {}), ("b", {"k": 4, "stride": 1})):
        corpus = corpus_of(tmp_path / folder, dna, **settings)
        baseline = count_baseline(corpus, make_queries(corpus, ASKING), SilentReporter())
        assert baseline.looks == "a side"
        scores.append(baseline.score.bits_per_base)
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert max(scores) < 1.3


def test_whole_tokens_follow_bases_enough_for_the_chain(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", random_dna(30_000), k=4, stride=4)
    questions = make_queries(corpus, ASKING)
    assert questions.bases_V is not None
    assert not questions.is_query[:, :, :12].any()
    baseline = markov_baseline(corpus, questions, SilentReporter())
    assert baseline.looks == "before"
    assert baseline.score.num_bases == 4 * (baseline.score.num_tokens or 0)
    assert baseline.score.bits_per_base == pytest.approx(2.0, abs=0.05)
    assert baseline.score.bits_per_token == pytest.approx(8.0, abs=0.2)


def test_a_markov_model_counts_and_scores_as_a_loop_does(tmp_path: Path) -> None:
    dna = "ACGGT" * 200 + random_dna(800)
    corpus = corpus_of(tmp_path / "c", dna, k=3, stride=3)
    tables = count_markov(corpus, 2, SilentReporter())
    (segment,) = corpus.segments("train")
    strand = corpus.tokenizer.decode(corpus.tokens(segment))
    other = strand[::-1].translate(str.maketrans("ACGT", "TGCA"))

    def probability(before: str, base: str, order: int) -> float:
        lower = 0.25 if order == 0 else probability(before, base, order - 1)
        context = before[len(before) - order :]
        counts = [
            sum(s.startswith(context + one, i) for s in (strand, other) for i in range(len(s)))
            for one in "ACGT"
        ]
        return (counts["ACGT".index(base)] + ALPHA * lower) / (sum(counts) + ALPHA)

    columns = np.array([["ACGT".index(one) for one in "GTACG"]], dtype=np.uint8)
    expected = [probability("GT", "A", 2), probability("TA", "C", 2), probability("AC", "G", 2)]
    score = score_markov(tables, columns, np.array([3]), 2)
    assert score.bits_per_base == pytest.approx(-np.log2(expected).mean())
    guess = ""
    for _ in range(3):
        guess += max("ACGT", key=lambda one: probability("GT" + guess, one, 2))
    assert score.accuracy == (guess == "ACG")


def test_strides_between_are_refused(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", random_dna(500), k=4, stride=2)
    with pytest.raises(ConfigError, match="stride of 2") as caught:
        make_queries(corpus, ASKING)
    assert "--stride 1" in str(caught.value.hint)


def test_both_strands_are_refused_where_they_cannot_be_queried(tmp_path: Path) -> None:
    both = QueryConfig(length=100, max_windows=9, passes=4, both_strands=True)
    corpus = corpus_of(tmp_path / "c", random_dna(4000), k=4, stride=4)
    with pytest.raises(ConfigError, match="both strands"):
        make_queries(corpus, both)
    with pytest.raises(ConfigError, match="both strands"):
        make_queries(
            corpus_of(tmp_path / "d", random_dna(4000)),
            QueryConfig(length=100, max_windows=9, passes=4, both_strands=True, causal=True),
        )
