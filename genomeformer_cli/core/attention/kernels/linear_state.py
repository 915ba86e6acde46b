"""Attention with a positive feature map, through sums of keys and values.

    y_i = phi(q_i) S / phi(q_i) z,   S = sum_j phi(k_j) v_j^T,   z = sum_j phi(k_j)

with the sums over all j (`sum_keys_values`, `query_state`) or over j <= i (`causal_scan`). O(L F D)
time. The backward pass recomputes features block by block, so that only sums are kept beyond
queries, keys, values and one denominator per token.
Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 4 to 12; the split into chunks
and a state as in Hua et al. 2022, "Transformer Quality in Linear Time", section 3.3.
Shape letters: B batch, H heads, R = B H rows, L length, F features, D head width, N chunks of a
block, C tokens of a chunk, P tokens of a piece.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genomeformer_cli.core.attention.kernels.chunked_scan import (
    block_length,
    empty_heads,
    filled,
    in_chunks,
    padding_of,
    spans,
    working_dtype,
)
from genomeformer_cli.core.attention.kernels.feature_maps import FeatureMap

# S and z.
Sums = tuple[Tensor, ...]

CHUNK = 128
_PIECE = 8192


def init_state(shape_BHFD: tuple[int, int, int, int], like: Tensor) -> Sums:
    """Return S (B, H, F, D) and z (B, H, F) of no tokens."""
    kv_BHFD = torch.zeros(shape_BHFD, dtype=working_dtype(like), device=like.device)
    return kv_BHFD, kv_BHFD.new_zeros(shape_BHFD[:3])


def sum_keys_values(
    k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None, feature_map: FeatureMap
) -> Sums:
    """Return S (B, H, F, D) and z (B, H, F) over the real positions; additive over slices."""
    sums: Sums = _Summarise.apply(k_BHLD, v_BHLD, mask_BL, feature_map)  # type: ignore[no-untyped-call]
    return sums


def query_state(
    q_BHLD: Tensor, sums: Sums, feature_map: FeatureMap, mask_BL: Tensor | None = None
) -> Tensor:
    """Return the output of each query from S and z; with a mask, padding is ignored."""
    out_BHLD: Tensor = _Read.apply(q_BHLD, *sums, mask_BL, feature_map)  # type: ignore[no-untyped-call]
    return out_BHLD


def causal_scan(
    q_BHLD: Tensor,
    k_BHLD: Tensor,
    v_BHLD: Tensor,
    mask_BL: Tensor | None,
    sums: Sums,
    feature_map: FeatureMap,
) -> tuple[Tensor, Sums]:
    """Return causal attention that continues from `sums`, and the sums after these tokens."""
    tensors = (q_BHLD, k_BHLD, v_BHLD, mask_BL, *sums)
    out_BHLD, *after = _Accumulate.apply(*tensors, feature_map)  # type: ignore[no-untyped-call]
    return out_BHLD, tuple(after)


def add_over_tokens(
    sum_RFD: Tensor, a_RTF: Tensor, b_RTD: Tensor, *, piece: int | None = None
) -> None:
    """Add a^T b to a sum, in place.

    Args:
        sum_RFD: Sum to update.
        a_RTF: Left factor.
        b_RTD: Right factor.
        piece: Tokens per product. A GPU assigns each product of a batch to few of its units, and
            there are only as many products as heads, so that None splits on a GPU and not on a CPU.
    """
    if piece is None:
        piece = a_RTF.shape[1] if a_RTF.device.type == "cpu" else _PIECE
    whole = a_RTF.shape[1] - a_RTF.shape[1] % piece
    if whole > piece:
        a_RNPF, b_RNPD = (in_chunks(x[:, :whole], 1, piece) for x in (a_RTF, b_RTD))
        sum_RFD += (a_RNPF.mT @ b_RNPD).sum(dim=1)
        a_RTF, b_RTD = a_RTF[:, whole:], b_RTD[:, whole:]
    if a_RTF.shape[1]:
        sum_RFD.baddbmm_(a_RTF.mT, b_RTD)


class _Rows:
    """Blocks of a tensor (B, H, L, D) as (R, T, D) in the working dtype, and the inverse."""

    def __init__(self, like_BHLD: Tensor, mask_BL: Tensor | None) -> None:
        self.dtype = working_dtype(like_BHLD)
        self.mask_BL = mask_BL
        self.heads = like_BHLD.shape[:2]

    def take(self, tensor_BHLD: Tensor, span: slice) -> Tensor:
        block = tensor_BHLD[:, :, span]
        return filled(block, padding_of(self.mask_BL, span)).to(self.dtype).flatten(0, 1)

    def mask(self, features_RTF: Tensor, span: slice) -> Tensor:
        """Set the features of padding to zero, in place."""
        padding_B1T1 = padding_of(self.mask_BL, span)
        if padding_B1T1 is not None:
            features_RTF.view(*self.heads, *features_RTF.shape[1:]).masked_fill_(padding_B1T1, 0)
        return features_RTF

    def put(self, out_BHLD: Tensor, span: slice, block_RTD: Tensor) -> None:
        out_BHLD[:, :, span] = block_RTD.reshape(*self.heads, -1, block_RTD.shape[-1])


def _cut(like_BHLD: Tensor, num_features: int, *, chunk: int = 1) -> list[slice]:
    numbers = max(num_features, like_BHLD.shape[-1], chunk)
    block = block_length(like_BHLD, chunk=chunk, numbers_a_token=numbers)
    if chunk > 1:
        # The sums that are kept, F D numbers a head and block, are then no more than the queries.
        block = max(block, math.ceil(num_features / chunk) * chunk)
    return spans(like_BHLD.shape[2], chunk=chunk, block=block)


class _Summarise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, k_BHLD: Tensor, v_BHLD: Tensor, mask_BL: Tensor | None, feature_map: FeatureMap
    ) -> tuple[Tensor, Tensor]:
        num_features = feature_map.num_features(k_BHLD.shape[-1])
        batch, heads, _, width = v_BHLD.shape
        kv_BHFD, z_BHF = init_state((batch, heads, num_features, width), v_BHLD)
        kv_RFD, z_RF = kv_BHFD.flatten(0, 1), z_BHF.flatten(0, 1)
        rows = _Rows(v_BHLD, mask_BL)
        with torch.autocast(k_BHLD.device.type, enabled=False):
            for span in _cut(k_BHLD, num_features):
                phi_RTF = rows.mask(feature_map.keys(rows.take(k_BHLD, span)), span)
                add_over_tokens(kv_RFD, phi_RTF, rows.take(v_BHLD, span))
                z_RF += phi_RTF.sum(dim=1)
        ctx.feature_map = feature_map
        ctx.save_for_backward(k_BHLD, v_BHLD, mask_BL)
        return kv_BHFD, z_BHF

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_kv_BHFD: Tensor, d_z_BHF: Tensor) -> tuple[Tensor, Tensor, None, None]:
        k_BHLD, v_BHLD, mask_BL = ctx.saved_tensors
        d_kv_RFD, d_z_R1F = d_kv_BHFD.flatten(0, 1), d_z_BHF.flatten(0, 1)[:, None]
        d_k_BHLD, d_v_BHLD = torch.empty_like(k_BHLD), torch.empty_like(v_BHLD)
        rows = _Rows(v_BHLD, mask_BL)
        with torch.autocast(k_BHLD.device.type, enabled=False):
            for span in _cut(k_BHLD, d_z_BHF.shape[-1]):
                k_RTD, v_RTD = rows.take(k_BHLD, span), rows.take(v_BHLD, span)
                phi_RTF = rows.mask(ctx.feature_map.keys(k_RTD), span)
                rows.put(d_v_BHLD, span, phi_RTF @ d_kv_RFD)
                d_phi_RTF = rows.mask(torch.baddbmm(d_z_R1F, v_RTD, d_kv_RFD.mT), span)
                rows.put(d_k_BHLD, span, ctx.feature_map.keys_back(k_RTD, phi_RTF, d_phi_RTF))
        return d_k_BHLD, d_v_BHLD, None, None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_BHLD: Tensor,
        kv_BHFD: Tensor,
        z_BHF: Tensor,
        mask_BL: Tensor | None,
        feature_map: FeatureMap,
    ) -> Tensor:
        kv_RFD, z_R1F = kv_BHFD.flatten(0, 1), z_BHF.flatten(0, 1)[:, None]
        out_BHLD = empty_heads(q_BHLD)
        below_RL1 = kv_RFD.new_empty(kv_RFD.shape[0], q_BHLD.shape[2], 1)
        rows = _Rows(q_BHLD, mask_BL)
        with torch.autocast(q_BHLD.device.type, enabled=False):
            for span in _cut(q_BHLD, z_BHF.shape[-1]):
                phi_RTF = feature_map.queries(rows.take(q_BHLD, span))
                below_RT1 = _with_sums(z_R1F, phi_RTF).clamp_min_(feature_map.smallest_sum)
                below_RL1[:, span] = below_RT1
                rows.put(out_BHLD, span, (phi_RTF @ kv_RFD).div_(below_RT1))
        ctx.feature_map = feature_map
        ctx.save_for_backward(q_BHLD, kv_BHFD, z_BHF, below_RL1, mask_BL)
        return out_BHLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out_BHLD: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q_BHLD, kv_BHFD, z_BHF, below_RL1, mask_BL = ctx.saved_tensors
        kv_RFD, z_R1F = kv_BHFD.flatten(0, 1), z_BHF.flatten(0, 1)[:, None]
        d_q_BHLD = torch.empty_like(q_BHLD)
        d_kv_RFD, d_z_R1F = torch.zeros_like(kv_RFD), torch.zeros_like(z_R1F)
        rows = _Rows(q_BHLD, mask_BL)
        with torch.autocast(q_BHLD.device.type, enabled=False):
            for span in _cut(q_BHLD, z_BHF.shape[-1]):
                q_RTD, below_RT1 = rows.take(q_BHLD, span), below_RL1[:, span]
                phi_RTF = ctx.feature_map.queries(q_RTD)
                above_RTD = rows.take(d_out_BHLD, span) / below_RT1
                d_phi_RTF = above_RTD @ kv_RFD.mT
                d_below_RT1 = _of_denominator(phi_RTF, d_phi_RTF, below_RT1, ctx.feature_map)
                add_over_tokens(d_kv_RFD, phi_RTF, above_RTD)
                add_over_tokens(d_z_R1F, d_below_RT1, phi_RTF)
                d_phi_RTF.baddbmm_(d_below_RT1, z_R1F)
                rows.put(d_q_BHLD, span, ctx.feature_map.queries_back(q_RTD, phi_RTF, d_phi_RTF))
        return d_q_BHLD, d_kv_RFD.view_as(kv_BHFD), d_z_R1F.view_as(z_BHF), None, None


def _with_sums(z_1F: Tensor, phi_TF: Tensor) -> Tensor:
    """Return products of features with their sum, (..., T, 1), computed as those of a row.

    The equal products of a column take a CPU five times as long.
    """
    return (z_1F @ phi_TF.mT).mT


def _of_denominator(
    phi_RTF: Tensor, d_phi_RTF: Tensor, below_RT1: Tensor, feature_map: FeatureMap
) -> Tensor:
    """Return the gradient of a clamped denominator from the feature gradient through the numerator.

    The numerator is linear in the features of the query, so that their product with their gradient
    is the numerator times its gradient: the output need not be kept.
    """
    d_below_RT1 = (phi_RTF * d_phi_RTF).sum(dim=-1, keepdim=True).div_(below_RT1).mul_(-1)
    return d_below_RT1.masked_fill_(below_RT1 <= feature_map.smallest_sum, 0)


class _Chunks:
    """Block of causal attention split into chunks, for both directions."""

    def __init__(self, phi_q_RTF: Tensor, phi_k_RTF: Tensor, v_RTD: Tensor) -> None:
        chunk = min(CHUNK, v_RTD.shape[1])
        self.q_RNCF, self.k_RNCF, self.v_RNCD = (
            in_chunks(tensor, 1, chunk) for tensor in (phi_q_RTF, phi_k_RTF, v_RTD)
        )
        self.scores_RNCC = (self.q_RNCF @ self.k_RNCF.mT).tril_()
        self.kv_RNFD = self.k_RNCF.mT @ self.v_RNCD
        self.z_RNF = self.k_RNCF.sum(dim=2)

    def before(self, kv_RFD: Tensor, z_RF: Tensor) -> tuple[Tensor, Tensor]:
        """Return S and z before each chunk, given those before the first."""
        return _exclusive_sums(self.kv_RNFD, kv_RFD), _exclusive_sums(self.z_RNF, z_RF)


def _exclusive_sums(terms: Tensor, first: Tensor, *, from_right: bool = False) -> Tensor:
    """Return `first` plus the sum of the terms before (from the right: after) each of N.

    Terms have the shape (R, N, ...).
    """
    num_chunks = terms.shape[1]
    if num_chunks == 1:
        return first[:, None]
    ones_NN = terms.new_ones(num_chunks, num_chunks)
    ones_NN = ones_NN.triu_(1) if from_right else ones_NN.tril_(-1)
    flat = terms.flatten(2)
    sums = torch.baddbmm(first.flatten(1)[:, None], ones_NN.expand(len(flat), -1, -1), flat)
    return sums.view_as(terms)


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        kv_BHFD: Tensor,
        z_BHF: Tensor,
        feature_map: FeatureMap,
    ) -> tuple[Tensor, Tensor, Tensor]:
        kv_RFD, z_RF = kv_BHFD.flatten(0, 1).clone(), z_BHF.flatten(0, 1).clone()
        out_BHLD = empty_heads(v_BHLD)
        cut = _cut(v_BHLD, z_RF.shape[-1], chunk=CHUNK)
        below_RL1 = kv_RFD.new_empty(len(kv_RFD), v_BHLD.shape[2], 1)
        num_kept = len(cut) if any(ctx.needs_input_grad) else 0
        kept_kv, kept_z = (tensor.new_empty(num_kept, *tensor.shape) for tensor in (kv_RFD, z_RF))
        rows = _Rows(v_BHLD, mask_BL)
        with torch.autocast(v_BHLD.device.type, enabled=False):
            for number, span in enumerate(cut):
                if num_kept:
                    kept_kv[number], kept_z[number] = kv_RFD, z_RF
                phi_q_RTF = feature_map.queries(rows.take(q_BHLD, span))
                phi_k_RTF = rows.mask(feature_map.keys(rows.take(k_BHLD, span)), span)
                chunks = _Chunks(phi_q_RTF, phi_k_RTF, rows.take(v_BHLD, span))
                kv_RNFD, z_RNF = chunks.before(kv_RFD, z_RF)
                below_RNC1 = chunks.scores_RNCC.sum(dim=-1, keepdim=True)
                below_RNC1 += _with_sums(z_RNF[:, :, None], chunks.q_RNCF)
                below_RNC1.clamp_min_(feature_map.smallest_sum)
                out_RNCD = chunks.scores_RNCC @ chunks.v_RNCD
                out_RNCD += chunks.q_RNCF @ kv_RNFD
                below_RL1[:, span] = below_RNC1.flatten(1, 2)
                rows.put(out_BHLD, span, out_RNCD.div_(below_RNC1).flatten(1, 2))
                kv_RFD = kv_RNFD[:, -1] + chunks.kv_RNFD[:, -1]
                z_RF = z_RNF[:, -1] + chunks.z_RNF[:, -1]
        ctx.feature_map = feature_map
        ctx.save_for_backward(q_BHLD, k_BHLD, v_BHLD, mask_BL, kept_kv, kept_z, below_RL1)
        return out_BHLD, kv_RFD.view_as(kv_BHFD), z_RF.view_as(z_BHF)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_out_BHLD: Tensor, d_kv_BHFD: Tensor, d_z_BHF: Tensor
    ) -> tuple[Tensor | None, ...]:
        q_BHLD, k_BHLD, v_BHLD, mask_BL, kept_kv, kept_z, below_RL1 = ctx.saved_tensors
        feature_map = ctx.feature_map
        d_q_BHLD, d_k_BHLD, d_v_BHLD = (
            torch.empty_like(tensor) for tensor in (q_BHLD, k_BHLD, v_BHLD)
        )
        d_kv_RFD, d_z_RF = d_kv_BHFD.flatten(0, 1), d_z_BHF.flatten(0, 1)
        rows = _Rows(v_BHLD, mask_BL)
        cut = _cut(v_BHLD, d_z_RF.shape[-1], chunk=CHUNK)
        with torch.autocast(v_BHLD.device.type, enabled=False):
            for number, span in reversed(list(enumerate(cut))):
                q_RTD, k_RTD = rows.take(q_BHLD, span), rows.take(k_BHLD, span)
                phi_q_RTF = feature_map.queries(q_RTD)
                phi_k_RTF = rows.mask(feature_map.keys(k_RTD), span)
                chunks = _Chunks(phi_q_RTF, phi_k_RTF, rows.take(v_BHLD, span))
                d_phi_q_RTF, d_phi_k_RTF, d_v_RTD, d_kv_RFD, d_z_RF = _chunks_back(
                    chunks,
                    rows.take(d_out_BHLD, span),
                    below_RL1[:, span],
                    before=chunks.before(kept_kv[number], kept_z[number]),
                    after=(d_kv_RFD, d_z_RF),
                    feature_map=feature_map,
                )
                rows.mask(d_phi_k_RTF, span)
                rows.put(d_q_BHLD, span, feature_map.queries_back(q_RTD, phi_q_RTF, d_phi_q_RTF))
                rows.put(d_k_BHLD, span, feature_map.keys_back(k_RTD, phi_k_RTF, d_phi_k_RTF))
                rows.put(d_v_BHLD, span, d_v_RTD)
        d_sums = (d_kv_RFD.view_as(d_kv_BHFD), d_z_RF.view_as(d_z_BHF))
        return d_q_BHLD, d_k_BHLD, d_v_BHLD, None, *d_sums, None


def _chunks_back(
    chunks: _Chunks,
    d_out_RTD: Tensor,
    below_RT1: Tensor,
    *,
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    feature_map: FeatureMap,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of the features, of the values, and of S and z before the block.

    `after` are the gradients of S and z after it.
    """
    kv_RNFD, z_RNF = before
    chunk = chunks.v_RNCD.shape[2]
    above_RNCD = in_chunks(d_out_RTD / below_RT1, 1, chunk)
    d_scores_RNCC = (above_RNCD @ chunks.v_RNCD.mT).tril_()
    d_q_RNCF = d_scores_RNCC @ chunks.k_RNCF
    d_q_RNCF += above_RNCD @ kv_RNFD.mT
    q_RTF, d_q_RTF = chunks.q_RNCF.flatten(1, 2), d_q_RNCF.flatten(1, 2)
    d_below_RNC1 = in_chunks(_of_denominator(q_RTF, d_q_RTF, below_RT1, feature_map), 1, chunk)
    ones_CC = torch.ones_like(d_scores_RNCC[0, 0]).tril_()
    z_RNCF = ones_CC @ chunks.k_RNCF
    z_RNCF += z_RNF[:, :, None]
    d_q_RNCF.addcmul_(d_below_RNC1, z_RNCF)
    d_scores_RNCC.add_(d_below_RNC1).tril_()
    d_kv_RNFD, d_z_RNF = chunks.q_RNCF.mT @ above_RNCD, (d_below_RNC1.mT @ chunks.q_RNCF)[:, :, 0]
    after_kv_RNFD = _exclusive_sums(d_kv_RNFD, after[0], from_right=True)
    after_z_RNF = _exclusive_sums(d_z_RNF, after[1], from_right=True)
    d_k_RNCF = d_scores_RNCC.mT @ chunks.q_RNCF
    d_k_RNCF += chunks.v_RNCD @ after_kv_RNFD.mT
    d_k_RNCF += after_z_RNF[:, :, None]
    d_v_RNCD = chunks.scores_RNCC.mT @ above_RNCD
    d_v_RNCD += chunks.k_RNCF @ after_kv_RNFD
    d_k_RTF, d_v_RTD = d_k_RNCF.flatten(1, 2), d_v_RNCD.flatten(1, 2)
    d_kv_RFD = after_kv_RNFD[:, 0] + d_kv_RNFD[:, 0]
    return d_q_RTF, d_k_RTF, d_v_RTD, d_kv_RFD, after_z_RNF[:, 0] + d_z_RNF[:, 0]
