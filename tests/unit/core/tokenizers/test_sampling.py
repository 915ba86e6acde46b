"""Sequences are sampled for the training of a tokenizer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.sampling import SampleRule, sample_windows


def test_sequences_within_the_limit_are_kept_in_order() -> None:
    sample = sample_windows([b"acgu", b"", b"RAC"], SampleRule(num_bases=100, window=3))
    assert sample.windows == ("ACG", "T", "NAC")
    assert (sample.num_bases, sample.num_seen) == (7, 7)


def test_the_sample_is_bounded_and_the_same_every_time() -> None:
    records = [b"ACGT" * 1000, b"AAC" * 5000, b"T" * 77]
    rule = SampleRule(num_bases=2000, window=40)
    sample = sample_windows(iter(records), rule)
    assert sample.num_bases <= 2000
    assert len(sample.windows) == 50
    assert sample.num_seen == 19_077
    assert sample == sample_windows(records, rule)
    assert sample != sample_windows(records, SampleRule(num_bases=2000, window=40, seed=1))


def test_every_window_has_the_same_chance() -> None:
    records = [bytes([base]) * 1000 for base in b"ACGT"]
    drawn: Counter[str] = Counter()
    for seed in range(100):
        rule = SampleRule(num_bases=400, window=10, seed=seed)
        drawn.update(window[0] for window in sample_windows(records, rule).windows)
    shares = np.array([drawn[base] for base in "ACGT"]) / drawn.total()
    assert drawn.total() == 4000
    assert np.abs(shares - 0.25).max() < 0.04


@pytest.mark.parametrize(("num_bases", "window"), [(10, 11), (10, 0)])
def test_an_invalid_rule_is_refused(num_bases: int, window: int) -> None:
    with pytest.raises(ConfigError, match="cannot hold a window"):
        SampleRule(num_bases=num_bases, window=window)
