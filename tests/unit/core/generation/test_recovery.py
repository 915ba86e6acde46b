"""Sequence recovery: a chain that recovers a chain, spectra, and the rows of a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.corpus.reader import open_corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.held_out_sequences import HeldOutSequence
from genomeformer_cli.core.generation.recovery import (
    RecoveryConfig,
    divergence,
    evaluate_recovery,
    spectrum,
)
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases, reverse_complement_codes
from genomeformer_cli.core.store.layout import Store
from tests.corpora import random_dna
from tests.models import CORPUS
from tests.unit.core.generation.test_generation import load

SMALL = RecoveryConfig(windows=20, prompt=24, bases=12, kmer=2, rounds=2)


def sequences(*letters: str) -> list[HeldOutSequence]:
    return [
        HeldOutSequence(group="x", record=str(n), codes=encode_bases(one))
        for n, one in enumerate(letters)
    ]


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
def test_rows_of_a_result(direction: str, trained_cache: Path) -> None:
    corpus = open_corpus(Store(trained_cache), CORPUS)
    held_out = sequences(random_dna(4_000, 1), "N" * 300)
    result = evaluate_recovery(load(direction=direction), held_out, corpus, SMALL, SilentReporter())
    assert result.is_filled == (direction != "causal")
    length = 36 if direction == "causal" else 60
    assert (result.num_windows, result.num_skipped) == (20, 300 // length)
    names = [row.predictor for row in result.rows]
    assert names == ["model", "Markov chain", "random", "other real stretches"]
    model, chain, *_ = result.rows
    for row in result.rows:
        # Random bases cannot be recovered by any generator: 240 bases, four standard errors.
        assert abs(row.recovery.value - 0.25) < 4 * (0.25 * 0.75 / 240) ** 0.5
        assert row.recovery.low < row.recovery.value < row.recovery.high
        assert 0 < row.divergence < (1 if row is model else 0.1)
    assert model.lead is None
    assert chain.lead is not None
    assert chain.lead.value == pytest.approx(model.recovery.value - chain.recovery.value)
    again = evaluate_recovery(load(direction=direction), held_out, corpus, SMALL, SilentReporter())
    assert again == result


def test_repeats_are_recovered_by_those_that_know_them(trained_cache: Path) -> None:
    corpus = open_corpus(Store(trained_cache), CORPUS)
    (segment, *_) = corpus.segments("train")
    letters = corpus.tokenizer.decode(corpus.tokens(segment, 0, 3_000))
    real = evaluate_recovery(load(), sequences(letters), corpus, SMALL, SilentReporter())
    noise = evaluate_recovery(
        load(), sequences(random_dna(3_000, 1)), corpus, SMALL, SilentReporter()
    )
    # The chain has counted the sequence, so that its order grows and it is right more often.
    chains = [next(row for row in one.rows if row.order is not None) for one in (real, noise)]
    assert chains[0].recovery.value > chains[1].recovery.value + 0.05
    assert (chains[0].order or 0) > (chains[1].order or 0)


def test_without_a_corpus_there_is_no_chain() -> None:
    held_out = sequences(random_dna(600, 1))
    result = evaluate_recovery(load(), held_out, None, SMALL, SilentReporter())
    assert [row.order for row in result.rows] == [None] * 3
    with pytest.raises(ConfigError, match="hold 3 windows of 36 known bases"):
        evaluate_recovery(load(), sequences("ACGT" * 27), None, SMALL, SilentReporter())
    with pytest.raises(ConfigError, match="hold no word of 3"):
        RecoveryConfig(bases=2)


def test_spectra_count_both_strands() -> None:
    codes = encode_bases("AAAC")[None]
    frequencies = spectrum(codes, 2)
    assert frequencies[[0b0000, 0b0001, 0b1011, 0b1111]] == pytest.approx(
        [2 / 6, 1 / 6, 1 / 6, 2 / 6]
    )
    turned = reverse_complement_codes(codes[0])[None]
    np.testing.assert_allclose(spectrum(turned, 2), frequencies)
    assert divergence(frequencies, frequencies) == 0
    apart = np.eye(16)
    assert divergence(apart[0], apart[1]) == pytest.approx(1)
    assert divergence(apart[0], (apart[0] + apart[1]) / 2) == pytest.approx(0.3112781)
