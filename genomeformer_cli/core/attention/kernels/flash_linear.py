"""Adapters to the kernels of flash-linear-attention (package `fla-core`, extra `gpu`).

Its tensors are (B, L, H, D); decays are logarithms (B, L, H); a state is (B, H, F, D) in float32.
Source: Yang and Zhang 2024, "FLA: A Triton-Based Library for Hardware-Efficient Implementations of
Linear Attention Mechanism", https://github.com/fla-org/flash-linear-attention.
Shape letters: B batch, H heads, L length, F features, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.chunked_scan import filled, padding_of, working_dtype
from genomeformer_cli.core.attention.kernels.feature_maps import FeatureMap
from genomeformer_cli.core.attention.kernels.fused import fused_dtype

_WHOLE = slice(None)


def fused_causal_scan(
    qkv: tuple[Tensor, Tensor, Tensor],
    mask_BL: Tensor | None,
    sums: tuple[Tensor, ...],
    feature_map: FeatureMap,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute causal linear attention as `linear_state.causal_scan` does, for elementwise features.

    Args:
        qkv: Queries, keys and values (B, H, L, D).
        mask_BL: True at real positions.
        sums: Sums of keys and values, and of keys, before the tokens.
        feature_map: Elementwise features, which autograd differentiates.

    Returns:
        Output (B, H, L, D) and the sums after the tokens.
    """
    dtype, padding_B1L1 = fused_dtype(qkv[0]), padding_of(mask_BL, _WHOLE)
    with torch.autocast(qkv[0].device.type, enabled=False):
        q, k, v = (filled(x, padding_B1L1).to(working_dtype(x)) for x in qkv)
        phi_q_BHLF = feature_map.queries(q).to(dtype)
        phi_k_BHLF = filled(feature_map.keys(k), padding_B1L1).to(dtype)
        numerator_BHLD, kv_BHFD = _simple_gla(
            phi_q_BHLF, phi_k_BHLF, v.to(dtype), None, sums[0], 1.0
        )
        z_BHLF = phi_k_BHLF.to(sums[1].dtype).cumsum(dim=2) + sums[1][:, :, None]
        denominator_BHL1 = (phi_q_BHLF * z_BHLF).sum(dim=-1, keepdim=True)
        out_BHLD = numerator_BHLD / denominator_BHL1.clamp_min(feature_map.smallest_sum)
    return out_BHLD.to(qkv[2].dtype), (kv_BHFD, z_BHLF[:, :, -1])


def fused_decaying_sums(
    qkv: tuple[Tensor, Tensor, Tensor],
    log_decay_BHL: Tensor,
    mask_BL: Tensor | None,
    state_BHDD: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return what the queries read from the decaying state, divided by sqrt(D), and that state.

    Args:
        qkv: Queries, keys and values (B, H, L, D).
        log_decay_BHL: Logarithm of the decay, 0 at the padding.
        mask_BL: True at real positions.
        state_BHDD: State before the tokens.
    """
    q, k, v = _inputs(qkv, mask_BL)
    with torch.autocast(q.device.type, enabled=False):
        return _simple_gla(q, k, v, log_decay_BHL, state_BHDD, q.shape[-1] ** -0.5)


def fused_delta_rule(
    qkv: tuple[Tensor, Tensor, Tensor],
    gates_BHL: tuple[Tensor, Tensor],
    mask_BL: Tensor | None,
    state_BHDD: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return what the queries read from the state of the gated delta rule, and that state.

    Args:
        qkv: Queries and keys of norm 1, and values (B, H, L, D).
        gates_BHL: Logarithm of the decay, and replaced share b, both 0 at the padding.
        mask_BL: True at real positions.
        state_BHDD: State before the tokens.
    """
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    q, k, v = _inputs(qkv, mask_BL)
    log_decay_BHL, replaced_BHL = gates_BHL
    with torch.autocast(q.device.type, enabled=False):
        out_BLHD, after_BHDD = chunk_gated_delta_rule(
            q=q.transpose(1, 2),
            k=k.transpose(1, 2),
            v=v.transpose(1, 2),
            g=log_decay_BHL.transpose(1, 2),
            beta=replaced_BHL.transpose(1, 2).to(v.dtype),
            scale=1.0,
            initial_state=state_BHDD,
            output_final_state=True,
        )
    return out_BLHD.transpose(1, 2).to(state_BHDD.dtype), after_BHDD


def _inputs(
    qkv: tuple[Tensor, Tensor, Tensor], mask_BL: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace padding by zeros, and convert to the dtype of the products."""
    padding_B1L1, dtype = padding_of(mask_BL, _WHOLE), fused_dtype(qkv[0])
    q, k, v = (filled(x, padding_B1L1).to(dtype) for x in qkv)
    return q, k, v


def _simple_gla(
    q_BHLF: Tensor,
    k_BHLF: Tensor,
    v_BHLD: Tensor,
    log_decay_BHL: Tensor | None,
    state_BHFD: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    from fla.ops.simple_gla import chunk_simple_gla

    out_BLHD, after_BHFD = chunk_simple_gla(
        q=q_BHLF.transpose(1, 2),
        k=k_BHLF.transpose(1, 2),
        v=v_BHLD.transpose(1, 2),
        g=None if log_decay_BHL is None else log_decay_BHL.transpose(1, 2),
        scale=scale,
        initial_state=state_BHFD,
        output_final_state=True,
    )
    return out_BLHD.transpose(1, 2).to(state_BHFD.dtype), after_BHFD
