"""`reversible`: exact gradients in four buffers of L d, independent of the depth of the stack.

With two streams, y1 = x1 + attention(x2) and y2 = x2 + mlp(y1). The backward pass recovers the
inputs of each block from its outputs, so that only the two streams and their gradients are kept.
Mechanisms that sum, or that see only neighbours, work slice by slice as in `two_sweep`; others take
a whole row at once.

Source: Gomez et al. 2017, "The Reversible Residual Network", algorithm 1; Kitaev et al. 2020,
"Reformer", section 3, for transformers.
Shape letters: B batch, L length, E width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.genomeformer.block import Block
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.streaming_forward import (
    Slice,
    slices,
    slices_with_halo,
    sum_of_row,
)
from genomeformer_cli.core.objectives.loss import Examples, LossAccumulator, Prediction, predict


def reversible_gradients(
    model: Encoder, examples: Examples, *, chunk: int, total_weight: Tensor
) -> Prediction:
    """Add the gradients of rows without padding.

    Args:
        model: Stack with reversible residuals.
        examples: Inputs and targets of the rows.
        chunk: Positions per slice.
        total_weight: Weight of all targets of the batch.
    """
    return _ReversibleStep(model, examples, chunk, total_weight).run()


class _ReversibleStep:
    def __init__(
        self, model: Encoder, examples: Examples, chunk: int, total_weight: Tensor
    ) -> None:
        self._model = model
        self._blocks = model.stack
        self._examples = examples
        self._chunk = chunk
        self._total_weight = total_weight
        self._length = examples.inputs_BL.shape[1]
        self._summaries: list[State | None] = []

    def run(self) -> Prediction:
        with torch.no_grad():
            self._one_BLE: Tensor = self._model.embedding(self._examples.inputs_BL)
            self._other_BLE = self._one_BLE.clone()
            for block in self._blocks:
                self._apply(block)
        prediction = self._back_through_head()
        for block in reversed(self._blocks):
            self._back_through_mlp(block)
            self._back_through_attention(block, self._summaries.pop())
        self._back_through_embedding()
        return prediction

    def _slices(self, block: Block) -> Iterator[Slice]:
        chunk = self._chunk if block.is_sliceable else self._length
        return slices_with_halo(self._model, block, self._length, chunk)

    def _apply(self, block: Block) -> None:
        summary: State | None = None
        if block.is_sliceable:
            summary = sum_of_row(
                self._model,
                block,
                self._length,
                self._chunk,
                lambda first, last: self._other_BLE[:, first:last],
            )
        self._summaries.append(summary)
        for place in self._slices(block):
            x_BLE = self._other_BLE[:, place.first : place.last]
            added_BLE = block.attention_output_within(x_BLE, place.layout, place.core, summary)
            self._one_BLE[:, place.start : place.stop] += added_BLE
        for start, stop in slices(self._length, self._chunk):
            self._other_BLE[:, start:stop] += block.mlp_output(self._one_BLE[:, start:stop])

    def _back_through_head(self) -> Prediction:
        self._d_one_BLE = torch.empty_like(self._one_BLE)
        tally = LossAccumulator()
        for start, stop in slices(self._length, self._chunk):
            one_BLE = self._one_BLE[:, start:stop].detach().requires_grad_()
            hidden_BLE = self._model.merge_streams(one_BLE, self._other_BLE[:, start:stop])
            targets = self._examples.part(start, stop)
            prediction = predict(self._model, hidden_BLE, targets, self._total_weight)
            torch.autograd.backward(prediction.loss)
            assert one_BLE.grad is not None
            self._d_one_BLE[:, start:stop] = one_BLE.grad
            tally.add(prediction)
        self._d_other_BLE = self._d_one_BLE.clone()
        return tally.total

    def _back_through_mlp(self, block: Block) -> None:
        for start, stop in slices(self._length, self._chunk):
            one_BLE = self._one_BLE[:, start:stop].detach().requires_grad_()
            added_BLE = block.mlp_output(one_BLE)
            torch.autograd.backward(added_BLE, self._d_other_BLE[:, start:stop])
            assert one_BLE.grad is not None
            self._d_one_BLE[:, start:stop] += one_BLE.grad
            self._other_BLE[:, start:stop] -= added_BLE.detach()

    def _back_through_attention(self, block: Block, summary: State | None) -> None:
        leaf = None if summary is None else tuple(tensor.requires_grad_() for tensor in summary)
        for place in self._slices(block):
            x_BLE = self._other_BLE[:, place.first : place.last].detach().requires_grad_()
            added_BLE = block.attention_output_within(x_BLE, place.layout, place.core, leaf)
            torch.autograd.backward(added_BLE, self._d_one_BLE[:, place.start : place.stop])
            assert x_BLE.grad is not None
            self._d_other_BLE[:, place.first : place.last] += x_BLE.grad
            self._one_BLE[:, place.start : place.stop] -= added_BLE.detach()
        if leaf is None:
            return
        gradients = [
            torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in leaf
        ]
        for place in self._slices(block):
            x_BLE = self._other_BLE[:, place.first : place.last].detach().requires_grad_()
            torch.autograd.backward(block.summary(x_BLE, place.layout, place.core), gradients)
            assert x_BLE.grad is not None
            self._d_other_BLE[:, place.first : place.last] += x_BLE.grad

    def _back_through_embedding(self) -> None:
        for start, stop in slices(self._length, self._chunk):
            embedded_BLE = self._model.embedding(self._examples.inputs_BL[:, start:stop])
            gradient_BLE = self._d_one_BLE[:, start:stop] + self._d_other_BLE[:, start:stop]
            torch.autograd.backward(embedded_BLE, gradient_BLE)
