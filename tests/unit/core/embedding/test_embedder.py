"""Vectors do not depend on batches, order or padding, and nothing vanishes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import Ids
from tests.corpora import random_dna

LENGTHS = (1, 40, 3, 64, 65, 200, 17, 2, 64, 129)


@pytest.fixture(params=list(ATTENTIONS))
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    attention = AttentionConfig(name=request.param, num_features=16)
    config = ModelConfig(
        context=64, width=16, depth=2, num_heads=2, mlp_width=24, attention=attention
    )
    model = Encoder(config, seed=2).eval()
    return LoadedModel(model=model, tokenizer=CharTokenizer(), folder=tmp_path)


def tokens(text: str) -> Ids:
    return CharTokenizer().encode(encode_bases(text))


def embed(loaded: LoadedModel, texts: list[str], tokens_per_batch: int = 256) -> np.ndarray:
    return embed_tokens(
        loaded,
        [tokens(text) for text in texts],
        EmbedOptions(window=64, tokens_per_batch=tokens_per_batch),
        reporter=SilentReporter(),
    )


def test_vectors_do_not_depend_on_batch_or_order(loaded: LoadedModel) -> None:
    texts = [random_dna(length, seed) for seed, length in enumerate(LENGTHS)]
    together = embed(loaded, texts)
    assert together.dtype == np.float32
    assert together.shape == (len(texts), 16)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(embed(loaded, [text])[0], together[row], atol=1e-5)
    for size in (1, 64, 10_000):
        np.testing.assert_allclose(embed(loaded, texts, size), together, atol=1e-5)
    backwards = embed(loaded, texts[::-1])[::-1]
    np.testing.assert_allclose(backwards, together, atol=1e-5)


def test_a_vector_is_the_mean_over_real_bases(loaded: LoadedModel) -> None:
    text = "ACGTNNACGRT"
    hidden = loaded.model.hidden(torch.from_numpy(tokens(text).astype(np.int64))[None], None)[0]
    real = [position for position, base in enumerate(text) if base in "ACGT"]
    expected = hidden[real].mean(dim=0).detach().numpy()
    np.testing.assert_allclose(embed(loaded, [text])[0], expected, atol=1e-5)


def test_a_long_sequence_is_the_mean_of_its_windows(loaded: LoadedModel) -> None:
    text = random_dna(150, 1)
    parts = [text[:50], text[50:100], text[100:]]
    expected = embed(loaded, parts).mean(axis=0)
    np.testing.assert_allclose(embed(loaded, [text])[0], expected, atol=1e-5)


def test_sequences_without_a_real_base_are_nan_rows(loaded: LoadedModel) -> None:
    vectors = embed(loaded, ["", "ACGT", "NNNN"])
    assert np.isnan(vectors).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(vectors[1], embed(loaded, ["ACGT"])[0], atol=1e-5)


def test_no_sequences_give_no_rows(loaded: LoadedModel) -> None:
    assert embed(loaded, []).shape == (0, 16)
