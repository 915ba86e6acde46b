"""Features of tokens, of the last layer or of others.

The features of a layer are the residual stream after its block, through the model's own final norm:
so all layers are on one scale. Models of two stacks, or of both strands, have two streams, which
stand side by side. Where a position of the stack is a patch of tokens, each token has the features
of its patch; only the last layer is taken apart again, as the model itself does it.
Shape letters: B batch, L length, N patches, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.build import Model
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.reverse_complement import flip_positions, flip_rows


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
    if mean and len({_width(model, layer) for layer in layers}) > 1:
        raise ConfigError(
            "the last layer of this model is narrower than the others: they have no mean",
            hint=f"name them, side by side: `--layers 1,{model.config.depth}`, or one alone",
        )


def features_width(model: Model, layers: tuple[int, ...], *, mean: bool) -> int:
    """Columns of layers side by side, or of their mean."""
    widths = [_width(model, layer) for layer in layers]
    return widths[0] if mean else sum(widths)


def _width(model: Model, layer: int) -> int:
    if layer == model.config.depth:
        return model.feature_width
    return model.config.width * (1 if isinstance(model, Encoder) else 2)


def layer_features(
    model: Model, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
) -> list[Tensor]:
    """Features (B, L, .) of each layer.

    Args:
        model: The model.
        tokens_BL: Token ids.
        mask_BL: True at real tokens; None if there is no padding.
        layers: Numbers of blocks, 0 being what the first one reads.
    """
    if layers == (model.config.depth,):
        return [model.hidden(tokens_BL, mask_BL)]
    if isinstance(model, Encoder):
        return _of_stack(model, tokens_BL, mask_BL, layers)
    turn_BL = flip_positions(tokens_BL, mask_BL)
    turned_BL = tokens_BL.gather(1, turn_BL)
    if isinstance(model, TwoStack):
        stacks = (model.ahead, model.back)
        read = (model.shifted(tokens_BL), model.shifted(model.other_strand(turned_BL)))
    else:
        stacks = (model.encoder, model.encoder)
        read = (tokens_BL, model.complement_V[turned_BL])
    here, there = (
        _of_stack(stack, one_BL, mask_BL, layers)
        for stack, one_BL in zip(stacks, read, strict=True)
    )
    return [
        torch.cat((one_BLE, flip_rows(other_BLE, turn_BL)), dim=-1)
        for one_BLE, other_BLE in zip(here, there, strict=True)
    ]


def _of_stack(
    stack: Encoder, tokens_BL: Tensor, mask_BL: Tensor | None, layers: tuple[int, ...]
) -> list[Tensor]:
    patches, length = stack.patches, tokens_BL.shape[1]
    embedded_BLS = x_BLE = stack.embedding(tokens_BL)
    if patches is not None:
        embedded_BLS = patches.filled(embedded_BLS, mask_BL)
        x_BLE = patches.joined(embedded_BLS)
        mask_BL = patches.mask(mask_BL)
    layout = stack.rotary.layout(x_BLE.shape[1], mask_BL, device=x_BLE.device)
    kept = {0: stack.normed(x_BLE)}
    for number, block in enumerate(stack.stack[: max(layers)], start=1):
        x_BLE = block(x_BLE, layout)
        if number in layers:
            kept[number] = stack.normed(x_BLE)
    if patches is None:
        return [kept[layer] for layer in layers]
    return [
        stack.of_tokens(patches, embedded_BLS, kept[layer], length)
        if layer == len(stack.stack)
        else kept[layer].repeat_interleave(patches.size, dim=1)[:, :length]
        for layer in layers
    ]


def joined_layers(features: list[Tensor], *, mean: bool) -> Tensor:
    """Layers side by side, or their mean."""
    if len(features) == 1:
        return features[0]
    return torch.stack(features).mean(dim=0) if mean else torch.cat(features, dim=-1)
