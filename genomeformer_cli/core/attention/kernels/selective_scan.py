"""Selective scan: the recurrence of Mamba, with decays that depend on the input.

    h_t = exp(delta_t A) h_{t-1} + delta_t x_t B_t,   y_t = C_t h_t

for each of D channels, with N numbers of state per channel. The states exist for one chunk of
positions at a time, forward and backward: memory is O(L D), not O(L D N), and one state per chunk
is kept for the gradients, which are exact. Nothing is divided by a decay, so that no decay is too
fast.
Source: Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
    algorithm 2 and section 3.3.2 (recomputation).
Shape letters: B batch, L length, D channels, N states of a channel, T positions of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Positions per chunk, and numbers of a chunk's states: about half of a core's cache.
_CPU_CHUNK, _CPU_NUMBERS = 32, 2**18
_DEVICE_CHUNK = 256


def selective_scan(
    x_BLD: Tensor,
    delta_BLD: Tensor,
    a_DN: Tensor,
    b_BLN: Tensor,
    c_BLN: Tensor,
    state_BND: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence along the positions.

    Args:
        x_BLD: Inputs; 0 at positions that must not change the state.
        delta_BLD: Positive step sizes.
        a_DN: Negative rates of decay.
        b_BLN: Input matrices B.
        c_BLN: Output matrices C.
        state_BND: States before the first position, in the dtype of the result.

    Returns:
        y (B, L, D) and the states (B, N, D) after the last position.
    """
    a_ND = a_DN.mT.contiguous()
    y_BLD, state_BND = _SelectiveScan.apply(x_BLD, delta_BLD, a_ND, b_BLN, c_BLN, state_BND)  # type: ignore[no-untyped-call]
    return y_BLD, state_BND


