"""Differentiable point-to-point exchange of states, sums and halos between sequence shards.

The order of the messages of each process follows from the order of the blocks, in both directions;
no two processes wait for each other.
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
    """Messages between the processes of a sequence group, addressed by rank from left to right."""

    def send(self, message: Tensor, place: int, tag: int) -> None:
        """Send a message, which must not be modified before `flush`."""

    def recv(self, message: Tensor, place: int, tag: int) -> Tensor:
        """Receive into a message."""

    def all_reduce(self, message: Tensor) -> None:
        """Sum a message over all ranks, in place."""

    def flush(self) -> None:
        """Wait until every message has been received."""


class ProcessSequenceGroup:
    """`SequenceGroup` over processes.

    Args:
        wire: Channel between the processes.
        place: Index of this process from the left.
        num_places: Number of processes.
        backwards: True if states start at the right end.
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
        """Return the group with ranks counted from the other end."""
        return ProcessSequenceGroup(self._wire, self._at, self.size, backwards=not self._backwards)

    def recv_state(self, x: Tensor, start: State) -> State:
        """Receive the state of the previous shard; return `start` on the first."""
        if self.rank == 0:
            return start
        entered: State = _Enter.apply(self, x, *start)  # type: ignore[no-untyped-call]
        return entered

    def send_state(self, x: Tensor, state: State) -> Tensor:
        """Send a state to the next shard."""
        if self.rank == self.size - 1:
            return x
        sent: Tensor = _Leave.apply(self, x, *state)  # type: ignore[no-untyped-call]
        return sent

    def sum_states(self, parts: State) -> State:
        """Return the sum of the states of all shards."""
        summed: State = _Total.apply(self, *parts)  # type: ignore[no-untyped-call]
        return summed

    def exchange_halos(self, x_BCE: Tensor, halo: int) -> tuple[Tensor, Tensor]:
        """Return the last positions of the previous shard and the first of the next."""
        beside: tuple[Tensor, Tensor] = _Around.apply(self, x_BCE, halo)  # type: ignore[no-untyped-call]
        return beside

    def finish(self) -> None:
        """Wait until every message has been received."""
        self._wire.flush()

    def send(self, step: int, tensors: Sequence[Tensor], kind: int) -> None:
        """Send tensors to the neighbour at distance `step`."""
        self._wire.send(_pack(tensors), self._neighbour(step), self._tag(kind))

    def recv(self, step: int, like: Sequence[Tensor], kind: int) -> list[Tensor]:
        """Receive tensors of these shapes from the neighbour at distance `step`."""
        message = torch.empty_like(_pack(like))
        self._wire.recv(message, self._neighbour(step), self._tag(kind))
        return _unpack(message, like)

    def all_reduce(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums over all ranks."""
        message = _pack(tensors)
        self._wire.all_reduce(message)
        return _unpack(message, tensors)

    def has_neighbour(self, step: int) -> bool:
        """Return True if there is a neighbour at distance `step`."""
        return 0 <= self.rank + step < self.size

    def _neighbour(self, step: int) -> int:
        return self._at + (-step if self._backwards else step)

    def _tag(self, kind: int) -> int:
        return kind + int(self._backwards)


def _pack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors to one message in the widest dtype, so that no precision is lost."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _unpack(message: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts: list[Tensor] = []
    first = 0
    for tensor in like:
        part = message[first : first + tensor.numel()]
        parts.append(part.view(tensor.shape).to(tensor.dtype).clone())
        first += tensor.numel()
    return parts


def _shapes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of the same shape and dtype without storage of their own."""
    return [tensor.new_empty(()).expand(tensor.shape) for tensor in tensors]


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
        # `ctx` is untyped: the annotation lets the type checker see the methods.
        line: ProcessSequenceGroup = ctx.line
        line.send(-1, gradients, _STATE)
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
        line: ProcessSequenceGroup = ctx.line
        return None, d_x, *line.recv(1, ctx.like, _STATE)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, line: ProcessSequenceGroup, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.line = line
        return tuple(line.all_reduce(parts))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        line: ProcessSequenceGroup = ctx.line
        return None, *line.all_reduce(gradients)


class _Around(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, line: ProcessSequenceGroup, x_BCE: Tensor, halo: int
    ) -> tuple[Tensor, Tensor]:
        ctx.line, ctx.halo, ctx.like = line, halo, _shapes((x_BCE,))[0]
        first_BHE, last_BHE = x_BCE[:, :halo], x_BCE[:, x_BCE.shape[1] - halo :]
        return _exchange_borders(line, first_BHE, last_BHE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_before_BHE: Tensor, d_after_BHE: Tensor) -> tuple[None, Tensor, None]:
        d_first_BHE, d_last_BHE = _exchange_borders(ctx.line, d_before_BHE, d_after_BHE)
        d_x_BCE = torch.zeros(ctx.like.shape, dtype=ctx.like.dtype, device=ctx.like.device)
        d_x_BCE[:, : d_first_BHE.shape[1]] += d_first_BHE
        d_x_BCE[:, d_x_BCE.shape[1] - d_last_BHE.shape[1] :] += d_last_BHE
        return None, d_x_BCE, None


def _exchange_borders(
    line: ProcessSequenceGroup, before: Tensor, after: Tensor
) -> tuple[Tensor, Tensor]:
    """Exchange tensors with the previous and the next neighbour."""
    like = before if before.shape[1] else after
    empty = like[:, :0].clone()
    for step, tensor in ((-1, before), (1, after)):
        if line.has_neighbour(step):
            line.send(step, (tensor,), _BORDER)
    received = [
        line.recv(step, (like,), _BORDER)[0] if line.has_neighbour(step) else empty
        for step in (-1, 1)
    ]
    return received[0], received[1]
