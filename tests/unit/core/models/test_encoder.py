"""Encoder of published models: packed rows, parts of groups, and refused configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models import encoder_block, encoder_positions
from genomeformer_cli.core.models.encoder import EncoderConfig, build_encoder
from genomeformer_cli.core.models.encoder_positions import (
    alibi_slopes,
    pack_rows,
    relative_scores,
)
from genomeformer_cli.core.models.framed import Frame
from tests.architecture_cases import CASES
from tests.published_models import draw_rows, randomise

ENCODERS = [name for name, case in CASES.items() if isinstance(case.config, EncoderConfig)]
LENGTHS = (9, 5, 1, 9, 8, 5)


@pytest.mark.parametrize("name", ENCODERS)
def test_padded_rows_have_the_features_and_gradients_of_packed_ones(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padded rows are the form of other devices than a CPU."""
    config: Any = CASES[name].config
    model = build_encoder(config, 2)
    randomise(model)
    model.double().eval()
    tokens_BL, mask_BL = draw_rows(LENGTHS, CASES[name].token_ids, config.frame.pad_id)
    results = []
    for can_split in (True, False):
        monkeypatch.setattr(encoder_positions, "_can_split", lambda _, can=can_split: can)
        model.zero_grad()
        logits = model(tokens_BL, mask_BL)[mask_BL]
        torch.autograd.backward(logits.square().sum())
        results.append([logits.detach(), *(one.grad for one in model.parameters())])
    for packed, padded in zip(*results, strict=True):
        torch.testing.assert_close(packed, padded)


@torch.no_grad()
def test_distances_are_scored_for_parts_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = CASES["prokbert"].config
    model = build_encoder(config, 2).eval()
    tokens_BL, mask_BL = draw_rows((9, 9, 9, 9, 9), CASES["prokbert"].token_ids, 1)
    whole = model.hidden(tokens_BL, None)
    monkeypatch.setattr(encoder_block, "_MOST_SCORES", 2 * 2 * 3 * 11**2)
    torch.testing.assert_close(model.hidden(tokens_BL, None), whole)
    monkeypatch.setattr(encoder_positions, "_can_split", lambda _: False)
    torch.testing.assert_close(model.hidden(tokens_BL, mask_BL), whole)


def test_rows_are_packed_by_length_and_come_back_in_place() -> None:
    tokens_BM, mask_BM = draw_rows((3, 5, 1, 5, 0), range(9, 19), 0)
    packed = pack_rows(tokens_BM, mask_BM)
    assert [(group.rows, group.length) for group in packed.groups] == [(1, 1), (1, 3), (2, 5)]
    assert packed.longest == 5
    tokens_T = packed.gather(tokens_BM)
    assert tokens_T.tolist() == [
        int(tokens_BM[row, place])
        for row, place in zip(packed.row_T.tolist(), packed.position_T.tolist(), strict=True)
    ]
    back_BM1 = packed.scatter(tokens_T[:, None])
    assert torch.equal(back_BM1[..., 0], tokens_BM * mask_BM)


def test_relative_scores_are_those_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(1)
    for length in (1, 2, 5):
        shape = (2, 3, length, 4)
        q, k = (torch.randn(shape, generator=generator) for _ in range(2))
        table_XD = torch.randn(2 * length - 1, 4, generator=generator)
        place_L = torch.arange(length)
        distances_LLD = table_XD[place_L[:, None] - place_L + length - 1]
        expected = torch.einsum("nhid,ijd->nhij", q, distances_LLD)
        expected += torch.einsum("nhjd,ijd->nhij", k, distances_LLD)
        torch.testing.assert_close(relative_scores(q, k, table_XD), expected)


def test_slopes_of_heads_that_are_not_a_power_of_two() -> None:
    assert alibi_slopes(8) == tuple(2.0**-power for power in range(1, 9))
    # 8 of the power below, then every second one of 16.
    assert alibi_slopes(12)[8:] == tuple(2.0 ** (-power / 2) for power in (1, 3, 5, 7))
    assert alibi_slopes(1) == (2.0**-8,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "at least 1"),
        ({"width": 10, "num_heads": 4}, "does not divide"),
        ({"width": 12, "num_heads": 4, "positions": "rotary"}, "does not divide"),
        ({"context": 511, "frame": Frame(prefix=(1,), suffix=(2,))}, "positions are fewer"),
        ({"local_blocks": (1,)}, "need a window"),
        ({"local_blocks": (3,), "local_window": 4}, "blocks 1 to 2"),
        ({"first_norm": False}, "has a norm"),
    ],
)
def test_invalid_configurations_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**settings)
