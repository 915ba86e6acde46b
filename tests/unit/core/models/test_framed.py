"""Tokens around a sequence: added before the first block, cut off after the last one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from genomeformer_cli.core.models.framed import Frame, FramedModel, PlainTraits, add_frame

FRAMES = [
    Frame(pad_id=7),
    Frame(pad_id=7, prefix=(1,)),
    Frame(pad_id=7, suffix=(2,)),
    Frame(pad_id=7, prefix=(1, 3), suffix=(2, 4)),
]


@dataclass(frozen=True, kw_only=True)
class SumConfig(PlainTraits):
    """Configuration of the model below."""

    vocabulary_size: int = 16
    context: int = 8
    width: int = 1
    depth: int = 2
    mechanism: str = "sum"
    frame: Frame = FRAMES[0]


class SumModel(FramedModel):
    """Model whose features are the token id plus the sum of the real tokens of the row."""

    def __init__(self, config: SumConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = nn.Parameter(torch.ones(()))

    @property
    def device(self) -> torch.device:
        return self.scale.device

    @property
    def feature_width(self) -> int:
        return 1

    def framed_layers(
        self, tokens_BM: Tensor, mask_BM: Tensor | None, layers: tuple[int, ...]
    ) -> list[Tensor]:
        real_BM = tokens_BM if mask_BM is None else tokens_BM * mask_BM
        features_BM1 = (tokens_BM + real_BM.sum(dim=1, keepdim=True))[..., None] * self.scale
        return [features_BM1 * (layer + 1) for layer in layers]


@pytest.mark.parametrize("frame", FRAMES)
def test_frame_follows_the_last_real_token_of_every_row(frame: Frame) -> None:
    lengths = [5, 3, 1, 0]
    tokens_BL = torch.randint(8, 16, (4, 5))
    mask_BL = torch.arange(5) < torch.tensor(lengths)[:, None]
    framed_BM, mask_BM = add_frame(tokens_BL, mask_BL, frame)
    assert mask_BM is not None
    for row, length in enumerate(lengths):
        expected = [*frame.prefix, *tokens_BL[row, :length].tolist(), *frame.suffix]
        assert framed_BM[row][mask_BM[row]].tolist() == expected
        assert mask_BM[row].tolist() == [True] * len(expected) + [False] * (5 - length)
        if frame.size:
            assert set(framed_BM[row][~mask_BM[row]].tolist()) <= {7}


@pytest.mark.parametrize("frame", FRAMES)
def test_rows_without_padding_need_no_mask(frame: Frame) -> None:
    tokens_BL = torch.randint(8, 16, (2, 5))
    framed_BM, mask_BM = add_frame(tokens_BL, None, frame)
    whole_BM, _ = add_frame(tokens_BL, torch.ones(2, 5, dtype=torch.bool), frame)
    assert mask_BM is None
    assert framed_BM.tolist() == whole_BM.tolist()


@pytest.mark.parametrize("frame", FRAMES)
def test_features_are_those_of_the_bases_and_see_the_frame(frame: Frame) -> None:
    model = SumModel(SumConfig(frame=frame))
    tokens_BL = torch.tensor([[8, 9, 10, 7], [11, 7, 7, 7]])
    mask_BL = tokens_BL != 7
    around = sum(frame.prefix) + sum(frame.suffix)
    hidden = model.hidden(tokens_BL, mask_BL)[..., 0]
    expected = 3 * (tokens_BL + (tokens_BL * mask_BL).sum(dim=1, keepdim=True) + around)
    assert hidden[mask_BL].tolist() == expected[mask_BL].tolist()
    layers = model.hidden_layers(tokens_BL, mask_BL, (0, 2))
    assert [tuple(features.shape) for features in layers] == [(2, 4, 1)] * 2
    assert layers[1].tolist() == (3 * layers[0]).tolist()


def test_documents_of_a_row_do_not_see_each_other() -> None:
    model = SumModel(SumConfig(frame=FRAMES[3]))
    tokens_BL = torch.tensor([[8, 9, 10, 11, 12, 7]])
    documents_BL = torch.tensor([[0, 0, 1, 1, 1, -1]])
    packed = model.hidden(tokens_BL, None, documents_BL)[0, :, 0].tolist()
    alone = [
        *model.hidden(tokens_BL[:, :2], None)[0, :, 0].tolist(),
        *model.hidden(tokens_BL[:, 2:5], None)[0, :, 0].tolist(),
    ]
    assert packed[:5] == alone
