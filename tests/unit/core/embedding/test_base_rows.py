"""Rows of bases with tokens of other lengths than one base, on both strands."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes
from tests.published_folders import FOLDERS, GROUPED, stock
from tests.strategies import dna, repeatable

WRITERS = {
    **{
        name: FOLDERS[name]
        for name in ("dnabert", "nucleotide-transformer", "dnabert2", "hyenadna")
    },
    # Its first token is a mark without a base.
    "gemma": stock("Gemma", "pieces", **GROUPED),
}
# As many tokens as bases, of other lengths; runs of N before, between and after bases.
EXAMPLES = ("ACG", "ACGTNNNACGTACGTACGT", "NNNACGTTGCATTGACNACG", "CATTGACNN", "TTTTTTTTTTTT")


@lru_cache
def model_of(name: str) -> LoadedModel:
    folder = Path(mkdtemp())
    WRITERS[name](folder)
    return read_model(folder)


def rows_of(
    loaded: LoadedModel, codes: Codes, rc: Literal["none", "mean", "concat"] = "none"
) -> np.ndarray:
    embedder = Embedder(loaded, EmbedOptions(pool="none", rc=rc))
    rows = np.empty((codes.size, embedder.width), dtype=np.float32)
    embedder.embed_bases([codes], rows)
    return rows


@pytest.mark.parametrize("name", WRITERS)
@repeatable
@given(sequence=dna)
@example(sequence=EXAMPLES[0])
@example(sequence=EXAMPLES[1])
@example(sequence=EXAMPLES[2])
@example(sequence=EXAMPLES[3])
@example(sequence=EXAMPLES[4])
def test_the_other_strand_has_the_rows_of_its_own_tokens(name: str, sequence: str) -> None:
    loaded = model_of(name)
    codes = encode_bases(sequence)[: loaded.model.config.context]
    given_strand = rows_of(loaded, codes)
    other = rows_of(loaded, reverse_complement_codes(codes))[::-1]
    both = np.concatenate([given_strand, other], axis=1)
    np.testing.assert_allclose(rows_of(loaded, codes, "concat"), both, atol=1e-5)
    mean = rows_of(loaded, codes, "mean")
    np.testing.assert_allclose(mean, (given_strand + other) / 2, atol=1e-5)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("sequence", EXAMPLES)
@torch.no_grad()
def test_a_base_has_the_features_of_its_token(name: str, sequence: str) -> None:
    loaded = model_of(name)
    codes = encode_bases(sequence)
    ids = loaded.tokenizer.encode(codes)
    features_TK = loaded.model.hidden(torch.from_numpy(ids.astype(np.int64))[None], None)[0]
    firsts = loaded.tokenizer.firsts(codes, ids)
    token_of_base = np.searchsorted(firsts, np.arange(codes.size), side="right") - 1
    expected = features_TK[torch.from_numpy(token_of_base)].numpy()
    np.testing.assert_allclose(rows_of(loaded, codes), expected, atol=1e-5)
