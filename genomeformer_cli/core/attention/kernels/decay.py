"""Decay of a state, and the base class of mechanisms whose state decays.

Decays are kept as logarithms, and only differences of their running sums that are at most zero are
exponentiated, so that nothing overflows.
Shape letters: B batch, H heads, L length, D head width, N chunks of a block, C tokens of a chunk.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.kernels.chunked_scan import working_dtype
from genomeformer_cli.core.attention.protocols import State
from genomeformer_cli.core.attention.streaming import StreamingAttention

# Time constants, in tokens, of the first and the last head before training.
SHORTEST_MEMORY, LONGEST_MEMORY = 8.0, 2048.0
NORM_EPS = 1e-6


class DecayGate(nn.Module):
    """log a = -rate softplus(gate + bias), with one learned rate and one learned bias per head.

    A gate far below its bias preserves the state, a gate far above it clears the state. Rates start
    at 1; biases start such that, with a gate of zero, the time constants of the heads are spread
    evenly on a logarithmic scale from 8 to 2,048 tokens.

    Source: Dao and Gu 2024, "Transformers are SSMs" (Mamba-2), section 7.1; also the decay of Yang
        et al. 2024, "Gated Delta Networks".

    Args:
        num_heads: Number of heads, H.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        memories_H = torch.logspace(
            math.log10(SHORTEST_MEMORY), math.log10(LONGEST_MEMORY), num_heads, dtype=torch.float64
        )
        # The inverse of softplus, at 1 / memory.
        self.bias_H = nn.Parameter(memories_H.reciprocal().expm1().log().float())
        self.log_rate_H = nn.Parameter(torch.zeros(num_heads))

    def forward(self, gates_BHL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Return log decays (B, H, L), at most 0, and exactly 0 at padding."""
        padding_B1L = None if mask_BL is None else ~mask_BL[:, None]
        with torch.autocast(gates_BHL.device.type, enabled=False):
            gates_BHL = gates_BHL.to(working_dtype(gates_BHL))
            if padding_B1L is not None:
                gates_BHL = gates_BHL.masked_fill(padding_B1L, 0)
            speeds_BHL = functional.softplus(gates_BHL + self.bias_H[:, None])
            log_decay_BHL = -self.log_rate_H.exp()[:, None] * speeds_BHL
        return log_decay_BHL if padding_B1L is None else log_decay_BHL.masked_fill(padding_B1L, 0)


class DecayingAttention(StreamingAttention):
    """Base class of mechanisms with one decaying state matrix per head.

    Args:
        num_heads: Number of heads, H.
        head_width: Features per head, D.
    """

    def __init__(self, *, num_heads: int, head_width: int) -> None:
        super().__init__()
        self.decay = DecayGate(num_heads)
        self.head_width = head_width
        # A vector: as those of other norms it takes no weight decay.
        self.norm_gain_E = nn.Parameter(torch.ones(num_heads * head_width))

    @property
    def gain(self) -> Tensor:
        """Gain of the norm of the output, (H, D)."""
        return self.norm_gain_E.view(-1, self.head_width)

    def start(self, batch: int, num_heads: int, like: Tensor) -> State:
        """Return the empty state."""
        shape_BHDD = (batch, num_heads, self.head_width, self.head_width)
        return (torch.zeros(shape_BHDD, dtype=working_dtype(like), device=like.device),)


def pairwise_decay(sums_NC: Tensor) -> Tensor:
    """Return exp(s_i - s_j) for i >= j and zero elsewhere: (..., N, C) to (..., N, C, C).

    `sums_NC` are running sums of log decays.
    """
    differences_NCC = sums_NC[..., :, None] - sums_NC[..., None, :]
    later_CC = torch.ones_like(differences_NCC[(0,) * (sums_NC.ndim - 1)], dtype=torch.bool).triu(1)
    return differences_NCC.masked_fill_(later_CC, float("-inf")).exp_()


def normalised(x_BHLD: Tensor, gain_HD: Tensor) -> Tensor:
    """Divide the vector of each head by its root mean square and multiply by a learned gain."""
    mean_BHL1 = x_BHLD.square().mean(dim=-1, keepdim=True)
    return x_BHLD * torch.rsqrt(mean_BHL1 + NORM_EPS) * gain_HD[:, None]
