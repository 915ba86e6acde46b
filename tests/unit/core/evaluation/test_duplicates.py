"""Test rows that are also training rows are counted."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.evaluation.duplicates import find_duplicates
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.corpora import random_dna


def test_sequences_that_are_also_training_rows_are_counted_on_both_strands() -> None:
    fresh = [random_dna(30, seed) for seed in range(6)]
    # Rows 6 to 9 are tested: a copy, a reverse complement, a copy in lower case, a new one.
    texts = [*fresh, fresh[0], reverse_complement(fresh[1]), fresh[2].lower(), random_dna(30, 9)]
    codes = [encode_bases(text) for text in texts]
    found = find_duplicates(codes, [(range(6), range(6, 10))])
    assert (found.num_test, found.num_same, found.num_reverse) == (4, 2, 1)
    assert found.exist
    assert "of 4 test rows 2 have" in found.warning("t")
    assert not find_duplicates(codes[:6], [(range(3), range(3, 6))]).exist


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_compared_with_the_rows_they_learn_from(seed: int) -> None:
    generator = np.random.default_rng(seed)
    texts = [random_dna(12, int(one)) for one in generator.integers(0, 15, 30)]
    codes = [encode_bases(text) for text in texts]
    order = generator.permutation(30)
    parts = [(order[10:].tolist(), order[:10].tolist()), (order[:20].tolist(), order[20:].tolist())]
    expected = sum(
        any(texts[row] == texts[other] for other in known) for known, test in parts for row in test
    )
    found = find_duplicates(codes, parts)
    assert (found.num_test, found.num_same) == (20, expected)
