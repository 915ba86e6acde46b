"""Gated linear attention: a state that decays at a rate given by each token.

    S_i = a_i S_{i-1} + k_i v_i^T,   y_i = D^(-1/2) S_i^T q_i,   0 < a_i <= 1, one number per head

and a normalised output instead of a denominator. Causal; O(L D^2) time, O(L D) memory; the state
has D^2 numbers per head. Computed in chunks: a masked product within each, states between them.
Source: Dao and Gu 2024, "Transformers are SSMs" (Mamba-2), section 6, with keys not scaled by the
step; Sun et al. 2023, "Retentive Network", equation 7 for the chunks and the norm.
Shape letters: B batch, H heads, L length, D head width, G gates (1), N chunks of a block, C tokens
of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.kernels.chunked_scan import (
    NUMBERS_KEPT,
    block_length,
    filled,
    in_chunks,
    scan,
    spans,
)
from genomeformer_cli.core.attention.kernels.decay import (
    DecayingAttention,
    normalised,
    pairwise_decay,
)
from genomeformer_cli.core.attention.kernels.flash_linear import fused_decaying_sums
from genomeformer_cli.core.attention.kernels.fused import FLASH_LINEAR, use_fused
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.errors import ConfigError

CHUNK = 64


def gated_linear_attention(
    tokens: tuple[Tensor, Tensor, Tensor, Tensor],
    mask_BL: Tensor | None,
    state_BHDD: Tensor,
    gain_HD: Tensor,
) -> tuple[Tensor, Tensor]:
    """Attend over the next tokens.

    Args:
        tokens: q, k, v (B, H, L, D) and the logarithm of the decay (B, H, L), 0 at the padding.
        mask_BL: True at real positions.
        state_BHDD: State S before the tokens.
        gain_HD: Gain of the norm of the output.

    Returns:
        y (B, H, L, D) and S after the tokens.
    """
    q_BHLD, k_BHLD, v_BHLD, log_decay_BHL = tokens
    if use_fused(FLASH_LINEAR, "gated-linear", q_BHLD):
        read_BHLD, state_BHDD = fused_decaying_sums(
            (q_BHLD, k_BHLD, v_BHLD), log_decay_BHL, mask_BL, state_BHDD
        )
        return normalised(read_BHLD, gain_HD).to(v_BHLD.dtype), state_BHDD
    numbers = NUMBERS_KEPT * max(CHUNK, v_BHLD.shape[-1])
    block = block_length(v_BHLD, chunk=CHUNK, numbers_a_token=numbers)
    out_BHLD, (state_BHDD,) = scan(
        _solve_block,
        (v_BHLD, q_BHLD, k_BHLD, log_decay_BHL[..., None]),
        mask_BL,
        (state_BHDD,),
        (gain_HD,),
        cut=spans(v_BHLD.shape[2], chunk=CHUNK, block=block),
    )
    return out_BHLD, state_BHDD


def _solve_block(
    parts: Sequence[Tensor], padding_B1L1: Tensor | None, state: State, shared: Sequence[Tensor]
) -> tuple[Tensor, State]:
    chunk = min(CHUNK, parts[0].shape[2])
    v_BHLD, q_BHLD, k_BHLD = (filled(part, padding_B1L1) for part in parts[:3])
    v_BHNCD, q_BHNCD, k_BHNCD = (
        in_chunks(part.to(state[0].dtype), 2, chunk) for part in (v_BHLD, q_BHLD, k_BHLD)
    )
    q_BHNCD = q_BHNCD * q_BHNCD.shape[-1] ** -0.5
    sums_BHNC = in_chunks(parts[3].squeeze(-1), 2, chunk).cumsum(dim=-1)
    within_BHNCC = (q_BHNCD @ k_BHNCD.mT) * pairwise_decay(sums_BHNC)
    to_end_BHNC1 = torch.exp(sums_BHNC[..., -1:] - sums_BHNC)[..., None]
    added_BHNDD = (k_BHNCD * to_end_BHNC1).mT @ v_BHNCD
    states_BHNDD = _states_between(added_BHNDD, sums_BHNC[..., -1], state[0])
    from_start_BHNC1 = sums_BHNC.exp()[..., None]
    out_BHNCD = within_BHNCC @ v_BHNCD
    out_BHNCD = out_BHNCD + (q_BHNCD * from_start_BHNC1) @ states_BHNDD[:, :, :-1]
    return normalised(out_BHNCD.flatten(2, 3), shared[0]), (states_BHNDD[:, :, -1],)


def _states_between(added_BHNDD: Tensor, log_decay_BHN: Tensor, first_BHDD: Tensor) -> Tensor:
    """Return the states before each chunk and after the last: (B, H, N + 1, D, D)."""
    sums_BHN = nn.functional.pad(log_decay_BHN.cumsum(dim=-1), (1, 0))
    terms_BHNDD = torch.cat((first_BHDD[:, :, None], added_BHNDD), dim=2)
    return (pairwise_decay(sums_BHN) @ terms_BHNDD.flatten(3)).view_as(terms_BHNDD)


def gated_linear_attention_reference(
    tokens: tuple[Tensor, Tensor, Tensor, Tensor],
    mask_BL: Tensor | None,
    state_BHDD: Tensor,
    gain_HD: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute `gated_linear_attention` token by token."""
    q_BHLD, k_BHLD, v_BHLD, log_decay_BHL = tokens
    if mask_BL is not None:
        k_BHLD = k_BHLD * mask_BL[:, None, :, None]
    outs = []
    for i in range(q_BHLD.shape[2]):
        outer_BHDD = k_BHLD[:, :, i, :, None] * v_BHLD[:, :, i, None, :]
        state_BHDD = log_decay_BHL[:, :, i, None, None].exp() * state_BHDD + outer_BHDD
        outs.append((q_BHLD[:, :, i, None] @ state_BHDD)[:, :, 0] / q_BHLD.shape[-1] ** 0.5)
    out_BHLD = torch.stack(outs, dim=2)
    root_BHL1 = (out_BHLD.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    return out_BHLD / root_BHL1 * gain_HD[:, None], state_BHDD


class GatedLinearAttention(DecayingAttention):
    """Causal gated linear attention; holds the decay gate and the gain of the output."""

    num_gates = 1

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
            raise ConfigError("gated linear attention needs one gate per head")
        log_decay_BHL = self.decay(gates_BHLG[..., 0], mask_BL)
        tokens = (q_BHLD, k_BHLD, v_BHLD, log_decay_BHL)
        out_BHLD, state_BHDD = gated_linear_attention(tokens, mask_BL, state[0], self.gain)
        return out_BHLD, (state_BHDD,)
