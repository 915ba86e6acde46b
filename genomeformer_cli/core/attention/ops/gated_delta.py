"""Gated delta rule: a state that decays and whose value for a key is replaced.

    S_i = a_i (I - b_i k_i k_i^T) S_{i-1} + b_i k_i v_i^T,   y_i = S_i^T q_i

with |k| = |q| = 1, 0 < a <= 1, 0 < b < 1, and a normalised output. Causal; O(L D^2) time, O(L D)
memory; the state has D^2 numbers per head. Within a chunk of C tokens the rule is a unit triangular
system of C equations (the WY form); chunks are processed in sequence.
Source: Yang et al. 2024, "Gated Delta Networks", arXiv 2412.06464, equations 8 to 10; Yang et al.
2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", section 3.
Shape letters: B batch, H heads, L length, D head width, G gates (2: decay, then b), N chunks of a
block, C tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.chunked_scan import (
    NUMBERS_KEPT,
    block_length,
    filled,
    in_chunks,
    padding_of,
    scan,
    spans,
)
from genomeformer_cli.core.attention.kernels.decay import (
    DecayingAttention,
    normalised,
    pairwise_decay,
)
from genomeformer_cli.core.attention.kernels.flash_linear import fused_delta_rule
from genomeformer_cli.core.attention.kernels.fused import FLASH_LINEAR, use_fused
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.errors import ConfigError

CHUNK = 64
UNIT_EPS = 1e-6


def gated_delta_attention(
    tokens: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    mask_BL: Tensor | None,
    state_BHDD: Tensor,
    gain_HD: Tensor,
) -> tuple[Tensor, Tensor]:
    """Attend over the next tokens.

    Args:
        tokens: q, k, v (B, H, L, D), the logarithm of the decay and b (B, H, L), both 0 at the
            padding.
        mask_BL: True at real positions.
        state_BHDD: State S before the tokens.
        gain_HD: Gain of the norm of the output.

    Returns:
        y (B, H, L, D) and S after the tokens.
    """
    q_BHLD, k_BHLD, v_BHLD, log_decay_BHL, replaced_BHL = tokens
    if use_fused(FLASH_LINEAR, "gated-delta", q_BHLD):
        padding_B1L1 = padding_of(mask_BL, slice(None))
        unit_q, unit_k = (
            _unit(filled(x, padding_B1L1).to(state_BHDD.dtype)) for x in (q_BHLD, k_BHLD)
        )
        read_BHLD, state_BHDD = fused_delta_rule(
            (unit_q, unit_k, v_BHLD), (log_decay_BHL, replaced_BHL), mask_BL, state_BHDD
        )
        return normalised(read_BHLD, gain_HD).to(v_BHLD.dtype), state_BHDD
    numbers = NUMBERS_KEPT * max(CHUNK, v_BHLD.shape[-1])
    block = block_length(v_BHLD, chunk=CHUNK, numbers_a_token=numbers)
    out_BHLD, (state_BHDD,) = scan(
        _solve_block,
        (v_BHLD, q_BHLD, k_BHLD, log_decay_BHL[..., None], replaced_BHL[..., None]),
        mask_BL,
        (state_BHDD,),
        (gain_HD,),
        cut=spans(v_BHLD.shape[2], chunk=CHUNK, block=block),
    )
    return out_BHLD, state_BHDD


def _unit(x_D: Tensor) -> Tensor:
    return x_D * torch.rsqrt(x_D.square().sum(dim=-1, keepdim=True) + UNIT_EPS)


def _solve_block(
    parts: Sequence[Tensor], padding_B1L1: Tensor | None, state: State, shared: Sequence[Tensor]
) -> tuple[Tensor, State]:
    chunk = min(CHUNK, parts[0].shape[2])
    v_BHLD, q_BHLD, k_BHLD = (filled(part, padding_B1L1).to(state[0].dtype) for part in parts[:3])
    v_BHNCD, q_BHNCD, k_BHNCD, log_decay_BHNC1, replaced_BHNC1 = (
        in_chunks(part, 2, chunk) for part in (v_BHLD, _unit(q_BHLD), _unit(k_BHLD), *parts[3:])
    )
    sums_BHNC = log_decay_BHNC1.squeeze(-1).cumsum(dim=-1)
    decay_BHNCC = pairwise_decay(sums_BHNC)
    from_start_BHNC1, to_end_BHNC1 = sums_BHNC.exp()[..., None], decay_BHNCC[..., -1, :, None]
    written_BHNCD, erased_BHNCD = _what_each_token_writes(
        v_BHNCD, k_BHNCD, decay_BHNCC, from_start_BHNC1, replaced_BHNC1
    )
    within_BHNCC = (q_BHNCD @ k_BHNCD.mT) * decay_BHNCC
    through_chunks = zip(
        (q_BHNCD * from_start_BHNC1).unbind(2),
        (k_BHNCD * to_end_BHNC1).mT.unbind(2),
        written_BHNCD.unbind(2),
        erased_BHNCD.unbind(2),
        from_start_BHNC1[..., -1:, :].unbind(2),
        strict=True,
    )
    state_BHDD, news, olds = state[0], [], []
    for q_BHCD, k_BHDC, written_BHCD, erased_BHCD, kept_BH11 in through_chunks:
        olds.append(q_BHCD @ state_BHDD)
        news.append(written_BHCD - erased_BHCD @ state_BHDD)
        state_BHDD = kept_BH11 * state_BHDD + k_BHDC @ news[-1]
    out_BHNCD = within_BHNCC @ torch.stack(news, dim=2) + torch.stack(olds, dim=2)
    return normalised(out_BHNCD.flatten(2, 3), shared[0]), (state_BHDD,)


def _what_each_token_writes(
    v_BHNCD: Tensor,
    k_BHNCD: Tensor,
    decay_BHNCC: Tensor,
    from_start_BHNC1: Tensor,
    replaced_BHNC1: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return U and W such that the tokens of a chunk that starts from S add k_i (U_i - W_i S)^T.

    Token i writes b_i (v_i - value of k_i in the state decayed to i), which earlier tokens of the
    chunk have changed: (I + T) (U - W S) = b (v - decay k S), T strictly lower triangular.
    """
    weighted_BHNCD = k_BHNCD * replaced_BHNC1
    system_BHNCC = ((weighted_BHNCD @ k_BHNCD.mT) * decay_BHNCC).tril(-1)
    right_BHNCE = torch.cat((v_BHNCD * replaced_BHNC1, weighted_BHNCD * from_start_BHNC1), dim=-1)
    solved_BHNCE = torch.linalg.solve_triangular(
        system_BHNCC, right_BHNCE, upper=False, unitriangular=True
    )
    written_BHNCD, erased_BHNCD = solved_BHNCE.chunk(2, dim=-1)
    return written_BHNCD, erased_BHNCD


