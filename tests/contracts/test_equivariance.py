"""Models that read both strands give the other strand the same numbers at any length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.base_likelihood import base_log2
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.caduceus import CaduceusConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import ArchitectureConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import encode_bases, reverse_complement_codes
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import random_dna

CONTEXT = 32
# Even and odd lengths at, below and above one and three contexts.
LENGTHS = [n * CONTEXT + more for n in (1, 3) for more in (-1, 0, 1)] + [1, 47, 80]
# Those of two contexts too.
ALL_LENGTHS = [n * CONTEXT + more for n in (1, 2, 3) for more in (-2, -1, 0, 1, 2)] + [1, 47, 80]
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
SMALL = ModelConfig(
    width=16, depth=1, num_heads=2, mlp_width=24, context=CONTEXT, complement=COMPLEMENT
)
CADUCEUS = CaduceusConfig(
    vocabulary_size=len(COMPLEMENT),
    width=16,
    depth=3,
    inner_width=32,
    context=CONTEXT,
    strands="both",
    complement=COMPLEMENT,
)
MODELS: dict[str, ArchitectureConfig] = {
    "two stacks": replace(SMALL, direction="two-stack"),
    "two stacks of patches": replace(SMALL, direction="two-stack", patch=4, conv_width=3),
    "both strands": replace(SMALL, strands="both"),
    "both strands, patches": replace(SMALL, strands="both", patch=4),
    "caduceus": CADUCEUS,
    "caduceus, plain norms": replace(CADUCEUS, exchange=False),
}
WINDOWS: dict[str, dict[str, Any]] = {
    "context": {},
    "overlapping windows": {"window": 20, "stride": 7},
    "odd windows": {"window": 21, "stride": 21},
}


@pytest.fixture(params=MODELS)
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    model = build_model(MODELS[request.param], seed=4).eval()
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=tmp_path)


@pytest.fixture(
    params=[
        pytest.param(LENGTHS, id="few lengths"),
        pytest.param(ALL_LENGTHS, id="all lengths", marks=pytest.mark.slow),
    ]
)
def lengths(request: pytest.FixtureRequest) -> list[int]:
    selected: list[int] = request.param
    return selected


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_the_other_strand_gives_the_same_numbers_strands_swapped(
    loaded: LoadedModel,
    lengths: list[int],
    windows: dict[str, Any],
    pool: Literal["mean", "max"],
) -> None:
    embedder = Embedder(loaded, EmbedOptions(pool=pool, **windows))
    codes = [encode_bases(random_dna(length, length)) for length in lengths]
    vectors = embedder.embed(codes)
    others = embedder.embed([reverse_complement_codes(one) for one in codes])
    swapped = loaded.model.swap_strands(torch.from_numpy(others)).numpy()
    np.testing.assert_allclose(vectors, swapped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [None, 20, 21])
def test_the_other_strand_gives_the_same_probabilities(
    loaded: LoadedModel, lengths: list[int], window: int | None
) -> None:
    rule = ScoringOptions(window=window, every=4)
    for length in lengths[::2]:
        codes = encode_bases(random_dna(length, length))
        log2_LR = base_log2(loaded, codes, rule)
        other_LR = base_log2(loaded, reverse_complement_codes(codes), rule)
        np.testing.assert_allclose(other_LR[::-1, ::-1], log2_LR, rtol=1e-4, atol=1e-4)
