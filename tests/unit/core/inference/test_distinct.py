"""Distinct rows, and equal rows computed once with equal results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.api import load
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.inference.distinct import DistinctRows
from genomeformer_cli.core.sequence import encode_bases

SEQUENCES = [
    encode_bases(text)
    for text in ("ACGTACGTAA", "", "TTGCA" * 9, "ACGTACGTAA", "NNN", "TTGCA" * 9, "ACGTACGTAC")
]


@given(texts=st.lists(st.text("ACGTN", max_size=6), max_size=30))
def test_every_sequence_has_its_distinct_row(texts: list[str]) -> None:
    distinct = DistinctRows.of_sequences([encode_bases(text) for text in texts])
    first = [texts[row] for row in distinct.first_D]
    assert first == list(dict.fromkeys(texts))
    assert [first[index] for index in distinct.distinct_N] == texts
    assert {*distinct.first_D.tolist(), *distinct.repeats.tolist()} == set(range(len(texts)))


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of rows of the batches that a model reads."""
    numbers: list[int] = []
    forward: Callable[..., torch.Tensor] = Embedder._forward

    def counted(self: Embedder, tokens_BL: npt.NDArray[np.int64]) -> torch.Tensor:
        numbers.append(len(tokens_BL))
        return forward(self, tokens_BL)

    monkeypatch.setattr(Embedder, "_forward", counted)
    return numbers


@pytest.mark.parametrize("rc", ["none", "mean", "concat"])
@pytest.mark.parametrize("pool", ["mean", "none"])
def test_equal_sequences_are_read_once(pool: Any, rc: Any, rows_read: list[int]) -> None:
    embedder = Embedder(load(device="cpu").loaded, EmbedOptions(pool=pool, rc=rc))
    done: list[int] = []

    def embed(sequences: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        if pool != "none":
            return embedder.embed(sequences, done.append)
        rows = np.empty((sum(codes.size for codes in sequences), embedder.width), np.float32)
        embedder.embed_bases(sequences, rows, done.append)
        return rows

    rows = embed(SEQUENCES)
    strands = embedder.num_passes
    # The empty sequence is read by no batch.
    assert sum(rows_read) == strands * 4
    assert sum(done) == strands * sum(codes.size for codes in SEQUENCES)
    alone = np.concatenate([embed([codes]) for codes in SEQUENCES])
    np.testing.assert_allclose(rows, alone, atol=2e-5)