def gated_delta_attention_reference(
    tokens: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    mask_BL: Tensor | None,
    state_BHDD: Tensor,
    gain_HD: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute `gated_delta_attention` token by token."""
    q_BHLD, k_BHLD, v_BHLD, log_decay_BHL, replaced_BHL = tokens
    q_BHLD, k_BHLD = (
        x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt() for x in (q_BHLD, k_BHLD)
    )
    if mask_BL is not None:
        k_BHLD = k_BHLD * mask_BL[:, None, :, None]
    outs = []
    for i in range(q_BHLD.shape[2]):
        k_BH1D, v_BH1D, b_BH11 = k_BHLD[:, :, [i]], v_BHLD[:, :, [i]], replaced_BHL[:, :, [i], None]
        decayed_BHDD = log_decay_BHL[:, :, i, None, None].exp() * state_BHDD
        held_BH1D = k_BH1D @ decayed_BHDD
        state_BHDD = decayed_BHDD + k_BH1D.mT @ (b_BH11 * (v_BH1D - held_BH1D))
        outs.append(q_BHLD[:, :, [i]] @ state_BHDD)
    out_BHLD = torch.cat(outs, dim=2)
    root_BHL1 = (out_BHLD.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    return out_BHLD / root_BHL1 * gain_HD[:, None], state_BHDD


class GatedDeltaAttention(DecayingAttention):
    """Causal attention by the gated delta rule; holds its decays and the gain of the output."""

    num_gates = 2

    def step(
        self,
        q_BHLD: Tensor,
        k_BHLD: Tensor,
        v_BHLD: Tensor,
        mask_BL: Tensor | None,
        gates_BHLG: Tensor | None,
        state: State,
    ) -> tuple[Tensor, State]:
        """Attend over the next tokens."""
        if gates_BHLG is None or gates_BHLG.shape[-1] != self.num_gates:
            raise ConfigError("the gated delta rule needs two gates per head")
        decay_gates_BHL, replace_gates_BHL = gates_BHLG.unbind(dim=-1)
        log_decay_BHL = self.decay(decay_gates_BHL, mask_BL)
        if mask_BL is not None:
            # Below any float's smallest: the padding replaces nothing.
            replace_gates_BHL = replace_gates_BHL.masked_fill(~mask_BL[:, None], float("-inf"))
        replaced_BHL = replace_gates_BHL.to(log_decay_BHL.dtype).sigmoid()
        tokens = (q_BHLD, k_BHLD, v_BHLD, log_decay_BHL, replaced_BHL)
        out_BHLD, state_BHDD = gated_delta_attention(tokens, mask_BL, state[0], self.gain)
        return out_BHLD, (state_BHDD,)
