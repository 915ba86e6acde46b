"""Forward pass over rows of any length, slice by slice, for inference and the memory plans.

A causal stack passes its states from slice to slice. A bidirectional one works block by block:
where queries read a sum over the row, one sweep computes the sum and another reads it; where they
see only neighbours, each slice is read together with its neighbours. In both cases the activations
of a block exist for one slice of C positions at a time.
Shape letters: B batch, L length, C positions of a slice, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import Layout
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.genomeformer.activation_store import (
    ActivationStore,
    open_activations,
)
from genomeformer_cli.core.models.protocol import Model

if TYPE_CHECKING:
    from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
    from genomeformer_cli.core.models.genomeformer.block import Block
    from genomeformer_cli.core.models.genomeformer.encoder import Encoder

Read = Callable[[int, int], Tensor]


@dataclass(frozen=True)
class Slice:
    """Positions with the neighbours that a block needs."""

    start: int  # First position.
    stop: int  # End of the positions, exclusive.
    first: int  # First neighbour.
    last: int  # End of the neighbours, exclusive.
    layout: Layout  # Layout of positions and neighbours.

    @property
    def core(self) -> slice:
        """Positions, counted from the first neighbour."""
        return slice(self.start - self.first, self.stop - self.first)


def slices(length: int, chunk: int) -> list[tuple[int, int]]:
    """Return the bounds of the slices of a row; the last one may be short."""
    return [(start, min(start + chunk, length)) for start in range(0, length, chunk)]


def whole_patches(model: Model, chunk: int) -> int:
    """Return the next slice length that is a multiple of the patch."""
    return chunk + -chunk % model.config.patch


def slices_with_halo(model: Encoder, block: Block, length: int, chunk: int) -> Iterator[Slice]:
    """Yield the slices of a row, each with the neighbours that a block needs."""
    halo = block.halo
    for start, stop in slices(length, max(chunk, halo, 1)):
        first, last = max(start - halo, 0), min(stop + halo, length)
        layout = model.rotary.layout(last - first, None, device=model.device, start=first)
        yield Slice(start, stop, first, last, layout)


def sum_of_row(model: Encoder, block: Block, length: int, chunk: int, read: Read) -> State | None:
    """Return the sum read by the queries of a block; None if they see only neighbours.

    Args:
        model: Model that contains the block.
        block: Block of a bidirectional stack.
        length: Length of the row, L.
        chunk: Positions per slice, C.
        read: Function that returns the inputs (B, ., E) of the block between two positions.
    """
    if block.attention.reach is not None:
        return None
    total: State | None = None
    for place in slices_with_halo(model, block, length, chunk):
        part = block.summary(read(place.first, place.last), place.layout, place.core)
        if total is None:
            total = tuple(tensor.clone() for tensor in part)
        else:
            for whole, more in zip(total, part, strict=True):
                whole.add_(more)
    return total


@torch.inference_mode()
def encoder_slices(
    model: Encoder, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield features of rows slice by slice; see `Model.features_by_slices`.

    A causal stack needs memory for one slice; a bidirectional one also the residual stream,
    (B, L, E), which is on disk for a long row (see `activation_store`).

    Raises:
        StoreError: The disk has no room for the residual stream.
    """
    chunk = whole_patches(model, chunk)
    if model.config.causal:
        yield from _of_causal_stack(model, tokens_BL, chunk)
    else:
        yield from _of_bidirectional_stack(model, tokens_BL, chunk)


@torch.inference_mode()
def two_stack_slices(
    model: TwoStack, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield features of rows slice by slice; see `Model.features_by_slices`.

    Needs memory for one slice and for the features of the backward stack, (B, L, E).

    Raises:
        StoreError: The disk has no room for the features of the backward stack.
    """
    chunk = whole_patches(model, chunk)
    batch, length = tokens_BL.shape
    turned_BL = model.shifted(model.other_strand(tokens_BL.long().flip(1)))
    back = open_activations((batch, length, model.back.feature_width), model.head.weight)
    for _, stop, features_BCE in _of_causal_stack(model.back, turned_BL, chunk):
        back.write(length - stop, features_BCE.flip(1))
    del turned_BL
    ahead = _of_causal_stack(model.ahead, model.shifted(tokens_BL), chunk)
    for start, stop, features_BCE in ahead:
        yield start, stop, torch.cat((features_BCE, back.read(start, stop)), dim=-1)


def _of_causal_stack(
    model: Encoder, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    states = model.start(len(tokens_BL), model.embedding.weight)
    for start, stop in slices(tokens_BL.shape[1], chunk):
        tokens_BC = tokens_BL[:, start:stop].long()
        features_BCE, states = model.step(tokens_BC, None, states, position=start)
        yield start, stop, features_BCE


def _of_bidirectional_stack(
    model: Encoder, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    batch, length = tokens_BL.shape
    reversible = model.config.residual == "reversible"
    shape = (batch, length, model.config.width)
    first = open_activations(shape, model.embedding.weight)
    second = open_activations(shape, model.embedding.weight) if reversible else first
    for start, stop in slices(length, chunk):
        embedded_BCE = model.embedding(tokens_BL[:, start:stop].long())
        for stream in (first, second) if reversible else (first,):
            stream.write(start, embedded_BCE)
    for block in model.stack:
        _apply(model, block, (first, second), length, chunk)
    for start, stop in slices(length, chunk):
        x_BCE = first.read(start, stop)
        if reversible:
            yield start, stop, model.merge_streams(x_BCE, second.read(start, stop))
        else:
            yield start, stop, model.normed(x_BCE)


def _apply(
    model: Encoder,
    block: Block,
    streams: tuple[ActivationStore, ActivationStore],
    length: int,
    chunk: int,
) -> None:
    """Apply a block in place: x + attention(y), then the MLP; x and y may be the same stream."""
    first, second = streams
    total = sum_of_row(model, block, length, chunk, second.read)
    before_BHE = second.read(0, 0)
    for place in slices_with_halo(model, block, length, chunk):
        # What stands to the left may be written over already.
        around_BCE = torch.cat((before_BHE, second.read(place.start, place.last)), dim=1)
        halo = min(place.stop, block.halo)
        stop = place.stop - place.first
        before_BHE = around_BCE[:, stop - halo : stop]
        added_BCE = block.attention_output_within(around_BCE, place.layout, place.core, total)
        x_BCE = first.read(place.start, place.stop) + added_BCE
        first.write(place.start, block.add_mlp(x_BCE) if first is second else x_BCE)
    if first is not second:
        for start, stop in slices(length, chunk):
            added_BCE = block.mlp_output(first.read(start, stop))
            second.write(start, second.read(start, stop) + added_BCE)
