"""Scores of sequences and variants against a loop that asks for one base after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.evaluation.base_likelihood import base_log2, score_record
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions, scoring_windows
from genomeformer_cli.core.evaluation.variants import (
    VariantOptions,
    mutagenesis_map,
    score_variants,
)
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases, reverse_complement_codes
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import MASK_ID
from tests.corpora import random_dna

KINDS = [
    ("bidirectional", "softmax"),
    ("causal", "gated-linear"),
    ("causal", "softmax"),
    ("two-stack", "gated-linear"),
    ("both strands", "softmax"),
]


def loaded(kind: str, attention: str, context: int = 40) -> LoadedModel:
    both = kind == "both strands"
    config = ModelConfig(
        context=context,
        width=16,
        depth=1,
        num_heads=2,
        mlp_width=16,
        direction="bidirectional" if both else kind,  # type: ignore[arg-type]
        strands="both" if both else "one",
        attention=AttentionConfig(name=attention),
        complement=(0, 1, 2, 3, 4, 8, 7, 6, 5, 9) if both or kind == "two-stack" else (),
    )
    model = build_model(config, seed=1).eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(2)
        for name, weight in model.named_parameters():
            if name.endswith("head.weight"):
                weight.normal_(generator=generator)
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=Path())


@torch.no_grad()
def alone(model: LoadedModel, sequence: str, place: int, start: int = 0) -> list[float]:
    """log2 of the probabilities of A C G T at one place, the model asked for it alone."""
    tokens = torch.from_numpy(encode_bases(sequence).astype(np.int64))[None, start:] + 5
    at = place - start
    if model.model.config.direction == "bidirectional":
        tokens[0, at] = MASK_ID
    if model.model.config.direction == "causal":
        tokens, at = tokens[:, :at], at - 1
    logits = model.model(tokens, None)[0, at, 5:9].double()
    return [float(one) for one in torch.log_softmax(logits, dim=0) / np.log(2)]


def test_a_model_of_both_strands_gives_either_strand_the_same_output() -> None:
    model = loaded("two-stack", "gated-linear")
    codes = encode_bases(random_dna(40, 5))
    one = base_log2(model, codes, ScoringOptions())
    np.testing.assert_array_equal(base_log2(model, codes, ScoringOptions(both_strands=True)), one)
    other = base_log2(model, reverse_complement_codes(codes), ScoringOptions())
    np.testing.assert_allclose(other[::-1, ::-1], one, atol=1e-5)


@given(length=st.integers(1, 300), window=st.integers(2, 50), causal=st.booleans())
def test_every_base_is_taken_once_and_has_its_context(
    length: int, window: int, causal: bool
) -> None:
    places = scoring_windows(length, window, causal=causal)
    taken = [base for place in places for base in range(place.first, place.last)]
    assert taken == list(range(length))
    for place in places:
        assert 0 <= place.start <= place.first <= place.last <= place.stop <= length
        assert place.stop - place.start <= window
        if causal and place.start:
            assert place.first - place.start >= window // 2


@pytest.mark.parametrize(("direction", "attention"), KINDS)
def test_bases_are_predicted_as_if_queried_alone(direction: str, attention: str) -> None:
    model = loaded(direction, attention)
    sequence = random_dna(33, 5)
    found = base_log2(model, encode_bases(sequence), ScoringOptions(every=1_000))
    if direction == "causal":
        assert np.isnan(found[0]).all()
    for place in range(1, 33):
        assert found[place] == pytest.approx(alone(model, sequence, place), abs=1e-4)


def test_a_long_record_is_carried_or_windowed() -> None:
    sequence = random_dna(150, 6)
    codes = encode_bases(sequence)
    carried, windowed = (loaded("causal", name) for name in ("gated-linear", "softmax"))
    whole = base_log2(carried, codes, ScoringOptions())
    parts = base_log2(windowed, codes, ScoringOptions())
    assert np.isfinite(whole[1:]).all()
    assert np.isfinite(parts[1:]).all()
    assert whole[140] == pytest.approx(alone(carried, sequence, 140), abs=1e-4)
    # Windows of 40 begin at 0, 20, ..., 100, 110; base 125 is in the one from 100.
    assert parts[125] == pytest.approx(alone(windowed, sequence, 125, start=100), abs=1e-4)


def test_hiding_fewer_at_a_time_changes_the_answer_and_costs_passes() -> None:
    model = loaded("bidirectional", "softmax")
    codes = encode_bases(random_dna(40, 7))
    one, many = (base_log2(model, codes, ScoringOptions(every=every)) for every in (40, 2))
    assert np.isfinite(many).all()
    assert not np.allclose(one, many, atol=1e-3)


@pytest.mark.parametrize(("direction", "attention"), KINDS)
def test_both_strands_together_are_the_same_from_either(direction: str, attention: str) -> None:
    model = loaded(direction, attention)
    codes = encode_bases(random_dna(32, 8))
    rule = ScoringOptions(both_strands=True, every=64)
    ahead = base_log2(model, codes, rule)
    back = base_log2(model, reverse_complement_codes(codes), rule)[::-1, ::-1]
    known = np.isfinite(ahead) & np.isfinite(back)
    assert known[1:-1].all()
    np.testing.assert_allclose(ahead[known], back[known], atol=1e-5)
    if direction in ("two-stack", "both strands"):  # these read both strands alike as it is
        single = base_log2(model, codes, ScoringOptions(every=64))
        np.testing.assert_allclose(ahead, single, atol=1e-4)


def test_sums_of_a_record() -> None:
    model = loaded("bidirectional", "softmax")
    codes = encode_bases("NNACGTACGGTTN")
    score, log2 = score_record(model, "r", codes, ScoringOptions())
    assert (score.length, score.num_scored) == (13, 10)
    assert score.perplexity == pytest.approx(2**score.bits_per_base)
    assert score.log_likelihood == pytest.approx(-score.bits_per_base * 10 * np.log(2))
    np.testing.assert_allclose((2.0 ** log2[2:12]).sum(axis=1), 1)
    nothing, _ = score_record(model, "n", encode_bases("NN"), ScoringOptions())
    assert nothing.num_scored == 0
    assert np.isnan(nothing.bits_per_base)


def variant(position: int, ref: str, alt: str) -> Variant:
    return Variant(chromosome="c", position=position, id=".", ref=ref, alt=alt)


@pytest.mark.parametrize(("direction", "attention"), KINDS)
def test_log_odds_of_a_substitution_are_those_of_the_map(direction: str, attention: str) -> None:
    model = loaded(direction, attention)
    sequence = random_dna(30, 9)
    codes = encode_bases(sequence)
    table = mutagenesis_map(model, codes, every=1_000)
    letters = [(place, base) for place in (3, 14, 29) for base in "ACGT" if base != sequence[place]]
    variants = [variant(place + 1, sequence[place], base) for place, base in letters]
    scores = score_variants(
        model, variants, {"c": codes}, VariantOptions(window=30), SilentReporter()
    )
    for (place, base), score in zip(letters, scores, strict=True):
        assert score.note == ""
        assert score.log_odds == pytest.approx(table[place, "ACGT".index(base)], abs=1e-4)
        assert score.embedding_distance is not None
        assert score.embedding_distance > 0
    own = table[np.arange(30), codes]
    assert np.abs(own).max() == 0


@torch.no_grad()
def test_a_causal_model_weighs_whole_windows_indels_too() -> None:
    model = loaded("causal", "gated-linear")
    sequence = random_dna(30, 10)
    changed = sequence[:10] + "TT" + sequence[11:]

    def total(one: str) -> float:
        places = range(1, len(one))
        return sum(alone(model, one, place)["ACGT".index(one[place])] for place in places)

    turn = str.maketrans("ACGT", "TGCA")
    back, back_changed = (one.translate(turn)[::-1] for one in (sequence, changed))
    wanted = (total(changed) - total(sequence) + total(back_changed) - total(back)) / 2
    (score,) = score_variants(
        model,
        [variant(11, sequence[10], "TT")],
        {"c": encode_bases(sequence)},
        VariantOptions(window=31),
        SilentReporter(),
    )
    assert score.log_odds == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(
    ("one", "note"),
    [
        (variant(3, "T", "C"), "reference mismatch: the genome has `G` there"),
        (variant(3, "G", "<DEL>"), "symbolic allele: `<DEL>` names no sequence"),
        (variant(3, "G", "*"), "spanning deletion: `*` marks a base that another row deletes"),
        (variant(3, "G", "N"), "unknown base: an allele holds `N` or another ambiguity code"),
        (variant(99, "G", "C"), "beyond the record: it reaches to base 99 of `c`, which has 8"),
        (variant(9, "G", "C"), "telomere: position 9 is behind the last base"),
        (variant(3, "G", "GA"), "changes the length"),
        (variant(3, "G", "A" * 21), "too long: an allele of 21 bases, and the window holds 20"),
    ],
)
def test_a_variant_that_cannot_be_scored_states_why(one: Variant, note: str) -> None:
    model = loaded("bidirectional", "softmax")
    (score,) = score_variants(
        model, [one], {"c": encode_bases("ACGTACGT")}, VariantOptions(window=20), SilentReporter()
    )
    assert (score.log_odds, score.note) == (None, note)
    (lost,) = score_variants(
        model, [one], {"chrC": encode_bases("ACGT")}, VariantOptions(window=20), SilentReporter()
    )
    assert lost.note == "unknown record: the genome has no `c`, but `chrC`"


@pytest.mark.parametrize(("direction", "attention"), KINDS)
def test_variants_together_are_scored_as_each_alone(direction: str, attention: str) -> None:
    model = loaded(direction, attention)
    sequence = random_dna(60, 11)
    genome = {"c": encode_bases(sequence), "d": encode_bases(sequence[:9])}
    variants = [
        variant(5, sequence[4], "ACGT"[("ACGT".index(sequence[4]) + 1) % 4]),
        variant(30, sequence[29:33], sequence[29]),
        variant(50, sequence[49], sequence[49] + "ACGTACGT"),
        Variant(chromosome="d", position=2, id="x", ref=sequence[1], alt="N"),
        Variant(
            chromosome="d",
            position=3,
            id="y",
            ref=sequence[2],
            alt="ACGT"[("ACGT".index(sequence[2]) + 2) % 4],
        ),
    ]
    together = score_variants(model, variants, genome, VariantOptions(window=24), SilentReporter())
    assert [score.variant for score in together] == variants
    for one, score in zip(variants, together, strict=True):
        (alone_,) = score_variants(
            model, [one], genome, VariantOptions(window=24), SilentReporter()
        )
        assert score.note == alone_.note
        assert score.log_odds == pytest.approx(alone_.log_odds, abs=1e-4)
        assert score.embedding_distance == pytest.approx(alone_.embedding_distance, abs=1e-5)
    assert (together[1].log_odds is not None) == (direction == "causal")
