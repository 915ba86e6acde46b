"""Checksum of a model: fixed sequences, coarse numbers, and every part of the model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.embedding.checksum import (
    NUM_PROJECTIONS,
    checksum_sequences,
    compute_checksum,
    project,
    sequences_of,
)
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model

DATA = Path(__file__).parents[3] / "data" / "architectures"
FOLDERS = ("hyenadna", "gpn", "gpn-bytenet", "gpn-convnet")


def test_sequences_are_bits_of_a_digest() -> None:
    sequences = checksum_sequences()
    assert [len(sequence) for sequence in sequences] == [128, 127, 64, 7]
    assert [sequence.count("N") for sequence in sequences] == [0, 0, 3, 0]
    number = int(hashlib.sha256(b"genomeformer 0").hexdigest(), 16)
    letters = ["ACGT"[(number >> 2 * place) & 3] for place in reversed(range(128))]
    assert sequences[0] == "".join(letters)


@given(st.integers(0, 2**32 - 1), st.integers(1, 700))
def test_numbers_do_not_depend_on_last_digits(seed: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    vector = generator.normal(size=size)
    numbers = np.array(project(vector))
    assert len(numbers) == NUM_PROJECTIONS + 1
    noise = generator.normal(size=size) * 1e-6
    changed = np.array(project(vector + noise))
    assert np.abs(changed - numbers).max() <= 1


def test_other_vectors_have_other_numbers() -> None:
    generator = np.random.default_rng(1)
    vector, other = generator.normal(size=(2, 300))
    length, *numbers = project(vector)
    assert project(vector + 0.1 * other)[1:] != tuple(numbers)
    assert project(2 * vector) == (length + 20, *numbers)
    assert project(-vector) == (length, *(-number for number in numbers))
    assert project(np.zeros(5)) == (0,) * (NUM_PROJECTIONS + 1)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_weight_changes_the_checksum(name: str) -> None:
    loaded = read_model(DATA / name)
    before = compute_checksum(loaded)
    assert len(before.features) == len(before.logits) == 4
    assert compute_checksum(loaded) == before
    generator = torch.Generator().manual_seed(8)
    for parameter in loaded.model.parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
        assert compute_checksum(loaded).checksum != before.checksum
        with torch.no_grad():
            parameter.copy_(kept)
    assert compute_checksum(loaded) == before


def test_recorded_numbers_have_their_checksums() -> None:
    """Rounding hides the differences between machines and releases of torch."""
    golden = json.loads((DATA / "checksums.json").read_text())
    assert golden.keys() == set(FOLDERS)
    assert golden == {name: compute_checksum(read_model(DATA / name)).checksum for name in FOLDERS}


def test_a_short_context_takes_the_first_bases() -> None:
    loaded = read_model(DATA / "hyenadna")
    object.__setattr__(loaded.model.config, "context", 50)
    sequences = sequences_of(loaded)
    assert [len(sequence) for sequence in sequences] == [50, 50, 50, 7]
    assert all(
        whole.startswith(cut) for whole, cut in zip(checksum_sequences(), sequences, strict=True)
    )
    assert len(compute_checksum(loaded).features) == len(sequences)


def test_a_model_without_a_head_has_the_numbers_of_its_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = read_model(DATA / "hyenadna")
    before = compute_checksum(loaded)

    def refuse(features: torch.Tensor) -> torch.Tensor:
        raise ConfigError("published without a head")

    monkeypatch.setattr(loaded.model, "logits", refuse)
    headless = compute_checksum(dataclasses.replace(loaded))
    assert isinstance(loaded, LoadedModel)
    assert (headless.features, headless.logits) == (before.features, ())
    assert headless.checksum != before.checksum
