"""Tiny models in the published layouts of other authors, and the comparison of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genomeformer_cli.core.models.families.encoders import ENCODER_FAMILIES
from genomeformer_cli.core.models.families.protocol import Document
from genomeformer_cli.core.models.framed import Frame, FramedModel, add_frame
from genomeformer_cli.core.models.registry import build_model, find_family

TOLERANCE = 1e-5
LENGTHS = (1, 2, 7, 63, 64, 65, 66, 129, 130)


ENCODERS = {family.name: family for family in ENCODER_FAMILIES}


def find_encoder(document: Document) -> str:
    """Return the name of the one family that recognises a configuration."""
    return find_family(document).name


DATA = Path(__file__).parent / "data" / "architectures"
# Family and frame of each folder of recorded numbers.
RECORDED = {
    "dnabert2": ("dnabert2", Frame(pad_id=3, prefix=(1,), suffix=(2,))),
    "gena-lm": ("gena-lm", Frame(pad_id=3, prefix=(1,), suffix=(2,))),
    "gena-lm-final-norm": ("gena-lm", Frame(pad_id=3, prefix=(1,), suffix=(2,))),
    "nucleotide-transformer": ("nucleotide-transformer", Frame(pad_id=1, prefix=(3,))),
    "nucleotide-transformer-v2": ("nucleotide-transformer-v2", Frame(pad_id=1, prefix=(3,))),
    "prokbert": ("prokbert", Frame(pad_id=0, prefix=(2,), suffix=(3,))),
    "prokbert-megatron": ("prokbert", Frame(pad_id=0, prefix=(2,), suffix=(3,))),
}


def read_recorded(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and tensors of a folder of recorded numbers."""
    document: dict[str, Any] = json.loads((DATA / name / "config.json").read_text())
    return document, load_file(DATA / name / "model.safetensors")


# Numbers of the authors' code: all hidden states and the logits, from ids and mask with the frame.
Numbers = tuple[list[Tensor], Tensor]
Forward = Callable[[Tensor, Tensor], Numbers]


def randomise(model: nn.Module, seed: int = 0, std: float = 0.2) -> None:
    """Draw all parameters, norms and biases included, so that none can be mixed up unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * std)


def draw_rows(
    lengths: Sequence[int], tokens: Sequence[int], pad_id: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return ids (B, L) drawn from some tokens, padded at the end, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    rows_BL = torch.full((len(lengths), max(lengths)), pad_id)
    mask_BL = torch.zeros_like(rows_BL, dtype=torch.bool)
    allowed = torch.tensor(tokens)
    for row, length in enumerate(lengths):
        drawn = torch.randint(len(allowed), (length,), generator=generator)
        rows_BL[row, :length] = allowed[drawn]
        mask_BL[row, :length] = True
    return rows_BL, mask_BL


def our_model(
    config: Any, convert: Callable[..., dict[str, Tensor]], tensors: Mapping[str, Tensor]
) -> FramedModel:
    """Return our model with converted weights; the names and shapes must match one by one."""
    model = build_model(config).eval()
    assert isinstance(model, FramedModel)
    model.load_state_dict(convert(tensors, config), strict=True)
    skeletons = {name: torch.empty_like(item, device="meta") for name, item in tensors.items()}
    converted = convert(skeletons, config)
    assert {name: item.shape for name, item in converted.items()} == {
        name: item.shape for name, item in model.state_dict().items()
    }
    return model


@torch.no_grad()
def assert_equal_numbers(
    model: FramedModel, forward: Forward, rows_BL: Tensor, mask_BL: Tensor
) -> None:
    """Compare all layers and logits at real positions: in one batch, and row by row."""
    frame: Frame = model.config.frame
    layers = tuple(range(model.config.depth + 1))
    start = len(frame.prefix)

    def check(tokens_BL: Tensor, mask_BL: Tensor) -> None:
        tokens_BM, mask_BM = add_frame(tokens_BL, mask_BL, frame)
        assert mask_BM is not None
        theirs, logits_BMV = forward(tokens_BM, mask_BM)
        window = slice(start, start + tokens_BL.shape[1])
        padding = None if bool(mask_BL.all()) else mask_BL
        ours = model.hidden_layers(tokens_BL, padding, layers)
        for number, (our_BLE, their_BME) in enumerate(zip(ours, theirs, strict=True)):
            torch.testing.assert_close(
                our_BLE[mask_BL],
                their_BME[:, window][mask_BL],
                rtol=TOLERANCE,
                atol=TOLERANCE,
                msg=f"layer {number} at length {tokens_BL.shape[1]}",
            )
        torch.testing.assert_close(
            model.logits(ours[-1])[mask_BL],
            logits_BMV[:, window][mask_BL],
            rtol=TOLERANCE,
            atol=TOLERANCE,
        )

    check(rows_BL, mask_BL)
    for row_L, mask_L in zip(rows_BL, mask_BL, strict=True):
        length = int(mask_L.sum())
        check(row_L[None, :length], mask_L[None, :length])
