"""Divergence of predictions for every cut of sequences into tokens, compared with plain softmax."""

from __future__ import annotations

from itertools import product, takewhile

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from genomeformer_cli.core.evaluation.variants import VariantOptions, score_variants
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.corpora import random_dna
from tests.tiny_models import tiny_model

# Two stacks need tokens that do not overlap, which would show the predicted base.
MODELS = [
    *product(["char", "3-mers", "byte pairs, 64"], ["bidirectional", "causal", "two-stack"]),
    *product(["3-mers, stride 2"], ["bidirectional", "causal"]),
]
SEQUENCE = random_dna(60, 3)
OPTIONS = VariantOptions(window=64, has_divergence=True)


@torch.no_grad()
def predictions(loaded: LoadedModel, ids: list[int]) -> np.ndarray:
    """Return the probabilities of the real tokens at each place of a window."""
    logits = loaded.model(torch.tensor([ids]), None)[0].double().numpy()
    chances = np.exp(logits - logits.max(axis=1, keepdims=True)) * loaded.tokenizer.is_real
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def num_equal(one: list[int], two: list[int]) -> int:
    pairs = zip(one, two, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def by_softmax(loaded: LoadedModel, ref: str, alt: str) -> float:
    ids = [loaded.tokenizer.encode(encode_bases(x)).astype(int).tolist() for x in (ref, alt)]
    one, two = (predictions(loaded, row) for row in ids)
    before = num_equal(*ids)
    after = min(num_equal(ids[0][::-1], ids[1][::-1]), min(map(len, ids)) - before)
    total = 0.0
    for place in range(before):
        total += jensenshannon(one[place], two[place], base=2) ** 2
    for place in range(1, after + 1):
        total += jensenshannon(one[-place], two[-place], base=2) ** 2
    return total


@pytest.mark.parametrize(("name", "direction"), MODELS)
@pytest.mark.parametrize("alt", ["substitution", "insertion"])
def test_divergence_is_that_of_plain_softmax(name: str, direction: str, alt: str) -> None:
    loaded = tiny_model(name, direction)
    ref = SEQUENCE[30]
    allele = "ACGT"[("ACGT".index(ref) + 1) % 4] + ("" if alt == "substitution" else "GT")
    variant = Variant(chromosome="c", position=31, id=".", ref=ref, alt=allele)
    (score,) = score_variants(
        loaded, [variant], {"c": encode_bases(SEQUENCE)}, OPTIONS, SilentReporter()
    )
    mutant = SEQUENCE[:30] + allele + SEQUENCE[31:]
    wanted = [
        by_softmax(loaded, *texts)
        for texts in (
            (SEQUENCE, mutant),
            (reverse_complement(SEQUENCE), reverse_complement(mutant)),
        )
    ]
    assert score.divergence == pytest.approx(np.mean(wanted), abs=1e-4)
    assert score.divergence is not None
    assert score.divergence > 0
    assert score.vectors_2E is not None
    same = Variant(chromosome="c", position=31, id=".", ref=ref, alt=ref)
    (nothing,) = score_variants(
        loaded, [same], {"c": encode_bases(SEQUENCE)}, OPTIONS, SilentReporter()
    )
    assert nothing.divergence == pytest.approx(0, abs=1e-9)
    assert nothing.embedding_distance == 0
