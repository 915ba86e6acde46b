"""Encoders against numbers recorded from the authors' code; see tests/data/architectures."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.published_models import (
    DATA,
    ENCODERS,
    RECORDED,
    TOLERANCE,
    find_encoder,
    our_model,
    read_recorded,
)


@pytest.mark.parametrize("name", RECORDED)
@torch.no_grad()
def test_numbers_are_those_of_the_authors(name: str) -> None:
    document, tensors = read_recorded(name)
    family, frame = RECORDED[name]
    assert find_encoder(document) == family
    layout = ENCODERS[family]
    model = our_model(layout.read_config(document, frame), layout.convert, tensors)
    recorded = load_file(DATA / name / "expected.safetensors")
    ids_BM, mask_BM = recorded["input_ids"].long(), recorded["attention_mask"].bool()
    sizes_B = mask_BM.sum(dim=1)
    start, length = len(frame.prefix), ids_BM.shape[1] - frame.size
    rows_BL = ids_BM[:, start : start + length]
    mask_BL = torch.arange(length) < (sizes_B - frame.size)[:, None]

    def theirs(key: str) -> Tensor:
        """Recorded numbers of real positions, without the frame."""
        padded = torch.zeros(*ids_BM.shape, recorded[key].shape[-1])
        padded[mask_BM] = recorded[key]
        return padded[:, start : start + length]

    layers = tuple(range(model.config.depth + 1))
    whole = model.hidden_layers(rows_BL, mask_BL, layers)
    numbers = {f"hidden.{layer}": features for layer, features in zip(layers, whole, strict=True)}
    numbers["logits"] = model.logits(whole[-1])
    for row, size in enumerate(mask_BL.sum(dim=1).tolist()):
        alone = model.hidden_layers(rows_BL[row : row + 1, :size], None, layers)
        for layer, features in zip(layers, alone, strict=True):
            torch.testing.assert_close(features[0], whole[layer][row, :size], rtol=1e-5, atol=1e-5)
    compared = numbers.keys() & recorded.keys()
    assert len(compared) >= model.config.depth + 1
    for key in compared:
        torch.testing.assert_close(
            numbers[key][mask_BL], theirs(key)[mask_BL], rtol=TOLERANCE, atol=TOLERANCE
        )
