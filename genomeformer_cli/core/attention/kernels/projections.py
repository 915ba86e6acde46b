"""Queries, keys and values of a layer: normalise, project and position in one operation.

Queries and keys are normalised per head (Henry et al. 2020, "Query-Key Normalization"), unless the
model leaves it out, and rotated by their position if the mechanism uses rotary positions (Su et al.
2021, "RoFormer", equation 34).
On a CPU a few hundred rows are processed at a time, so that intermediates stay in the cache. The
backward pass needs the input, two scales per row and the projections before rotation.

Shape letters: B batch, L length, N rows of a block, E width, H heads, D head width, P parts that
are rotated, W rows of the weight (their widths and those of the other parts), R rotated pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.cpu_blocking import (
    PositionBlock,
    add_product,
    as_weights,
    position_blocks,
    product_dtype,
    put_product,
    use_cpu_blocking,
)
from genomeformer_cli.core.attention.kernels.product_weights import left_factor, put_linear
from genomeformer_cli.core.attention.kernels.rms_norm import (
    back_through_scale,
    rms_norm_reference,
    row_scales,
)
from genomeformer_cli.core.attention.kernels.rotary import rotate, turn

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Parts:
    """Parts of a projection weight: first the rotated parts, then the others."""

    num_heads: int  # Number of heads, H.
    num_rotated: int  # Number of rotated parts, P.
    widths: tuple[int, ...]  # Widths of the other parts; rotated parts are as wide as the input.


def projections(
    x_BLE: Tensor,
    gain_E: Tensor | None,
    weight_WE: Tensor,
    gains_PD: Tensor | None,
    angles: Angles | None,
    parts: Parts,
) -> tuple[Tensor, ...]:
    """Return every part as (B, H, L, .), in the memory order (B, L, H, .).

    Args:
        x_BLE: Residual stream, or a tensor derived from it.
        gain_E: Gain of its normalisation; None: the input is not normalised.
        weight_WE: Weight of all parts.
        gains_PD: Gains of the normalisation of each rotated part; None: they are not normalised.
        angles: Cosines and sines (L, R), or (B, 1, L, R); None: nothing is rotated.
        parts: Parts of the weight.
    """
    x_BLE = as_weights(x_BLE, weight_WE)
    weights = [weight for weight in (gain_E, weight_WE, gains_PD) if weight is not None]
    if gains_PD is None or not use_cpu_blocking(x_BLE, *weights):
        return projections_reference(x_BLE, gain_E, weight_WE, gains_PD, angles, parts)
    if angles is not None:
        angles = (angles[0].to(x_BLE.dtype), angles[1].to(x_BLE.dtype))
    outputs: tuple[Tensor, ...] = _Projections.apply(  # type: ignore[no-untyped-call]
        x_BLE, gain_E, weight_WE, gains_PD, angles, parts
    )
    return outputs


def projections_reference(
    x_BLE: Tensor,
    gain_E: Tensor | None,
    weight_WE: Tensor,
    gains_PD: Tensor | None,
    angles: Angles | None,
    parts: Parts,
) -> tuple[Tensor, ...]:
    """Compute `projections` one operation after the other."""
    batch, length, width = x_BLE.shape
    if gain_E is not None:
        x_BLE = rms_norm_reference(x_BLE, gain_E)
    widths = (width,) * parts.num_rotated + parts.widths
    split = torch.split(functional.linear(x_BLE, weight_WE), list(widths), dim=-1)
    heads = [part.view(batch, length, parts.num_heads, -1).transpose(1, 2) for part in split]
    for number in range(parts.num_rotated):
        if gains_PD is not None:
            heads[number] = rms_norm_reference(heads[number], gains_PD[number])
        if angles is not None:
            heads[number] = rotate(heads[number], *angles)
    return tuple(heads)


class _Projections(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_BLE: Tensor,
        gain_E: Tensor | None,
        weight_WE: Tensor,
        gains_PD: Tensor,
        angles: Angles | None,
        parts: Parts,
    ) -> tuple[Tensor, ...]:
        batch, length, width = x_BLE.shape
        gains_PHD = _of_heads(gains_PD, parts)
        num_placed, num_heads, _ = gains_PHD.shape
        # The way back needs them; without one, a block's worth serves them all.
        has_gradient = any(ctx.needs_input_grad)
        dtype = product_dtype(weight_WE)
        raw_BLW = x_BLE.new_empty(
            batch, length if has_gradient else 0, num_placed * width, dtype=dtype
        )
        scales_BLS = x_BLE.new_empty(
            batch, length if has_gradient else 0, 1 + num_placed * num_heads
        )
        widths = (width,) * num_placed + parts.widths
        outs_BLW = [
            x_BLE.new_empty(batch, length, part_width, dtype=dtype) for part_width in widths
        ]
        first_WE, *others_WE = _split(weight_WE.to(dtype), parts)
        for rows in position_blocks(batch, length):
            normed_NE = rows.gather(x_BLE)
            if gain_E is not None:
                scale_N1 = row_scales(normed_NE)
                normed_NE = (normed_NE * scale_N1).mul_(gain_E)
            normed_NE = normed_NE.to(dtype)
            raw_NW = (
                rows.gather(raw_BLW)
                if has_gradient
                else normed_NE.new_empty(len(normed_NE), len(first_WE))
            )
            left_NE = left_factor(normed_NE, first_WE)
            put_linear(left_NE, first_WE, raw_NW)
            raw_NPHD = raw_NW.view(-1, *gains_PHD.shape).to(x_BLE.dtype)
            scale_NPH1 = row_scales(raw_NPHD)
            if has_gradient:
                scales_NS = rows.gather(scales_BLS)
                scales_NS[:, 1:] = scale_NPH1.view(len(raw_NW), -1)
                if gain_E is not None:
                    scales_NS[:, :1] = scale_N1
            _place((raw_NPHD * scale_NPH1).mul_(gains_PHD), angles, rows, outs_BLW)
            for part_WE, out_BLW in zip(others_WE, outs_BLW[num_placed:], strict=True):
                put_linear(left_NE, part_WE, rows.gather(out_BLW))
        ctx.angles, ctx.parts = angles, parts
        ctx.save_for_backward(x_BLE, gain_E, weight_WE, gains_PD, raw_BLW, scales_BLS)
        return tuple(
            out_BLW.view(batch, length, num_heads, -1).transpose(1, 2) for out_BLW in outs_BLW
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outs_BHLD: Tensor) -> tuple[Tensor | None, ...]:
        x_BLE, gain_E, weight_WE, gains_PD, raw_BLW, scales_BLS = ctx.saved_tensors
        parts = ctx.parts
        d_outs_BLW = [d_out_BHLD.transpose(1, 2).flatten(2) for d_out_BHLD in d_outs_BHLD]
        gains_PHD = _of_heads(gains_PD, parts)
        num_placed = len(gains_PD)
        d_x_BLE, d_weight_WE = x_BLE.new_empty(x_BLE.shape), torch.zeros_like(weight_WE)
        d_gain_E = x_BLE.new_zeros(x_BLE.shape[-1])
        d_gains_PHD = torch.zeros_like(gains_PHD)
        dtype = raw_BLW.dtype
        weights_WE = _split(weight_WE.to(dtype), parts)
        d_weights_WE = _split(d_weight_WE, parts)
        for rows in position_blocks(*x_BLE.shape[:2]):
            x_NE, scales_NS = rows.gather(x_BLE), rows.gather(scales_BLS)
            unit_NE = x_NE if gain_E is None else x_NE * scales_NS[:, :1]
            normed_NE = (unit_NE if gain_E is None else unit_NE * gain_E).to(dtype)
            d_NPHD = _placed_back(d_outs_BLW, ctx.angles, rows, gains_PHD)
            scale_NPH1 = scales_NS[:, 1:].view(-1, *gains_PHD.shape[:2], 1)
            unit_NPHD = rows.gather(raw_BLW).view_as(d_NPHD) * scale_NPH1
            d_gains_PHD += back_through_scale(d_NPHD, unit_NPHD, scale_NPH1, gains_PHD)
            d_parts_NW = [d_NPHD.flatten(1).to(dtype)]
            d_parts_NW += [rows.gather(d_out_BLW) for d_out_BLW in d_outs_BLW[num_placed:]]
            d_normed_NE = put_product(rows.gather(d_x_BLE), d_parts_NW[0], weights_WE[0])
            for d_part_NW, part_WE in zip(d_parts_NW[1:], weights_WE[1:], strict=True):
                add_product(d_normed_NE, d_part_NW, part_WE)
            for d_part_NW, d_WE in zip(d_parts_NW, d_weights_WE, strict=True):
                add_product(d_WE, d_part_NW.T, normed_NE)
            if gain_E is not None:
                d_gain_E += back_through_scale(d_normed_NE, unit_NE, scales_NS[:, :1], gain_E)
        d_gain_or_none = None if gain_E is None else d_gain_E
        return d_x_BLE, d_gain_or_none, d_weight_WE, d_gains_PHD.sum(dim=1), None, None


def _of_heads(gains_PD: Tensor, parts: Parts) -> Tensor:
    """Return the gains of every head, (P, H, D)."""
    return gains_PD[:, None].expand(-1, parts.num_heads, -1).contiguous()


def _split(weight_WE: Tensor, parts: Parts) -> tuple[Tensor, ...]:
    """Return views of the rotated parts, as one, and of each other part."""
    return torch.split(weight_WE, [len(weight_WE) - sum(parts.widths), *parts.widths])


def _at(rows: PositionBlock, angles: Angles) -> Angles:
    """Return the angles of some positions, broadcastable to (., L, H, R)."""
    cos, sin = (
        angle[rows.span, None] if angle.dim() == 2 else angle[rows.rows, 0, rows.span, None]
        for angle in angles
    )
    return cos, sin


def _place(
    normed_NPHD: Tensor, angles: Angles | None, rows: PositionBlock, outs_BLW: Sequence[Tensor]
) -> None:
    """Write each part to its output, rotated if there are angles."""
    for part_NHD, out_BLW in zip(normed_NPHD.unbind(1), outs_BLW, strict=False):
        out_NHD = rows.gather(out_BLW).view_as(part_NHD)
        if angles is None:
            out_NHD.copy_(part_NHD)
        else:
            _rotate_rows(part_NHD, *_at(rows, angles), out_NHD)


def _placed_back(
    d_outs_BLW: Sequence[Tensor], angles: Angles | None, rows: PositionBlock, gains_PHD: Tensor
) -> Tensor:
    """Return the gradients before rotation, (N, P, H, D)."""
    num_rows = len(rows.gather(d_outs_BLW[0]))
    d_NPHD = gains_PHD.new_empty(num_rows, *gains_PHD.shape)
    for d_out_BLW, d_NHD in zip(d_outs_BLW, d_NPHD.unbind(1), strict=False):
        d_out_NHD = rows.gather(d_out_BLW).view_as(d_NHD)
        if angles is None:
            d_NHD.copy_(d_out_NHD)
        else:
            cos, sin = _at(rows, angles)
            _rotate_rows(d_out_NHD, cos, -sin, d_NHD)
    return d_NPHD


def _rotate_rows(x_NHD: Tensor, cos: Tensor, sin: Tensor, out_NHD: Tensor) -> None:
    """Rotate rows by the angles (L, 1, R) or (., L, 1, R) of their positions into `out_NHD`."""
    shape = (-1, cos.shape[-3], *x_NHD.shape[1:])
    if x_NHD.dtype == out_NHD.dtype:
        turn(x_NHD.view(shape), cos, sin, out_NHD.view(shape))
        return
    # What is turned is turned in the type of the angles, whichever of the two has it.
    turned_NHD = torch.empty_like(x_NHD, dtype=cos.dtype)
    turn(x_NHD.to(cos.dtype).view(shape), cos, sin, turned_NHD.view(shape))
    out_NHD.copy_(turned_NHD)
