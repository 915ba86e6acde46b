"""Features of one layer, or of several.

The features of a layer are the residual stream after its block, see `Model.hidden_layers`.
Shape letters: B batch, L length, E width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.protocol import Model


def check_layers(model: Model, layers: tuple[int, ...], *, mean: bool = False) -> None:
    """Check that a model provides layers.

    Raises:
        ConfigError: The blocks do not share one residual stream, or `mean` combines layers of
            different widths.
    """
    if layers == (model.config.depth,):
        return
    if not model.has_one_stream:
        raise ConfigError(
            "only the last layer is available: the blocks do not share a residual stream",
            hint="leave `rows.layers` at `last`",
        )
    if mean and len({model.layer_width(layer) for layer in layers}) > 1:
        raise ConfigError(
            "the last layer of the model is narrower than the others and cannot be averaged",
            hint=f"concatenate them: `rows.layers=1,{model.config.depth}`, or one alone",
        )


def features_width(model: Model, layers: tuple[int, ...], *, mean: bool) -> int:
    """Return the columns of concatenated layers, or of their mean."""
    widths = [model.layer_width(layer) for layer in layers]
    return widths[0] if mean else sum(widths)


def combine_layers(features: list[Tensor], *, mean: bool) -> Tensor:
    """Concatenate layers, or average them."""
    if len(features) == 1:
        return features[0]
    return torch.stack(features).mean(dim=0) if mean else torch.cat(features, dim=-1)


def swap_columns(
    model: Model,
    rows_NK: Tensor,
    layers: tuple[int, ...],
    *,
    mean: bool,
    parts: Sequence[int] = (0,),
) -> Tensor:
    """Return pooled rows of the reverse complements, from those of an equivariant model.

    Args:
        model: Equivariant model.
        rows_NK: Pooled rows, of one part or several.
        layers: Layers of each part of a row.
        mean: The layers are averaged; otherwise concatenated.
        parts: Part of these rows that each part of the reverse complement is.
    """
    widths = [model.layer_width(layer) for layer in layers]
    widths = widths[:1] if mean else widths
    parts_NPK = rows_NK.reshape(len(rows_NK), len(parts), sum(widths))
    pieces = torch.split(parts_NPK, widths, dim=-1)
    swapped_NPK = torch.cat([model.swap_strands(piece) for piece in pieces], dim=-1)
    return swapped_NPK[:, list(parts)].reshape(rows_NK.shape)
