"""`two-stack`: exact gradients of two opposite causal stacks in memory independent of the length.

The plan applies `slim` to each stack in its own direction: (1) the forward stack runs from left to
right and stores its start states; (2) from right to left, the backward stack runs without a graph
and stores its start states, while gradients of the forward stack and of the head are computed;
(3) from left to right, gradients of the backward stack are computed. Each stack runs forward three
times instead of once, so that a step takes about 1.5 times as long as with whole rows.
Shape letters: B batch, L length, C positions of a slice, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.memory_plans.slim import (
    BoundaryStates,
    back_propagate,
    gradients_of,
    leaves,
)
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.streaming_forward import slices
from genomeformer_cli.core.objectives.loss import Examples, LossAccumulator, Prediction, predict


def two_stack_gradients(
    model: TwoStack, examples: Examples, *, chunk: int, total_weight: Tensor
) -> Prediction:
    """Add the gradients of rows without padding.

    Args:
        model: Two causal stacks.
        examples: Inputs and targets of the rows.
        chunk: Positions per slice, C.
        total_weight: Weight of all targets of the batch.
    """
    return _TwoStackStep(model, examples, chunk, total_weight).run()


class _TwoStackStep:
    def __init__(
        self, model: TwoStack, examples: Examples, chunk: int, total_weight: Tensor
    ) -> None:
        tokens_BL = examples.inputs_BL
        self._model = model
        self._examples = examples
        self._total_weight = total_weight
        self._length = tokens_BL.shape[1]
        self._bounds = slices(self._length, chunk)
        self._ahead_BL = model.shifted(tokens_BL)
        self._back_BL = model.shifted(model.other_strand(tokens_BL.flip(1)))
        self._ahead = BoundaryStates(model.ahead, len(tokens_BL), len(self._bounds))
        self._back = BoundaryStates(model.back, len(tokens_BL), len(self._bounds))

    def run(self) -> Prediction:
        self._keep_states_ahead()
        prediction = self._back_propagate_ahead()
        self._back_propagate_back()
        return prediction

    @torch.no_grad()
    def _keep_states_ahead(self) -> None:
        for index, (start, stop) in enumerate(self._bounds[:-1]):
            tokens_BC = self._ahead_BL[:, start:stop]
            states = self._model.ahead.advance(tokens_BC, self._ahead.get(index), position=start)
            self._ahead.put(index + 1, states)

    def _backward_tokens(self, index: int) -> tuple[Tensor, int]:
        """Return the tokens of a slice for the backward stack, and their first position."""
        start, stop = self._bounds[index]
        first = self._length - stop
        return self._back_BL[:, first : self._length - start], first

    def _back_propagate_ahead(self) -> Prediction:
        flowing: list[Tensor] = []
        tally = LossAccumulator()
        for index, (start, stop) in reversed(list(enumerate(self._bounds))):
            turned_BC, position = self._backward_tokens(index)
            with torch.no_grad():
                back_BCE, after_back = self._model.back.step(
                    turned_BC, None, self._back.get(index), position=position
                )
                if index:
                    self._back.put(index - 1, after_back)
            entering = leaves(self._ahead.get(index))
            ahead_BCE, after = self._model.ahead.step(
                self._ahead_BL[:, start:stop], None, entering, position=start
            )
            prediction = self._predict(index, ahead_BCE, back_BCE.flip(1))
            back_propagate([prediction.loss], [None], after, flowing)
            flowing = gradients_of(entering)
            tally.add(prediction)
        return tally.total

    def _back_propagate_back(self) -> None:
        flowing: list[Tensor] = []
        for index, (start, stop) in enumerate(self._bounds):
            with torch.no_grad():
                ahead_BCE, _ = self._model.ahead.step(
                    self._ahead_BL[:, start:stop], None, self._ahead.get(index), position=start
                )
            turned_BC, position = self._backward_tokens(index)
            entering = leaves(self._back.get(index))
            back_BCE, after = self._model.back.step(turned_BC, None, entering, position=position)
            read_BCE = back_BCE.detach().requires_grad_()
            prediction = self._predict(index, ahead_BCE, read_BCE.flip(1))
            # The head had its share on the way back through the stack ahead.
            (gradient,) = torch.autograd.grad(prediction.loss, [read_BCE])
            back_propagate([back_BCE], [gradient], after, flowing)
            flowing = gradients_of(entering)

    def _predict(self, index: int, ahead_BCE: Tensor, back_BCE: Tensor) -> Prediction:
        targets = self._examples.part(*self._bounds[index])
        hidden_BCE = torch.cat((ahead_BCE, back_BCE), dim=-1)
        return predict(self._model, hidden_BCE, targets, self._total_weight)
