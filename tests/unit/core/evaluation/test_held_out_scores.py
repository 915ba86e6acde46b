"""Held-out predictions against a loop over positions, for models of every direction."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import base_log2
from genomeformer_cli.core.evaluation.held_out_scores import (
    HeldOutConfig,
    HeldOutScores,
    random_twins,
    score_held_out,
)
from genomeformer_cli.core.evaluation.held_out_sequences import (
    HeldOutSequence,
    corpus_sequences,
)
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import build_corpus, random_dna
from tests.dna_tokenizers import TOKENIZERS

HELD = random_dna(150, 3) + "N" + random_dna(60, 4)


def loaded(direction: str, attention: str) -> LoadedModel:
    config = ModelConfig(
        context=40,
        width=16,
        depth=1,
        num_heads=2,
        mlp_width=16,
        direction=direction,  # type: ignore[arg-type]
        attention=AttentionConfig(name=attention),
        complement=(0, 1, 2, 3, 4, 8, 7, 6, 5, 9) if direction == "two-stack" else (),
    )
    model = build_model(config, seed=1).eval()
    with torch.no_grad():
        head = model.get_parameter("head.weight")
        head.normal_(generator=torch.Generator().manual_seed(2))
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=Path())


def asked(model: LoadedModel, folder: Path, config: HeldOutConfig) -> tuple[HeldOutScores, ...]:
    split = SplitConfig(by=SplitBy.RECORD, holdout=("b",))
    corpus = build_corpus(folder, {"a": random_dna(5_000), "b": HELD}, split=split)
    texts = corpus_sequences(corpus, GroupBy.RECORD)
    return score_held_out(model, texts, corpus, config, SilentReporter())


@torch.no_grad()
@pytest.mark.parametrize("attention", ["gated-linear", "softmax"])
def test_a_causal_model_is_queried_base_after_base(tmp_path: Path, attention: str) -> None:
    model = loaded("causal", attention)
    (found,) = asked(model, tmp_path / "c", HeldOutConfig(windows=5))
    carried = attention == "gated-linear"
    assert ("its record" in found.question) == carried
    codes = encode_bases(HELD)
    reach = 6  # the order of a table that 5,000 bases can fill
    bits, right = [], []
    # Five windows of 40 bases: the first 200; softmax sees no farther back than its window.
    for place in range(200):
        start = 0 if carried else place // 40 * 40
        window = codes[place - reach : place + 1]
        if place - start < reach or (window > 3).any():
            continue
        tokens = torch.from_numpy(codes[start:place].astype(np.int64))[None] + 5
        probability = torch.softmax(model.model(tokens, None)[0, -1, 5:9].double(), dim=0)
        bits.append(-math.log2(float(probability[codes[place]])))
        right.append(int(probability.argmax()) == codes[place])
    score = found.score_of("model")
    assert score.num_bases == len(bits) > 100
    assert score.bits_per_base == pytest.approx(np.mean(bits), abs=1e-4)
    assert score.accuracy == pytest.approx(np.mean(right))
    assert sum(place.num_bases for place in found.places) == len(bits)


@torch.no_grad()
def test_two_stacks_are_queried_for_every_base(tmp_path: Path) -> None:
    model = loaded("two-stack", "gated-linear")
    (found,) = asked(model, tmp_path / "c", HeldOutConfig())
    codes = encode_bases(HELD)
    bits = []
    for start in range(0, 200, 40):
        tokens = torch.from_numpy(codes[start : start + 40].astype(np.int64))[None] + 5
        logits = model.model(tokens, None)[0, :, 5:9].double()
        for place in range(6, 34):
            if (codes[start + place - 6 : start + place + 7] < 4).all():
                truth = int(codes[start + place])
                bits.append(-math.log2(float(torch.softmax(logits[place], dim=0)[truth])))
    score = found.score_of("model")
    assert score.num_bases == len(bits)
    assert score.bits_per_base == pytest.approx(np.mean(bits), abs=1e-4)


def test_a_masked_model_is_queried_twice_and_always_alike(tmp_path: Path) -> None:
    model = loaded("bidirectional", "softmax")
    config = HeldOutConfig(passes=32, rate=0.3, num_twins=2)
    sparse, dense = asked(model, tmp_path / "c", config)
    assert "one base in 64" in sparse.question
    assert "30%" in dense.question
    for one in (sparse, dense):
        assert [row.who for row in one.rows] == ["model", "counts", "random", "random"]
        assert len({row.num_bases for row in one.rows}) == 1
        model_row, counts_row, *twins = one.rows
        assert model_row.gain is not None
        gain = counts_row.bits.value - model_row.bits.value
        assert model_row.gain.value == pytest.approx(gain)
        assert [row.detail for row in twins] == [0, 1]
        assert twins[0].bits != twins[1].bits
    again = asked(model, tmp_path / "d", config)
    assert again == (sparse, dense)


def test_without_a_corpus_there_is_not_a_table() -> None:
    text = HeldOutSequence(group="x", record="x", codes=encode_bases(HELD))
    model = loaded("bidirectional", "softmax")
    found = score_held_out(model, [text], None, HeldOutConfig(), SilentReporter())
    assert {row.who for row in found[0].rows} == {"model", "random"}
    assert all(row.gain is None for row in found[0].rows)


def with_tokens(name: str, direction: str) -> LoadedModel:
    """Return a model of other tokens than single bases."""
    tokenizer = TOKENIZERS[name]()
    config = replace(
        loaded(direction, "softmax").model.config,  # type: ignore[type-var]
        vocabulary_size=len(tokenizer.tokens),
    )
    model = build_model(config, seed=1).eval()
    with torch.no_grad():
        head = model.get_parameter("head.weight")
        head.normal_(generator=torch.Generator().manual_seed(2))
    return LoadedModel(model=model, tokenizer=tokenizer, folder=Path())


@pytest.mark.parametrize("direction", ["bidirectional", "causal"])
@pytest.mark.parametrize("name", ["3-mers", "2-mers, overlapping"])
def test_a_model_of_kmers_is_compared_at_single_bases(
    tmp_path: Path, name: str, direction: str
) -> None:
    model = with_tokens(name, direction)
    (found,) = asked(model, tmp_path / "c", HeldOutConfig(windows=5))
    codes = encode_bases(HELD)
    bits, right = [], []
    # Windows of 40 bases; a table that 5,000 bases can fill sees 6 neighbours.
    for start in range(0, 200, 40):
        window = codes[start : start + 40]
        log2_LR = base_log2(model, window, ScoringOptions())
        behind = 6 if direction == "bidirectional" else 0
        for place in range(6, window.size - behind):
            if (window[place - 6 : place + behind + 1] < 4).all():
                bits.append(-log2_LR[place, window[place]])
                right.append(log2_LR[place].argmax() == window[place])
    score = found.score_of("model")
    assert score.num_bases == len(bits) > 100
    assert score.bits_per_base == pytest.approx(np.mean(bits), abs=1e-6)
    assert score.accuracy == pytest.approx(np.mean(right))
    assert {row.who for row in found.rows} == {"model", "counts", "random"}


def test_a_model_of_pieces_is_refused() -> None:
    model = with_tokens("byte pairs, 64", "bidirectional")
    with pytest.raises(ConfigError, match="`bpe`"):
        score_held_out(model, [], None, HeldOutConfig(), SilentReporter())


def test_twins_have_other_weights_than_the_model() -> None:
    model = loaded("bidirectional", "softmax")
    twins = random_twins(model, 3, 2)
    assert list(twins) == [3, 4]
    heads = [one.get_parameter("head.weight") for one in (twins[3], twins[4], model.model)]
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
