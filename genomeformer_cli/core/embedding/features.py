"""Features of one layer, or of several.

The features of a layer are the residual stream after its block, see `Model.hidden_layers`.
Shape letters: B batch, L length, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.protocol import Model


def check_layers(model: Model, layers: tuple[int, ...], *, mean: bool = False) -> None:
    """Refuse layers that cannot be had.

    Raises:
        ConfigError: The model's blocks do not pass one residual stream on, or layers of different
            widths were to be averaged.
    """
    if layers == (model.config.depth,):
        return
    if model.config.residual == "reversible":
        raise ConfigError(
            "of this model only the last layer can be had: it does not pass one stream of features",
            hint="leave `--layers` at `last`",
        )
    if mean and len({model.layer_width(layer) for layer in layers}) > 1:
        raise ConfigError(
            "the last layer of this model is narrower than the others: they have no mean",
            hint=f"name them, side by side: `--layers 1,{model.config.depth}`, or one alone",
        )


def features_width(model: Model, layers: tuple[int, ...], *, mean: bool) -> int:
    """Columns of layers side by side, or of their mean."""
    widths = [model.layer_width(layer) for layer in layers]
    return widths[0] if mean else sum(widths)


def joined_layers(features: list[Tensor], *, mean: bool) -> Tensor:
    """Layers side by side, or their mean."""
    if len(features) == 1:
        return features[0]
    return torch.stack(features).mean(dim=0) if mean else torch.cat(features, dim=-1)
