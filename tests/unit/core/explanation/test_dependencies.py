"""Dependency maps against a loop over the definition, one sequence at a time."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import base_log2
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.explanation.dependencies import (
    check_dependencies,
    check_length,
    dependency_map,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes
from tests.corpora import random_dna
from tests.tiny_models import tiny_model

EVERY = 4
BASES = encode_bases(random_dna(17, 3)[:9] + "N" + random_dna(17, 4)[:7])


def load(tokenizer_name: str, direction: str, patch: int = 1) -> LoadedModel:
    """Return a tiny model in double precision."""
    loaded = tiny_model(tokenizer_name, direction, patch=patch, tied=True)
    loaded.model.double()
    return loaded


def log_odds(loaded: LoadedModel, codes: Codes) -> np.ndarray:
    """Log2-odds of both strands, (2, L, 4), one strand of one sequence at a time."""
    rule = ScoringOptions(every=EVERY)
    strands = []
    for is_reverse in (False, True):
        read = reverse_complement_codes(codes) if is_reverse else codes
        p = 2.0 ** base_log2(loaded, read, rule)
        odds = np.log2(p / (1 - p))
        strands.append(odds[::-1, ::-1] if is_reverse else odds)
    return np.array(strands)


def maps_by_definition(
    loaded: LoadedModel, codes: Codes, *, causal: bool
) -> tuple[np.ndarray, np.ndarray]:
    length = codes.size
    strengths, pairing = np.full((2, length, length), np.nan)
    reference = log_odds(loaded, codes)
    for i in np.flatnonzero(codes < 4):
        changes, pairing[i] = [], 0
        for base in set(range(4)) - {int(codes[i])}:
            mutant = codes.copy()
            mutant[i] = base
            change = log_odds(loaded, mutant) - reference
            if causal:
                after = np.where(np.arange(length)[:, None] > i, change[0], change[1])
                changes.append(after)
            else:
                with np.errstate(invalid="ignore"):
                    seen = np.isfinite(change)
                    total = np.where(seen, change, 0).sum(axis=0)
                    changes.append(np.where(seen.any(axis=0), total / seen.sum(axis=0), np.nan))
            pairing[i] += changes[-1][:, 3 - base] - changes[-1].mean(axis=1)
        strengths[i] = np.abs(changes).max(axis=(0, 2))
        strengths[i, i] = pairing[i, i] = 0
    return strengths, pairing


@pytest.mark.parametrize(
    ("tokenizer", "direction", "patch"),
    [
        ("char", "bidirectional", 1),
        ("char", "causal", 1),
        ("char", "two-stack", 1),
        ("char", "two-stack", 4),
        ("3-mers", "bidirectional", 1),
        ("2-mers, overlapping", "bidirectional", 1),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_map_equals_its_definition(tokenizer: str, direction: str, patch: int) -> None:
    loaded = load(tokenizer, direction, patch)
    found = dependency_map(loaded, BASES, every=EVERY)
    expected = maps_by_definition(loaded, BASES, causal=direction == "causal")
    for values, reference in zip((found.strengths_LL, found.pairing_LL), expected, strict=True):
        np.testing.assert_array_equal(np.isnan(values), np.isnan(reference))
        np.testing.assert_allclose(values, reference, atol=1e-6)
        assert np.nanmax(values) > 1e-3


@pytest.mark.parametrize("direction", ["bidirectional", "causal", "two-stack"])
def test_the_reverse_complement_has_the_reversed_map(direction: str) -> None:
    loaded = load("char", direction)
    forward = dependency_map(loaded, BASES, every=1 if direction != "bidirectional" else 64)
    reverse = dependency_map(
        loaded, reverse_complement_codes(BASES), every=1 if direction != "bidirectional" else 64
    )
    for one, two in (
        (forward.strengths_LL, reverse.strengths_LL),
        (forward.pairing_LL, reverse.pairing_LL),
    ):
        np.testing.assert_allclose(one, two[::-1, ::-1], atol=1e-6)


def test_a_sequence_without_bases_has_no_map() -> None:
    loaded = load("char", "two-stack")
    assert np.isnan(dependency_map(loaded, encode_bases("NNN")).strengths_LL).all()
    assert dependency_map(loaded, encode_bases("")).pairing_LL.shape == (0, 0)


def test_models_and_sequences_that_cannot_be_explained_are_refused() -> None:
    with pytest.raises(ConfigError, match="tokens"):
        check_dependencies(load("byte pairs, 64", "causal"))
    with pytest.raises(ConfigError, match="more than one window"):
        check_length(load("char", "causal"), "x", encode_bases("A" * 65))
