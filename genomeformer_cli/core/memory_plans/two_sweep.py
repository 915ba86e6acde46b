"""`two-sweep`: exact gradients of a bidirectional linear-attention stack in n buffers of L d.

Given the sum that its queries read, every block works row by row. Each block is therefore applied
in two sweeps over slices of C positions: one computes the sum, one reads it. The backward pass also
takes two sweeps: the first computes the gradients of the rows of the slice and accumulates that of
the sum; the second propagates the gradient of the sum to the rows. The outputs of all blocks but
the last are kept, and one gradient. Blocks that see only neighbours need no sum; each slice is then
read together with its neighbours.

Buffers are written and read strictly in order, so that they may be bfloat16 (half the memory,
gradients off by about 5e-4).
Shape letters: B batch, L length, T targets of a slice, E width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.streaming_forward import (
    Slice,
    slices_with_halo,
    sum_of_row,
)
from genomeformer_cli.core.objectives.loss import Examples, LossAccumulator, Prediction, predict_at


def two_sweep_gradients(
    model: Encoder,
    examples: Examples,
    *,
    chunk: int,
    total_weight: Tensor,
    storage: torch.dtype | None = None,
) -> Prediction:
    """Add the gradients of rows without padding.

    Args:
        model: Bidirectional stack of mechanisms that sum or that see only neighbours.
        examples: Inputs and targets of the rows.
        chunk: Positions per slice.
        total_weight: Weight of all targets of the batch.
        storage: Precision of the buffers; None: that of the weights.
    """
    return _TwoSweepStep(model, examples, chunk, total_weight, storage).run()


class _TwoSweepStep:
    def __init__(
        self,
        model: Encoder,
        examples: Examples,
        chunk: int,
        total_weight: Tensor,
        storage: torch.dtype | None,
    ) -> None:
        self._model = model
        self._blocks = model.stack
        self._examples = examples
        self._chunk = chunk
        self._total_weight = total_weight
        batch, self._length = examples.inputs_BL.shape
        weight = model.embedding.weight
        shape = (batch, self._length, model.config.width)
        self._outputs = [
            torch.empty(shape, dtype=storage or weight.dtype, device=weight.device)
            for _ in self._blocks[1:]
        ]
        self._gradient_BLE = torch.empty(
            shape if self._outputs else 0, dtype=storage or weight.dtype, device=weight.device
        )
        self._summaries: list[State | None] = []
        self._tally = LossAccumulator()

    def run(self) -> Prediction:
        with torch.no_grad():
            for index in range(len(self._blocks)):
                self._summaries.append(self._summarised(index))
                if index < len(self._outputs):
                    self._apply(index)
        for index in reversed(range(len(self._blocks))):
            summary = self._summaries[index]
            leaf = None if summary is None else tuple(tensor.requires_grad_() for tensor in summary)
            self._back_through_reading(index, leaf)
            if leaf is not None:
                self._back_through_sum(index, leaf)
            if index:
                self._outputs.pop()
        return self._tally.total

    def _slices(self, index: int) -> Iterator[Slice]:
        return slices_with_halo(self._model, self._blocks[index], self._length, self._chunk)

    def _input(self, index: int, first: int, last: int) -> Tensor:
        if index == 0:
            tokens_BL = self._examples.inputs_BL[:, first:last]
            embedded_BLE: Tensor = self._model.embedding(tokens_BL)
            return embedded_BLE
        x_BLE = self._outputs[index - 1][:, first:last]
        return x_BLE.to(self._model.embedding.weight.dtype).detach().requires_grad_()

    def _summarised(self, index: int) -> State | None:
        return sum_of_row(
            self._model,
            self._blocks[index],
            self._length,
            self._chunk,
            lambda first, last: self._input(index, first, last),
        )

    def _attended(self, index: int, place: Slice, x_BLE: Tensor, summary: State | None) -> Tensor:
        added_BLE = self._blocks[index].attention_output_within(
            x_BLE, place.layout, place.core, summary
        )
        return x_BLE[:, place.core] + added_BLE

    def _apply(self, index: int) -> None:
        for place in self._slices(index):
            x_BLE = self._input(index, place.first, place.last)
            y_BLE = self._attended(index, place, x_BLE, self._summaries[index])
            self._outputs[index][:, place.start : place.stop] = self._blocks[index].add_mlp(y_BLE)

    def _back_through_reading(self, index: int, summary: State | None) -> None:
        """Replace the gradient of the outputs by that of the inputs, slice after slice.

        The contribution to the right neighbours of a slice is held until their turn.
        """
        owed_BLE: Tensor | None = None
        for place in self._slices(index):
            x_BLE = self._input(index, place.first, place.last)
            y_BLE = self._attended(index, place, x_BLE, summary)
            block = self._blocks[index]
            if index == len(self._blocks) - 1:
                examples = self._examples.part(place.start, place.stop)
                targets = examples.target_positions
                # Nobody asks what the last MLP makes of the other positions.
                hidden_TE = self._model.normed(block.add_mlp(targets.gather(y_BLE)))
                prediction = predict_at(
                    self._model, hidden_TE, examples, targets, self._total_weight
                )
                torch.autograd.backward(prediction.loss)
                self._tally.add(prediction)
            else:
                gradient_BLE = self._gradient_BLE[:, place.start : place.stop]
                y_BLE = block.add_mlp(y_BLE)
                torch.autograd.backward(y_BLE, gradient_BLE.to(y_BLE.dtype))
            if index:
                assert x_BLE.grad is not None
                owed_BLE = self._write_gradient(place, x_BLE.grad, owed_BLE)

    def _write_gradient(
        self, place: Slice, gradient_BLE: Tensor, owed_BLE: Tensor | None
    ) -> Tensor:
        core = place.core
        if owed_BLE is not None:
            gradient_BLE[:, core.start : core.start + owed_BLE.shape[1]] += owed_BLE
        self._gradient_BLE[:, place.first : place.start] += gradient_BLE[:, : core.start]
        self._gradient_BLE[:, place.start : place.stop] = gradient_BLE[:, core]
        return gradient_BLE[:, core.stop :]

    def _back_through_sum(self, index: int, summary: State) -> None:
        block = self._blocks[index]
        gradients = [
            torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in summary
        ]
        for place in self._slices(index):
            x_BLE = self._input(index, place.first, place.last)
            part = block.summary(x_BLE, place.layout, place.core)
            torch.autograd.backward(part, gradients)
            if index:
                assert x_BLE.grad is not None
                self._gradient_BLE[:, place.first : place.last] += x_BLE.grad
