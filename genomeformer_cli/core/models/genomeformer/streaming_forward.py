"""Rows of any length, slice by slice: what inference and the memory plans share.

A causal stack passes its states from slice to slice. A bidirectional one goes block by block: where
queries read a sum over the row, one sweep sums and another reads; where they see only their
neighbours, each slice is read with its neighbours around it. Either way a block's activations exist
for one slice of C positions at a time.
Shape letters: B batch, L length, C positions of a slice, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genomeformer_cli.core.attention.batch_layout import Layout
from genomeformer_cli.core.attention.protocols import Additive, State, Streaming
from genomeformer_cli.core.models.genomeformer.activation_store import (
    ActivationStore,
    open_activations,
)
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.block import Block
from genomeformer_cli.core.models.genomeformer.build import Model
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.reverse_complement import BothStrands

Read = Callable[[int, int], Tensor]


@dataclass(frozen=True)
class Slice:
    """Some positions with the neighbours that a block needs to see.

    Attributes:
        start: First position.
        stop: End.
        first: First neighbour.
        last: End of the neighbours.
        layout: Of positions and neighbours.
    """

    start: int
    stop: int
    first: int
    last: int
    layout: Layout

    @property
    def core(self) -> slice:
        """The positions, counted from the first neighbour."""
        return slice(self.start - self.first, self.stop - self.first)


def slices(length: int, chunk: int) -> list[tuple[int, int]]:
    """Bounds of the slices of a row; the last one may be short."""
    return [(start, min(start + chunk, length)) for start in range(0, length, chunk)]


def whole_patches(model: Model, chunk: int) -> int:
    """The next length of a slice that cuts no patch."""
    return chunk + -chunk % model.config.patch


def slices_with_halo(model: Encoder, block: Block, length: int, chunk: int) -> Iterator[Slice]:
    """The slices of a row, each with the neighbours that a block must see around it."""
    halo = block.halo
    for start, stop in slices(length, max(chunk, halo, 1)):
        first, last = max(start - halo, 0), min(stop + halo, length)
        layout = model.rotary.layout(last - first, None, device=model.device, start=first)
        yield Slice(start, stop, first, last, layout)


def is_sliceable(block: Block) -> bool:
    """Whether a bidirectional block can be applied slice by slice."""
    return block.attention.reach is not None or isinstance(block.attention.mechanism, Additive)


def sum_of_row(model: Encoder, block: Block, length: int, chunk: int, read: Read) -> State | None:
    """The sum that a block's queries read; None if they see only their neighbours.

    Args:
        model: Whose block it is.
        block: Of a bidirectional stack.
        length: L.
        chunk: C.
        read: Gives the block's inputs (B, ., E) from a position to another.
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


def can_pass_state(model: Model) -> bool:
    """Whether rows of any length can be read in memory that holds no block's activations whole."""
    if isinstance(model, TwoStack):
        return can_pass_state(model.ahead)
    if isinstance(model, BothStrands):
        return False
    if model.config.causal:
        return all(isinstance(block.attention.mechanism, Streaming) for block in model.stack)
    return model.patches is None and all(is_sliceable(block) for block in model.stack)


@torch.inference_mode()
def features_by_slices(
    model: Model, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Features of rows without padding, slice by slice from left to right.

    Causal stacks need memory for one slice; two stacks also the features of the one that reads
    back, (B, L, E); bidirectional ones the residual stream, (B, L, E), of which a long row's lies
    in a file (see `streams`).

    Args:
        model: One that `can_pass_state`.
        tokens_BL: Token ids, of any integer type.
        chunk: C.

    Yields:
        First position, end, features (B, C, E) as `hidden` gives them.

    Raises:
        StoreError: There is no room for that file.
    """
    assert not isinstance(model, BothStrands)
    chunk = whole_patches(model, chunk)
    if isinstance(model, TwoStack):
        yield from _of_two_stacks(model, tokens_BL, chunk)
    elif model.config.causal:
        yield from _of_causal_stack(model, tokens_BL, chunk)
    else:
        yield from _of_bidirectional_stack(model, tokens_BL, chunk)


def _of_causal_stack(
    model: Encoder, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    states = model.start(len(tokens_BL), model.embedding.weight)
    for start, stop in slices(tokens_BL.shape[1], chunk):
        tokens_BC = tokens_BL[:, start:stop].long()
        features_BCE, states = model.step(tokens_BC, None, states, position=start)
        yield start, stop, features_BCE


def _of_two_stacks(
    model: TwoStack, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    batch, length = tokens_BL.shape
    turned_BL = model.shifted(model.other_strand(tokens_BL.long().flip(1)))
    back = open_activations((batch, length, model.back.feature_width), model.head.weight)
    for _, stop, features_BCE in _of_causal_stack(model.back, turned_BL, chunk):
        back.write(length - stop, features_BCE.flip(1))
    del turned_BL
    ahead = _of_causal_stack(model.ahead, model.shifted(tokens_BL), chunk)
    for start, stop, features_BCE in ahead:
        yield start, stop, torch.cat((features_BCE, back.read(start, stop)), dim=-1)


def _of_bidirectional_stack(
    model: Encoder, tokens_BL: Tensor, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    batch, length = tokens_BL.shape
    reversible = model.config.residual == "reversible"
    shape = (batch, length, model.config.width)
    one = open_activations(shape, model.embedding.weight)
    other = open_activations(shape, model.embedding.weight) if reversible else one
    for start, stop in slices(length, chunk):
        embedded_BCE = model.embedding(tokens_BL[:, start:stop].long())
        for stream in (one, other) if reversible else (one,):
            stream.write(start, embedded_BCE)
    for block in model.stack:
        _apply(model, block, (one, other), length, chunk)
    for start, stop in slices(length, chunk):
        x_BCE = one.read(start, stop)
        if reversible:
            yield start, stop, model.joined(x_BCE, other.read(start, stop))
        else:
            yield start, stop, model.normed(x_BCE)


def _apply(
    model: Encoder,
    block: Block,
    streams: tuple[ActivationStore, ActivationStore],
    length: int,
    chunk: int,
) -> None:
    """Apply a block in place: x + attention(y), then the MLP; x and y may be one stream."""
    one, other = streams
    total = sum_of_row(model, block, length, chunk, other.read)
    before_BHE = other.read(0, 0)
    for place in slices_with_halo(model, block, length, chunk):
        # What stands to the left may be written over already.
        around_BCE = torch.cat((before_BHE, other.read(place.start, place.last)), dim=1)
        kept = min(place.stop, block.halo)
        stop = place.stop - place.first
        before_BHE = around_BCE[:, stop - kept : stop]
        added_BCE = block.attention_output_within(around_BCE, place.layout, place.core, total)
        x_BCE = one.read(place.start, place.stop) + added_BCE
        one.write(place.start, block.add_mlp(x_BCE) if one is other else x_BCE)
    if one is not other:
        for start, stop in slices(length, chunk):
            added_BCE = block.mlp_output(one.read(start, stop))
            other.write(start, other.read(start, stop) + added_BCE)
