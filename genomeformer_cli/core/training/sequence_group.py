"""States, sums and borders of stretches handed from process to process, gradients going back.

The order in which each process hands over follows from the order of the blocks, in both directions;
no process waits for one that waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genomeformer_cli.core.attention.protocols import State

_STATE, _BORDER = 0, 2


class Channel(Protocol):
    """How processes of a line reach each other, by their places from left to right."""

    def send(self, message: Tensor, place: int, tag: int) -> None:
        """Hand a message over; it stays as it is until `flush`."""

    def recv(self, message: Tensor, place: int, tag: int) -> Tensor:
        """Fill a message with what is handed over."""

    def all_reduce(self, message: Tensor) -> None:
        """Sum a message over all places, in place."""

    def flush(self) -> None:
        """Wait until everything that was handed over is taken."""


class ProcessSequenceGroup:
    """A `Line` of processes.

    Args:
        wire: How they reach each other.
        place: Which one this is, from the left.
        num_places: How many there are.
        backwards: Whether states begin at the right end.
    """

    def __init__(
        self, wire: Channel, place: int, num_places: int, *, backwards: bool = False
    ) -> None:
        self._wire = wire
        self._at = place
        self._backwards = backwards
        self.rank = num_places - 1 - place if backwards else place
        self.size = num_places

    def reversed(self) -> ProcessSequenceGroup:
        """The same processes, from the other end."""
        return ProcessSequenceGroup(self._wire, self._at, self.size, backwards=not self._backwards)

    def recv_state(self, x: Tensor, start: State) -> State:
        """The state that the one before passes on."""
        if self.rank == 0:
            return start
        entered: State = _Enter.apply(self, x, *start)  # type: ignore[no-untyped-call]
        return entered

    def send_state(self, x: Tensor, state: State) -> Tensor:
        """Pass a state on."""
        if self.rank == self.size - 1:
            return x
        left: Tensor = _Leave.apply(self, x, *state)  # type: ignore[no-untyped-call]
        return left

    def sum_states(self, parts: State) -> State:
        """The sum over all stretches."""
        summed: State = _Total.apply(self, *parts)  # type: ignore[no-untyped-call]
        return summed

    def exchange_halos(self, x_BCE: Tensor, halo: int) -> tuple[Tensor, Tensor]:
        """What stands beside the stretch."""
        beside: tuple[Tensor, Tensor] = _Around.apply(self, x_BCE, halo)  # type: ignore[no-untyped-call]
        return beside

    def finish(self) -> None:
        """Wait until everything that was passed on is taken."""
        self._wire.flush()

    def send(self, step: int, tensors: Sequence[Tensor], kind: int) -> None:
        """Hand tensors over to the neighbour `step` places on."""
        self._wire.send(_joined(tensors), self._neighbour(step), self._tag(kind))

    def recv(self, step: int, like: Sequence[Tensor], kind: int) -> list[Tensor]:
        """Take tensors of these shapes from the neighbour `step` places on."""
        message = torch.empty_like(_joined(like))
        self._wire.recv(message, self._neighbour(step), self._tag(kind))
        return _parted(message, like)

    def all_reduce(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over all places."""
        message = _joined(tensors)
        self._wire.all_reduce(message)
        return _parted(message, tensors)

    def has_neighbour(self, step: int) -> bool:
        """Whether there is a neighbour `step` places on."""
        return 0 <= self.rank + step < self.size

    def _neighbour(self, step: int) -> int:
        return self._at + (-step if self._backwards else step)

    def _tag(self, kind: int) -> int:
        return kind + int(self._backwards)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """One message; in the widest dtype among them, so that none loses a digit."""
    return torch.cat([one.detach().flatten() for one in tensors])


def _parted(message: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts: list[Tensor] = []
    first = 0
    for one in like:
        part = message[first : first + one.numel()]
        parts.append(part.view(one.shape).to(one.dtype).clone())
        first += one.numel()
    return parts


def _shapes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of the same shape and dtype that hold no numbers of their own."""
    return [one.new_empty(()).expand(one.shape) for one in tensors]


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, line: ProcessSequenceGroup, x: Tensor, *start: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.line = line
        return tuple(line.recv(-1, start, _STATE))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        ctx.line.pass_to(-1, gradients, _STATE)
        return None, None, *(None for _ in gradients)


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, line: ProcessSequenceGroup, x: Tensor, *state: Tensor) -> Tensor:
        ctx.line = line
        ctx.like = _shapes(state)
        line.send(1, state, _STATE)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_x: Tensor) -> tuple[Tensor | None, ...]:
        return None, d_x, *ctx.line.take_from(1, ctx.like, _STATE)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, line: ProcessSequenceGroup, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.line = line
        return tuple(line.all_reduce(parts))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.line.add_up(gradients)


class _Around(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, line: ProcessSequenceGroup, x_BCE: Tensor, halo: int
    ) -> tuple[Tensor, Tensor]:
        ctx.line, ctx.halo, ctx.like = line, halo, _shapes((x_BCE,))[0]
        first_BHE, last_BHE = x_BCE[:, :halo], x_BCE[:, x_BCE.shape[1] - halo :]
        return _exchanged(line, first_BHE, last_BHE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_before_BHE: Tensor, d_after_BHE: Tensor) -> tuple[None, Tensor, None]:
        d_first_BHE, d_last_BHE = _exchanged(ctx.line, d_before_BHE, d_after_BHE)
        d_x_BCE = torch.zeros(ctx.like.shape, dtype=ctx.like.dtype, device=ctx.like.device)
        d_x_BCE[:, : d_first_BHE.shape[1]] += d_first_BHE
        d_x_BCE[:, d_x_BCE.shape[1] - d_last_BHE.shape[1] :] += d_last_BHE
        return None, d_x_BCE, None


def _exchanged(line: ProcessSequenceGroup, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Give one tensor to the neighbour before and one to that after; take theirs."""
    like = before if before.shape[1] else after
    nothing = like[:, :0].clone()
    for step, tensor in ((-1, before), (1, after)):
        if line.has_neighbour(step):
            line.send(step, (tensor,), _BORDER)
    taken = [
        line.recv(step, (like,), _BORDER)[0] if line.has_neighbour(step) else nothing
        for step in (-1, 1)
    ]
    return taken[0], taken[1]
