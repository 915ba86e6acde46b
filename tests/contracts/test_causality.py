"""Likelihoods of every causal model sum to one, and two stacks never see the base they predict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.evaluation.base_likelihood import score_record
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, write_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer

REAL = CharTokenizer().real_ids
CAUSAL = [name for name, entry in ATTENTIONS.items() if entry.causal]
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "convolution": {"conv_width": 4},
    "patches": {"patch": 3},
    "patches and convolution": {"patch": 2, "conv_width": 3},
}
# Windows, chunks and features so few that short rows have several.
SMALL = AttentionConfig(num_features=8, window=2, hash_chunk=2, hash_rounds=2)
MODEL = ModelConfig(width=16, depth=2, num_heads=2, mlp_width=24, context=32)


def drawn_model(config: ModelConfig) -> Any:
    """Return a model in float64 whose answers are far from even."""
    model = build_model(config, seed=3).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("head.weight"):
                parameter.mul_(50)
    return model


def log_probabilities(model: Any, tokens_BL: Tensor) -> Tensor:
    """Return log-probabilities (B, L, 4) of the bases after each position."""
    with torch.inference_mode():
        logits_BLV = model(tokens_BL, None)
    return logits_BLV[..., REAL.start : REAL.stop].log_softmax(dim=-1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attention", [*CAUSAL, "softmax+linear"])
def test_probabilities_of_all_continuations_sum_to_one(attention: str, shape: str) -> None:
    attentions = replace(SMALL, name=attention)
    model = drawn_model(replace(MODEL, attention=attentions, direction="causal", **SHAPES[shape]))
    prefix = [REAL.start + base for base in (2, 0, 3)]
    rows = [[*prefix, *rest] for rest in itertools.product(REAL, repeat=5)]
    tokens_BL = torch.tensor(rows)
    after_BLR = log_probabilities(model, tokens_BL)
    truth_BL = tokens_BL[:, 3:] - REAL.start
    nats_BL = after_BLR[:, 2:-1].gather(2, truth_BL[..., None])[..., 0]
    total = nats_BL.sum(dim=1).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-9, atol=0.0)
    # The answers differ, or the sum would be one whatever was seen.
    assert nats_BL.std(dim=0).min() > 0.05


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attention", CAUSAL)
def test_a_base_does_not_change_its_own_logits(attention: str, shape: str, tied: bool) -> None:
    config = replace(
        MODEL,
        attention=replace(SMALL, name=attention),
        direction="two-stack",
        tied=tied,
        complement=COMPLEMENT,
        **SHAPES[shape],
    )
    model = drawn_model(config)
    length = 23
    generator = torch.Generator().manual_seed(1)
    tokens_1L = torch.randint(REAL.start, REAL.stop, (1, length), generator=generator)
    places_L = torch.arange(length)
    own_LR = log_probabilities(model, tokens_1L)[0]
    for shift in (1, 2, 3):
        changed_LL = tokens_1L.repeat(length, 1)
        bases_L = tokens_1L[0] - REAL.start
        changed_LL[places_L, places_L] = (bases_L + shift) % len(REAL) + REAL.start
        changed_LLR = log_probabilities(model, changed_LL)
        torch.testing.assert_close(changed_LLR[places_L, places_L], own_LR)
        others = (changed_LLR - own_LR).abs().amax(dim=(1, 2))
        assert others.min() > 1e-6, "other bases hear of the change"


@pytest.mark.parametrize("attention", CAUSAL)
def test_scores_of_all_sequences_sum_to_one(attention: str, tmp_path: Any) -> None:
    """`score` sums log-likelihoods from the second base on, given the first."""
    config = replace(MODEL, attention=replace(SMALL, name=attention), direction="causal")
    write_model(drawn_model(config).float(), CharTokenizer(), tmp_path)
    seal(tmp_path)
    loaded: LoadedModel = read_model(tmp_path)
    total = 0.0
    for rest in itertools.product("ACGT", repeat=3):
        codes = encode_bases("G" + "".join(rest))
        score, _ = score_record(loaded, "x", codes, ScoringOptions())
        assert score.num_scored == 3
        total += 2.0 ** (-score.bits_per_base * score.num_scored)
    assert total == pytest.approx(1.0, rel=1e-5)
