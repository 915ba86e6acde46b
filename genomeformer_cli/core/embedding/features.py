"""Features of tokens, of the last layer or of others.

The features of a layer are the residual stream after its block, through the model's own final norm:
so all layers are on one scale, and the last one is what the model itself uses.
Shape letters: B batch, L length, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.model.encoder import Encoder


def check_layers(model: Model, layers: tuple[int, ...]) -> None:
    """Refuse layers that cannot be had.

    Raises:
        ConfigError: The model's blocks do not pass one residual stream on.
    """
    if layers == (model.config.depth,):
        return
    passes_on = isinstance(model, Encoder) and model.patches is None
    if not passes_on or model.config.residual == "reversible":
        raise ConfigError(
            "of this model only the last layer can be had: it does not pass one stream of features",
            hint="leave `--layers` at `last`",
        )


def layer_features(
    model: Model, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
) -> list[Tensor]:
    """Features (B, L, E) of each layer.

    Args:
        model: The model.
        tokens_BL: Token ids.
        mask_BL: True at real tokens; None if there is no padding.
        layers: Numbers of blocks, 0 being the token embedding.
    """
    if layers == (model.config.depth,):
        return [model.hidden(tokens_BL, mask_BL)]
    assert isinstance(model, Encoder)
    layout = model.layout(tokens_BL, mask_BL)
    x_BLE = model.embedding(tokens_BL)
    kept = {0: model.normed(x_BLE)}
    for number, block in enumerate(model.stack[: max(layers)], start=1):
        x_BLE = block(x_BLE, layout)
        if number in layers:
            kept[number] = model.normed(x_BLE)
    return [kept[number] for number in layers]


def joined_layers(features: list[Tensor], *, mean: bool) -> Tensor:
    """Layers side by side, or their mean."""
    if len(features) == 1:
        return features[0]
    return torch.stack(features).mean(dim=0) if mean else torch.cat(features, dim=-1)