def selective_scan_reference(
    x_BLD: Tensor,
    delta_BLD: Tensor,
    a_DN: Tensor,
    b_BLN: Tensor,
    c_BLN: Tensor,
    state_BND: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute `selective_scan` position by position."""
    ys = []
    for x_BD, delta_BD, b_BN, c_BN in zip(
        x_BLD.unbind(1), delta_BLD.unbind(1), b_BLN.unbind(1), c_BLN.unbind(1), strict=True
    ):
        decay_BND = torch.exp(delta_BD[:, None] * a_DN.mT)
        state_BND = decay_BND * state_BND + (delta_BD * x_BD)[:, None] * b_BN[..., None]
        ys.append(torch.einsum("bn,bnd->bd", c_BN, state_BND))
    return torch.stack(ys, dim=1), state_BND


def on_cpu(tensor: Tensor) -> bool:
    """Return True on a CPU, where few positions at a time fit the cache."""
    return tensor.device.type == "cpu"


def _parts(x_BLD: Tensor, num_states: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and channels that are computed together: all, or as many as the cache holds."""
    batch, _, channels = x_BLD.shape
    if not on_cpu(x_BLD):
        yield slice(0, batch), slice(0, channels)
        return
    numbers = _CPU_NUMBERS // (_CPU_CHUNK * num_states)
    width = -(-channels // math.ceil(channels / max(numbers, 1)))
    rows = max(numbers // width, 1)
    for row in range(0, batch, rows):
        for channel in range(0, channels, width):
            yield slice(row, row + rows), slice(channel, channel + width)


def _chunks(x_BLD: Tensor) -> list[slice]:
    chunk = _CPU_CHUNK if on_cpu(x_BLD) else _DEVICE_CHUNK
    length = x_BLD.shape[1]
    return [slice(start, min(start + chunk, length)) for start in range(0, length, chunk)]


def _recur(added_TBND: Tensor, decay_TBND: Tensor, state_BND: Tensor) -> None:
    """Replace what is added at each position by the state after it.

    Args:
        added_TBND: Terms added to the state.
        decay_TBND: Factors of the state before the addition.
        state_BND: State before the first position.
    """
    whole = 0
    if not on_cpu(added_TBND):
        whole = math.isqrt(len(added_TBND)) ** 2
        state_BND = recur_in_groups(added_TBND[:whole], decay_TBND[:whole], state_BND)
    rest = zip(added_TBND[whole:].unbind(), decay_TBND[whole:].unbind(), strict=True)
    for after_BND, decay_BND in rest:
        state_BND = after_BND.addcmul_(decay_BND, state_BND)


def recur_in_groups(added_TBND: Tensor, decay_TBND: Tensor, state_BND: Tensor) -> Tensor:
    """Replace as in `selective_scan`, in few large operations, as many as twice the root of T.

    All groups start at once from empty states; then what the state before each group adds.

    Args:
        added_TBND: Terms added to the state, a square number of them.
        decay_TBND: Factors of the state before the addition.
        state_BND: State before the first position.

    Returns:
        State after the last position.
    """
    group = math.isqrt(len(added_TBND))
    if not group:
        return state_BND
    added_GTBND, decay_GTBND = (
        x.view(group, group, *x.shape[1:]) for x in (added_TBND, decay_TBND)
    )
    total_GTBND = decay_GTBND.clone()
    for place in range(1, group):
        added_GTBND[:, place].addcmul_(decay_GTBND[:, place], added_GTBND[:, place - 1])
        total_GTBND[:, place].mul_(total_GTBND[:, place - 1])
    for after_TBND, total_TBND in zip(added_GTBND.unbind(), total_GTBND.unbind(), strict=True):
        after_TBND.addcmul_(total_TBND, state_BND)
        state_BND = after_TBND[-1]
    return state_BND


def _states(
    u_TBD: Tensor, delta_TBD: Tensor, a_ND: Tensor, b_TBN: Tensor, state_BND: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the decays and the states of a chunk, both (T, B, N, D)."""
    decay_TBND = (delta_TBD[:, :, None] * a_ND).exp_()
    states_TBND = u_TBD[:, :, None] * b_TBN[..., None]
    _recur(states_TBND, decay_TBND, state_BND)
    return decay_TBND, states_TBND


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_BLD: Tensor,
        delta_BLD: Tensor,
        a_ND: Tensor,
        b_BLN: Tensor,
        c_BLN: Tensor,
        state_BND: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x_BLD, delta_BLD, a_ND, b_BLN, c_BLN)
        dtype, last_BND = state_BND.dtype, state_BND.clone()
        x_BLD, delta_BLD, a_ND, b_BLN, c_BLN = (
            tensor.to(dtype) for tensor in (x_BLD, delta_BLD, a_ND, b_BLN, c_BLN)
        )
        chunks = _chunks(x_BLD)
        keeps = any(ctx.needs_input_grad)
        firsts_CBND = last_BND.new_empty(len(chunks) if keeps else 0, *last_BND.shape)
        y_BLD = x_BLD.new_empty(x_BLD.shape)
        for rows, channels in _parts(x_BLD, a_ND.shape[0]):
            now_BND = last_BND[rows, :, channels]
            for number, span in enumerate(chunks):
                if keeps:
                    firsts_CBND[number, rows, :, channels] = now_BND
                x_TBD = x_BLD[rows, span, channels].transpose(0, 1)
                delta_TBD = delta_BLD[rows, span, channels].transpose(0, 1)
                b_TBN, c_TBN = (tensor[rows, span].transpose(0, 1) for tensor in (b_BLN, c_BLN))
                states_TBND = _states(
                    delta_TBD * x_TBD, delta_TBD, a_ND[:, channels], b_TBN, now_BND
                )[1]
                y_TBD = (c_TBN[:, :, None] @ states_TBND)[:, :, 0]
                y_BLD[rows, span, channels] = y_TBD.transpose(0, 1)
                now_BND = states_TBND[-1]
            last_BND[rows, :, channels] = now_BND
        ctx.firsts_CBND = firsts_CBND
        return y_BLD, last_BND

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y_BLD: Tensor, d_last_BND: Tensor) -> tuple[Tensor, ...]:
        saved = ctx.saved_tensors
        dtype = d_last_BND.dtype
        x_BLD, delta_BLD, a_ND, b_BLN, c_BLN = (tensor.to(dtype) for tensor in saved)
        d_x_BLD, d_delta_BLD = torch.empty_like(x_BLD), torch.empty_like(x_BLD)
        d_a_ND, d_b_BLN, d_c_BLN = (torch.zeros_like(tensor) for tensor in (a_ND, b_BLN, c_BLN))
        d_state_BND = d_last_BND.clone()
        chunks = _chunks(x_BLD)
        for rows, channels in _parts(x_BLD, a_ND.shape[0]):
            a_here_ND, d_now_BND = a_ND[:, channels], d_state_BND[rows, :, channels]
            for number in reversed(range(len(chunks))):
                span = chunks[number]
                x_TBD, delta_TBD, d_y_TBD = (
                    tensor[rows, span, channels].transpose(0, 1)
                    for tensor in (x_BLD, delta_BLD, d_y_BLD)
                )
                b_TBN, c_TBN = (tensor[rows, span].transpose(0, 1) for tensor in (b_BLN, c_BLN))
                u_TBD, first_BND = delta_TBD * x_TBD, ctx.firsts_CBND[number, rows, :, channels]
                decay_TBND, states_TBND = _states(u_TBD, delta_TBD, a_here_ND, b_TBN, first_BND)
                d_c_BLN[rows, span] += (states_TBND @ d_y_TBD[..., None])[..., 0].transpose(0, 1)
                d_states_TBND = _d_states(decay_TBND, c_TBN, d_y_TBD, d_now_BND)
                d_now_BND = d_states_TBND[0] * decay_TBND[0]
                d_u_TBD = (b_TBN[:, :, None] @ d_states_TBND)[:, :, 0]
                d_b_BLN[rows, span] += (d_states_TBND @ u_TBD[..., None])[..., 0].transpose(0, 1)
                d_states_TBND[1:].mul_(states_TBND[:-1])
                d_states_TBND[0].mul_(first_BND)
                d_exponent_TBND = d_states_TBND.mul_(decay_TBND)
                d_a_ND[:, channels] += (d_exponent_TBND * delta_TBD[:, :, None]).sum(dim=(0, 1))
                d_delta_TBD = (d_exponent_TBND * a_here_ND).sum(dim=2) + d_u_TBD * x_TBD
                d_delta_BLD[rows, span, channels] = d_delta_TBD.transpose(0, 1)
                d_x_BLD[rows, span, channels] = (d_u_TBD * delta_TBD).transpose(0, 1)
            d_state_BND[rows, :, channels] = d_now_BND
        sums = (d_x_BLD, d_delta_BLD, d_a_ND, d_b_BLN, d_c_BLN)
        gradients = (tensor.to(like.dtype) for tensor, like in zip(sums, saved, strict=True))
        return (*gradients, d_state_BND)


def _d_states(decay_TBND: Tensor, c_TBN: Tensor, d_y_TBD: Tensor, d_last_BND: Tensor) -> Tensor:
    """Return the gradients (T, B, N, D) of the states of a chunk: the same recurrence, reversed."""
    d_states_TBND = (c_TBN[..., None] * d_y_TBD[:, :, None]).flip(0)
    d_states_TBND[0] += d_last_BND
    # The gradient of the last state is complete; that of each other one adds what follows it.
    _recur(d_states_TBND[1:], decay_TBND[1:].flip(0), d_states_TBND[0])
    return d_states_TBND.flip(0)
