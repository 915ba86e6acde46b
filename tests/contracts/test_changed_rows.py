"""Changed copies of rows have the features of a whole forward pass, and cost less than one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.evaluation.variants import (
    VariantOptions,
    mutagenesis_map,
    score_variants,
)
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.changed_rows import ChangedRows
from genomeformer_cli.core.models.genomeformer.block import Block
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import random_dna

COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
LENGTH = 45


def config(attention: str, **options: Any) -> ModelConfig:
    return ModelConfig(
        context=64,
        width=16,
        depth=2,
        num_heads=2,
        mlp_width=16,
        attention=AttentionConfig(name=attention, num_features=8, window=5, hash_chunk=4),
        complement=COMPLEMENT,
        **options,
    )


KINDS = [
    *(
        config(name, direction=direction)
        for name, entry in ATTENTIONS.items()
        for direction in ("causal", "two-stack")
        if entry.causal
    ),
    config("softmax", direction="two-stack", patch=8, conv_width=4),
    config("linear+local", direction="two-stack", patch=4, tied=False),
    config("softmax", direction="causal", residual="reversible"),
    config("softmax", strands="both"),
]


def name_of(kind: ModelConfig) -> str:
    return f"{kind.mechanism}-{kind.direction}-{kind.patch}-{kind.residual}-{kind.strands}"


def model_of(kind: ModelConfig) -> Model:
    return build_model(kind, seed=1).double().eval()


def changed_rows(rows_BL: Tensor, inserted: int) -> ChangedRows:
    """Replace a token of rows by others, at the ends and in the middle; one row is unchanged."""
    places = [(1, 0), (0, 0), (0, 20), (1, 21), (1, 39), (0, LENGTH - 1)]
    rows, before, after = [], [], []
    for number, place in places:
        row = rows_BL[number].tolist()
        middle = [5 + (row[place] - 4) % 4] * (1 + inserted)
        rows.append(row[:place] + middle + row[place + 1 :])
        before.append(place)
        after.append(LENGTH - place - 1)
    if not inserted:
        rows.append(rows_BL[0].tolist())
        before.append(LENGTH)
        after.append(0)
        places.append((0, LENGTH))
    return ChangedRows(
        tokens_CM=torch.tensor(rows),
        row_C=[number for number, _ in places],
        before_C=before,
        after_C=after,
    )


@pytest.mark.parametrize("inserted", [0, 6])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@torch.no_grad()
def test_changed_rows_have_the_features_of_whole_passes(kind: ModelConfig, inserted: int) -> None:
    model = model_of(kind)
    rows_BL = torch.randint(5, 9, (2, LENGTH), generator=torch.Generator().manual_seed(3))
    changed = changed_rows(rows_BL, inserted)
    layers = ((2,), (2,)) if kind.residual == "reversible" else ((0, 1, 2), (1,))
    for wanted_layers in (layers, ((2,), (2,))):
        computed = model.changed_layers(rows_BL, changed, wanted_layers)
        wanted = Model.changed_layers(model, rows_BL, changed, wanted_layers)
        for features, plain in zip(computed, wanted, strict=True):
            assert len(features) == len(plain)
            for of_layer, plain_of_layer in zip(features, plain, strict=True):
                torch.testing.assert_close(of_layer, plain_of_layer, atol=1e-10, rtol=1e-8)


class Positions:
    """Count of the positions that blocks compute."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.number = 0
        add_mlp = Block.add_mlp

        def counted(block: Block, x_BLE: Tensor) -> Tensor:
            self.number += x_BLE.shape[:-1].numel()
            return add_mlp(block, x_BLE)

        patch.setattr(Block, "add_mlp", counted)


@pytest.fixture
def positions(monkeypatch: pytest.MonkeyPatch) -> Positions:
    return Positions(monkeypatch)


def loaded_of(kind: ModelConfig, layers: str = "last") -> LoadedModel:
    return LoadedModel(
        model=model_of(kind), tokenizer=CharTokenizer(), folder=Path(), layers=layers
    )


def substitution(sequence: str, place: int) -> Variant:
    ref = sequence[place]
    alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
    return Variant(chromosome="c", position=place + 1, id=f"v{place}", ref=ref, alt=alt)


@pytest.mark.parametrize("layers", ["last", "1", "0,1", "mean"])
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], *KINDS[-4:]], ids=name_of)
def test_variants_have_the_scores_of_whole_passes(
    kind: ModelConfig, layers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind.residual == "reversible" or (kind.patch > 1 and layers == "mean"):
        layers = "last"
    loaded = loaded_of(kind, layers)
    sequence = random_dna(200, 5)
    variants = [substitution(sequence, place) for place in (0, 90, 91, 199)]
    variants.append(replace(variants[1], ref=sequence[90:92], alt=sequence[90]))
    options = VariantOptions(window=60, has_divergence=True)
    genome = {"c": encode_bases(sequence)}
    scores = score_variants(loaded, variants, genome, options, SilentReporter())
    # Whole passes over both alleles and both strands.
    for owner in {type(module) for module in loaded.model.modules() if isinstance(module, Model)}:
        monkeypatch.setattr(owner, "changed_layers", Model.changed_layers)
        if owner.is_equivariant is not Model.is_equivariant:
            monkeypatch.setattr(owner, "is_equivariant", False)
    plain = score_variants(loaded, variants, genome, options, SilentReporter())
    for score, wanted in zip(scores, plain, strict=True):
        assert score.log_odds == pytest.approx(wanted.log_odds, abs=1e-6)
        assert score.embedding_distance == pytest.approx(wanted.embedding_distance, rel=1e-5)
        assert score.divergence == pytest.approx(wanted.divergence, abs=1e-6)
        assert score.vectors_2E is not None
        assert wanted.vectors_2E is not None
        np.testing.assert_allclose(score.vectors_2E, wanted.vectors_2E, atol=1e-5)


def test_variants_compute_few_positions(positions: Positions) -> None:
    kind = config("softmax", direction="two-stack")
    loaded, window, sequence = loaded_of(kind), 64, random_dna(300, 6)
    genome = {"c": encode_bases(sequence)}
    variants = [substitution(sequence, place) for place in range(100, 116)]
    options = VariantOptions(window=window)
    score_variants(loaded, variants, genome, options, SilentReporter())
    # A window without, and half a window with the change, of both stacks; each alone: six windows.
    per_variant = positions.number / len(variants) / kind.depth / 2
    assert per_variant <= 1.6 * window
    positions.number = 0
    again = [replace(variant, id="again", line=9) for variant in variants]
    scores = score_variants(loaded, [*variants, *again], genome, options, SilentReporter())
    assert positions.number <= 1.6 * window * len(variants) * kind.depth * 2
    assert [score.variant for score in scores] == [*variants, *again]
    assert [s.log_odds for s in scores[:16]] == [s.log_odds for s in scores[16:]]


def test_a_map_computes_only_what_follows_each_change(positions: Positions) -> None:
    kind = config("softmax", direction="causal")
    sequence = random_dna(64, 7)
    mutagenesis_map(loaded_of(kind), encode_bases(sequence), every=16)
    mutants = 3 * len(sequence)
    # Whole mutants on both strands: every position of each.
    assert positions.number <= 0.62 * 2 * kind.depth * mutants * len(sequence)
