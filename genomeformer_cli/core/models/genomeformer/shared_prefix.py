"""Features of rows and of changed copies of them, with common prefixes computed once.

A causal stack computes a prefix independently of all later positions. Its states after the prefix
of a row are the start of all changed rows that share the prefix. States are stored at a few
positions of a row; a changed row is computed from the last of them within its prefix.
Shape letters: B rows, C changed rows, L length, M length of a changed row, E features.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.genomeformer.streaming_forward import whole_patches

if TYPE_CHECKING:
    from genomeformer_cli.core.models.genomeformer.encoder import Encoder

# Positions of a row at which states can be stored, and tokens of changed rows computed at once.
_STOPS, _TOKENS_AT_ONCE = 8, 8_192

Layers = tuple[int, ...]


def prefix_layers(
    stack: Encoder,
    tokens_BL: Tensor,
    changed_CM: Tensor,
    origin: tuple[Sequence[int], Sequence[int]],
    layers: tuple[Layers, Layers],
) -> tuple[list[Tensor], list[Tensor]]:
    """Return features of rows (B, L, E) and of changed rows (C, M, E) of a causal stack.

    Args:
        stack: Stack that carries states, see `Encoder.carries_states`.
        tokens_BL: Token ids of the rows, without padding.
        changed_CM: Token ids of the changed rows, without padding.
        origin: Row of each changed row, and the number of first tokens that they share.
        layers: Layers of the rows, and of the changed rows; the latter are among the former.
    """
    length, changed_length = tokens_BL.shape[1], changed_CM.shape[1]
    grain = whole_patches(stack, -(-length // _STOPS))
    longest = min(length, changed_length) - 1
    row_C, shared_C = origin
    start_C = [min(shared, longest) // grain * grain for shared in shared_C]
    states = stack.start(len(tokens_BL), stack.embedding.weight)
    stored: dict[int, list[State]] = {}
    parts: list[list[Tensor]] = []
    for start, stop in pairwise(sorted({0, *start_C, length})):
        stored[start] = states
        part, states = stack.step_layers(
            tokens_BL[:, start:stop], states, layers[0], position=start
        )
        parts.append(part)
    features = [torch.cat(of_layer, dim=1) for of_layer in zip(*parts, strict=True)]
    common = [features[layers[0].index(layer)] for layer in layers[1]]
    changed = [
        of_layer.new_empty(len(changed_CM), changed_length, of_layer.shape[2])
        for of_layer in common
    ]
    for start, states in stored.items():
        index = [number for number, begin in enumerate(start_C) if begin == start]
        at_once = max(_TOKENS_AT_ONCE // (changed_length - start), 1)
        for first in range(0, len(index), at_once):
            chunk = index[first : first + at_once]
            rows = [row_C[number] for number in chunk]
            branch = [tuple(tensor[rows] for tensor in state) for state in states]
            suffix, _ = stack.step_layers(
                changed_CM[chunk, start:], branch, layers[1], position=start
            )
            for of_changed, of_rows, of_suffix in zip(changed, common, suffix, strict=True):
                of_changed[chunk, :start] = of_rows[rows, :start]
                of_changed[chunk, start:] = of_suffix
    return features, changed
