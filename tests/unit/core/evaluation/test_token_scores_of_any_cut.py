"""Probabilities of bases and variants for every cut of sequences into tokens, by brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import (
    base_log2,
    check_scorable,
    score_record,
    token_log2,
)
from genomeformer_cli.core.evaluation.token_bases import Cut, TokenBases
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.evaluation.variants import (
    VariantOptions,
    mutagenesis_map,
    score_variants,
)
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from tests.corpora import random_dna
from tests.dna_tokenizers import TOKENIZERS
from tests.tiny_models import tiny_model

CUTS = {
    "char": Cut.BASES,
    "1-mers": Cut.BASES,
    "3-mers": Cut.KMERS,
    "2-mers, overlapping": Cut.OVERLAPPING,
    "3-mers, stride 2": Cut.OVERLAPPING,
    "5-mers, stride 2": Cut.OVERLAPPING,
    "byte pairs, 64": Cut.PIECES,
}
WITH_BASES = [name for name, cut in CUTS.items() if cut is not Cut.PIECES]
# One base or token is masked in each pass, as by the brute force.
ALONE = ScoringOptions(every=1_000)


def load(name: str, direction: str = "bidirectional") -> LoadedModel:
    return tiny_model(name, direction)


@torch.no_grad()
def probabilities(loaded: LoadedModel, ids: list[int], place: int) -> np.ndarray:
    """Return exp of the logits of all tokens at a place."""
    logits = loaded.model(torch.tensor([ids]), None)[0, place].double()
    return (logits - logits.max()).exp().numpy()


def brute_force(loaded: LoadedModel, codes: Codes, base: int) -> list[float]:
    """Return log2 probabilities of A C G T at a base: a sum over all tokens that fit the rest."""
    tokenizer, causal = loaded.tokenizer, loaded.model.config.causal
    ids = tokenizer.encode(codes).astype(int).tolist()
    spans = tokenizer.offsets(codes).tolist()
    covering = [number for number, (first, end) in enumerate(spans) if first <= base < end]
    asked = covering[0] if causal else covering[(len(covering) - 1) // 2]
    first, end = spans[asked]
    if causal:
        shown = {place for start, stop in spans[:asked] for place in range(start, stop)}
        weights = probabilities(loaded, ids[:asked], asked - 1)
    else:
        visible = [span for number, span in enumerate(spans) if number not in covering]
        shown = {place for start, stop in visible for place in range(start, stop)}
        assert tokenizer.mask_id is not None
        hidden = [tokenizer.mask_id if n in covering else number for n, number in enumerate(ids)]
        weights = probabilities(loaded, hidden, asked)
    totals = np.zeros(4)
    for number, token in enumerate(tokenizer.tokens):
        if len(token) != end - first or not tokenizer.is_real[number]:
            continue
        letters = encode_bases(token)
        fits = all(
            letters[place - first] == codes[place]
            for place in range(first, end)
            if place in shown and place != base
        )
        if fits:
            totals[letters[base - first]] += weights[number]
    return [float(value) for value in np.log2(totals / totals.sum())]


@pytest.mark.parametrize(("name", "cut"), CUTS.items())
def test_cut_is_read_from_the_vocabulary(name: str, cut: Cut) -> None:
    assert TokenBases(TOKENIZERS[name]()).cut is cut


@pytest.mark.parametrize("direction", ["bidirectional", "causal"])
@pytest.mark.parametrize("name", WITH_BASES)
@pytest.mark.parametrize("length", [17, 24])
def test_bases_equal_a_sum_over_all_tokens(name: str, direction: str, length: int) -> None:
    loaded = load(name, direction)
    codes = encode_bases(random_dna(length, length)).copy()
    codes[9] = 4
    log2_LR = base_log2(loaded, codes, ALONE)
    first = int(loaded.tokenizer.offsets(codes)[0, 1]) if direction == "causal" else 0
    assert np.isnan(log2_LR[9]).all()
    assert np.isnan(log2_LR[:first]).all()
    for base in range(first, length):
        if base == 9:
            continue
        expected = brute_force(loaded, codes, base)
        np.testing.assert_allclose(log2_LR[base], expected, atol=1e-4, err_msg=str(base))
    assert np.allclose(np.exp2(log2_LR[first:9]).sum(axis=1), 1)


@pytest.mark.parametrize("name", WITH_BASES)
def test_windows_and_passes_predict_every_base_once(name: str) -> None:
    loaded = load(name)
    codes = encode_bases(random_dna(200, 3))
    log2_LR = base_log2(loaded, codes, ScoringOptions(window=32, every=4))
    assert np.isfinite(log2_LR).all()
    np.testing.assert_allclose(np.exp2(log2_LR).sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("direction", ["bidirectional", "causal"])
def test_pieces_are_scored_as_tokens(direction: str) -> None:
    loaded = load("byte pairs, 64", direction)
    codes = encode_bases(random_dna(60, 8))
    ids = loaded.tokenizer.encode(codes).astype(int).tolist()
    expected = []
    for place in range(direction == "causal", len(ids)):
        if direction == "causal":
            weights = probabilities(loaded, ids[:place], place - 1)
        else:
            hidden = [*ids]
            assert loaded.tokenizer.mask_id is not None
            hidden[place] = loaded.tokenizer.mask_id
            weights = probabilities(loaded, hidden, place)
        weights = weights * loaded.tokenizer.is_real
        expected.append(np.log2(weights[ids[place]] / weights.sum()))
    log2_T = token_log2(loaded, codes, ALONE)
    np.testing.assert_allclose(log2_T[int(direction == "causal") :], expected, atol=1e-4)
    score, log2_LR = score_record(loaded, "r", codes, ALONE)
    spans = loaded.tokenizer.offsets(codes)
    assert score.num_scored == codes.size - (spans[0, 1] if direction == "causal" else 0)
    assert score.log_likelihood == pytest.approx(sum(expected) * np.log(2), abs=1e-3)
    assert np.isnan(log2_LR).all()
    with pytest.raises(ConfigError, match="probabilities of tokens, not of bases"):
        mutagenesis_map(load("byte pairs, 64"), codes, 16)


def odds(loaded: LoadedModel, codes: Codes, variant: Variant) -> tuple[float | None, str]:
    score = score_variants(
        loaded, [variant], {"c": codes}, VariantOptions(window=70), SilentReporter()
    )[0]
    return score.log_odds, score.note


def snv(codes: Codes, position: int, alt: str, ref: str | None = None) -> Variant:
    reference = ref or "ACGT"[codes[position]]
    return Variant(chromosome="c", position=position + 1, id=".", ref=reference, alt=alt)


@pytest.mark.parametrize("name", ["2-mers, overlapping", "3-mers, stride 2", "1-mers"])
def test_substitutions_compare_the_probabilities_of_the_base(name: str) -> None:
    loaded = load(name)
    codes = encode_bases(random_dna(60, 4))
    alt = "ACGT"[(codes[30] + 1) % 4]
    both = []
    for strand, place, letter in (
        (codes, 30, encode_bases(alt)[0]),
        (3 - codes[::-1], 29, 3 - encode_bases(alt)[0]),
    ):
        log2 = brute_force(loaded, strand, place)
        both.append(log2[letter] - log2[strand[place]])
    assert odds(loaded, codes, snv(codes, 30, alt))[0] == pytest.approx(np.mean(both), abs=1e-4)


def sum_of(loaded: LoadedModel, ids: list[int], places: range) -> float:
    """Return the log2 probability of tokens that are masked together."""
    tokenizer: Tokenizer = loaded.tokenizer
    assert tokenizer.mask_id is not None
    hidden = [tokenizer.mask_id if n in places else number for n, number in enumerate(ids)]
    total = 0.0
    for place in places:
        weights = probabilities(loaded, hidden, place) * tokenizer.is_real
        total += float(np.log2(weights[ids[place]] / weights.sum()))
    return total


@pytest.mark.parametrize("name", ["3-mers", "byte pairs, 64"])
@pytest.mark.parametrize(("ref_size", "alt"), [(1, None), (3, None), (1, "TTG"), (4, "A")])
def test_longer_tokens_are_hidden_where_they_differ(
    name: str, ref_size: int, alt: str | None
) -> None:
    loaded = load(name)
    codes = encode_bases(random_dna(60, 6))
    ref = "".join("ACGT"[code] for code in codes[30 : 30 + ref_size])
    alt = alt or ref.translate(str.maketrans("ACGT", "CATG"))
    found, note = odds(loaded, codes, snv(codes, 30, alt, ref))
    if name == "3-mers" and len(alt) != len(ref):
        assert found is None
        assert note == "changes the length"
        return
    changed = np.concatenate([codes[:30], encode_bases(alt), codes[30 + ref_size :]])
    sums = []
    for one, two in ((codes, changed), (3 - codes[::-1], 3 - changed[::-1])):
        ids = [loaded.tokenizer.encode(window).astype(int).tolist() for window in (one, two)]
        start = next(n for n, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
        end = next(
            n for n, (a, b) in enumerate(zip(ids[0][::-1], ids[1][::-1], strict=False)) if a != b
        )
        end = min(end, min(map(len, ids)) - start)
        ref_sum, alt_sum = (sum_of(loaded, row, range(start, len(row) - end)) for row in ids)
        sums.append(alt_sum - ref_sum)
    assert found == pytest.approx(np.mean(sums), abs=1e-4)


def test_a_vocabulary_without_a_mask_cannot_be_scored_by_hiding() -> None:
    class Unmasked:
        mask_id = None

    loaded = load("char")
    unmasked = LoadedModel(model=loaded.model, tokenizer=Unmasked(), folder=Path())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no mask token"):
        check_scorable(unmasked)
