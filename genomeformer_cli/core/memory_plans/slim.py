"""`slim`: exact gradients of a causal stack in memory that does not grow with the length.

The forward pass runs from left to right without a graph and keeps only the state at the start of
each slice of C positions. The backward pass runs from right to left: each slice is recomputed from
its start state, and its loss and the gradient of its end state are propagated backward together.
The gradient of the start state passes to the previous slice. Memory: O(n C d) for one slice, plus
L / C states. The states are stored, because recovering them by subtraction, as in the paper,
accumulates rounding errors. The last slices are computed only once.

Source: Likhosherstov et al. 2021, "Sub-Linear Memory: How to Make Performers SLiM", algorithm 1,
given there for Performers; it holds for any stack whose past is a state.
Shape letters: B batch, C positions of a slice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.genomeformer.streaming_forward import slices
from genomeformer_cli.core.objectives.loss import Examples, LossAccumulator, Prediction, predict


class BoundaryStates:
    """States at the start of each slice, with one allocation per tensor.

    Args:
        stack: Causal stack.
        batch: Number of rows.
        num_slices: Slices per row.
    """

    def __init__(self, stack: Encoder, batch: int, num_slices: int) -> None:
        start = stack.start(batch, stack.embedding.weight)
        self._stored = [
            [tensor.new_zeros(num_slices, *tensor.shape) for tensor in state] for state in start
        ]

    def put(self, index: int, states: list[State]) -> None:
        """Store the states at the start of a slice."""
        for stored, state in zip(self._stored, states, strict=True):
            for buffer, tensor in zip(stored, state, strict=True):
                buffer[index].copy_(tensor.detach())

    def get(self, index: int) -> list[State]:
        """Return the states at the start of a slice; initial states for the first."""
        return [tuple(buffer[index] for buffer in stored) for stored in self._stored]


def leaves(states: list[State]) -> list[State]:
    """Return detached copies of the states that require gradients."""
    return [tuple(tensor.detach().requires_grad_() for tensor in state) for state in states]


def back_propagate(
    outputs: list[Tensor], gradients: list[Tensor | None], after: list[State], flowing: list[Tensor]
) -> None:
    """Propagate the gradients of the outputs and of the end states of a slice backward together."""
    leaving = [tensor for state in after for tensor in state]
    pairs = [
        (tensor, gradient)
        for tensor, gradient in zip(
            [*outputs, *leaving[: len(flowing)]], [*gradients, *flowing], strict=True
        )
        if tensor.requires_grad
    ]
    if pairs:
        torch.autograd.backward(
            [tensor for tensor, _ in pairs], [gradient for _, gradient in pairs]
        )


def gradients_of(states: list[State]) -> list[Tensor]:
    """Return the gradients for the previous slice; zero where a state received none."""
    return [
        torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for state in states
        for leaf in state
    ]


def slim_gradients(
    model: Encoder, examples: Examples, *, chunk: int, num_kept: int, total_weight: Tensor
) -> Prediction:
    """Add the gradients of rows without padding.

    Args:
        model: Causal stack.
        examples: Inputs and targets of the rows.
        chunk: Positions per slice, C.
        num_kept: Slices at the end of the rows whose activations are kept for the backward pass.
        total_weight: Weight of all targets of the batch.
    """
    batch, length = examples.inputs_BL.shape
    bounds = slices(length, chunk)
    boundaries = BoundaryStates(model, batch, len(bounds))

    def computed(index: int) -> tuple[list[State], Tensor, list[State]]:
        """Return the start states of a slice, its features and its end states."""
        start, stop = bounds[index]
        entering = leaves(boundaries.get(index))
        tokens_BC = examples.inputs_BL[:, start:stop]
        return entering, *model.step(tokens_BC, None, entering, position=start)

    first_kept = max(len(bounds) - num_kept, 0)
    with torch.no_grad():
        for index, (start, stop) in enumerate(bounds[:first_kept]):
            tokens_BC = examples.inputs_BL[:, start:stop]
            states = model.advance(tokens_BC, boundaries.get(index), position=start)
            boundaries.put(index + 1, states)
    waiting: list[tuple[list[State], Tensor, list[State]]] = []
    for index in range(first_kept, len(bounds)):
        waiting.append(computed(index))
        if index + 1 < len(bounds):
            boundaries.put(index + 1, waiting[-1][2])
    flowing: list[Tensor] = []
    tally = LossAccumulator()
    for index in reversed(range(len(bounds))):
        entering, hidden_BCE, after = waiting.pop() if waiting else computed(index)
        targets = examples.part(*bounds[index])
        prediction = predict(model, hidden_BCE, targets, total_weight)
        back_propagate([prediction.loss], [None], after, flowing)
        flowing = gradients_of(entering)
        tally.add(prediction)
    return tally.total
