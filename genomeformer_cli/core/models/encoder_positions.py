"""Positions and packing of a batch of an `encoder`: one document per row, padding left out.

Real tokens of all rows are packed into one axis, so that no layer computes padding. Rows of equal
length form a group, which attends without a mask. Elsewhere than on a CPU, and in an exported
graph, the rows stay as they are: one group with a mask.
Shape letters: B batch, M length with the frame, T packed tokens, N rows of a group, L their length,
H heads, D head width, E width, R rotated pairs, X distances (2 L - 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Rows of equal length, adjacent in the packed axis."""

    start: int  # First packed token.
    rows: int  # Number of rows, N.
    length: int  # Tokens per row, L.
    mask_NL: Tensor | None = None  # True at real tokens; None if all are real.

    @property
    def stop(self) -> int:
        """End of the packed tokens, exclusive."""
        return self.start + self.rows * self.length


@dataclass(frozen=True)
class Packed:
    """Location of the packed tokens in a batch."""

    groups: tuple[Group, ...]  # Groups in the order of the packed axis.
    shape: tuple[int, int]  # Rows and length of the batch, (B, M).
    # Flat index into (B, M) of every packed token; None if they are all tokens in order.
    index_T: Tensor | None
    row_T: Tensor  # Row of every packed token.
    position_T: Tensor  # Position of every packed token in its row.

    @property
    def longest(self) -> int:
        """Length of the longest row."""
        return max((group.length for group in self.groups), default=0)

    def gather(self, x_BM: Tensor) -> Tensor:
        """Select the packed tokens of (B, M, ...), shape (T, ...)."""
        flat = x_BM.flatten(0, 1)
        return flat if self.index_T is None else flat.index_select(0, self.index_T)

    def scatter(self, x_TE: Tensor) -> Tensor:
        """Return the rows of the batch, (B, M, E), with zeros at padding."""
        batch, length = self.shape
        if self.index_T is None:
            return x_TE.view(batch, length, -1)
        rows = x_TE.new_zeros(batch * length, x_TE.shape[-1])
        return rows.index_copy(0, self.index_T, x_TE).view(batch, length, -1)


def pack_rows(tokens_BM: Tensor, mask_BM: Tensor | None) -> Packed:
    """Return the location of the real tokens of a batch.

    Args:
        tokens_BM: Token ids.
        mask_BM: True at real tokens, padding at the end of rows; None without padding.
    """
    batch, length = tokens_BM.shape
    device = tokens_BM.device
    if mask_BM is None or not _can_split(mask_BM):
        return Packed(
            groups=(Group(0, batch, length, mask_BM),),
            shape=(batch, length),
            index_T=None,
            row_T=torch.arange(batch, device=device)[:, None].expand(-1, length).flatten(),
            position_T=torch.arange(length, device=device).expand(batch, -1).flatten(),
        )
    sizes_B = mask_BM.sum(dim=1)
    order_B = sizes_B.argsort(stable=True)
    groups: list[Group] = []
    start = 0
    for size, members in groupby(sizes_B[order_B].tolist()):
        rows = len(list(members))
        if size:
            groups.append(Group(start, rows, size))
            start = groups[-1].stop
    sizes_T = sizes_B[order_B]
    row_T = order_B.repeat_interleave(sizes_T)
    ends_B = sizes_T.cumsum(0)
    position_T = torch.arange(start, device=device) - (ends_B - sizes_T).repeat_interleave(sizes_T)
    return Packed(
        groups=tuple(groups),
        shape=(batch, length),
        index_T=row_T * length + position_T,
        row_T=row_T,
        position_T=position_T,
    )


def is_traced() -> bool:
    """Return True if operations are recorded, so that none may depend on numbers."""
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


def _can_split(mask_BM: Tensor) -> bool:
    """Return True if the lengths of rows can be read without waiting for a device."""
    return mask_BM.device.type == "cpu" and not is_traced()


def band_mask(length: int, window: int, mask_NL: Tensor | None, *, like: Tensor) -> Tensor:
    """Return True (N or 1, 1, L, L) where a query sees a real key within the window."""
    position_L = torch.arange(length, device=like.device)
    seen_LL = (position_L[:, None] - position_L).abs() <= window
    return seen_LL[None, None] if mask_NL is None else seen_LL & mask_NL[:, None, None, :]


@dataclass(frozen=True)
class Positions:
    """Positions of the packed tokens, as attention uses them."""

    packed: Packed  # Location of the packed tokens.
    # Cosines and sines (T, 1, R) of rotary positions by their base.
    angles: Mapping[float, tuple[Tensor, Tensor]]
    # Bias of every pair of positions (1, H, M, M), or of every row (N, H, M, M) with minus infinity
    # at padding; None without ALiBi.
    alibi_NHMM: Tensor | None


def rotary_frequencies(head_width: int, base: float) -> Tensor:
    """Return the angle per position of every pair of features, (R)."""
    return 1.0 / (base ** (torch.arange(0, head_width, 2).float() / head_width))


def rotary_angles(position_T: Tensor, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (T, 1, R), computed in float32 as the published models do."""
    frequency_R = rotary_frequencies(head_width, base).to(position_T.device)
    angles_T1R = position_T.float()[:, None, None] * frequency_R
    return angles_T1R.cos(), angles_T1R.sin()


@lru_cache
def alibi_slopes(num_heads: int) -> tuple[float, ...]:
    """Return the slope of every head (Press et al. 2022, "Train Short, Test Long").

    A number of heads that is not a power of two takes the slopes of the power below, followed by
    every second slope of the power above.
    """
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (head + 1) / power) for head in range(power)]
    if power == num_heads:
        return tuple(slopes)
    between = [2.0 ** (-8.0 * (head + 1) / (2 * power)) for head in range(0, 2 * power, 2)]
    return tuple(slopes + between[: num_heads - power])


def alibi_bias(num_heads: int, packed: Packed, like: Tensor) -> Tensor:
    """Return minus slope times distance, (1 or N, H, M, M), with padding masked."""
    length = packed.longest
    position_M = torch.arange(length, device=like.device)
    distance_MM = (position_M[:, None] - position_M).abs().to(like.dtype)
    bias_HMM = -like.new_tensor(alibi_slopes(num_heads))[:, None, None] * distance_MM
    masks = [group.mask_NL for group in packed.groups if group.mask_NL is not None]
    if not masks:
        return bias_HMM[None]
    # Padded rows are one group, so that all blocks use one masked bias.
    return bias_HMM.masked_fill(~masks[0][:, None, None, :], -torch.inf)


def relative_scores(q_NHLD: Tensor, k_NHLD: Tensor, distances_XD: Tensor) -> Tensor:
    """Return the scores (N, H, L, L) that keys and queries add for the distance between them.

    Huang et al. 2020, "Improve Transformer Models with Better Relative Position Embeddings",
    method 4: score(i, j) += q_i d(i - j) + k_j d(i - j).

    Args:
        q_NHLD: Queries.
        k_NHLD: Keys.
        distances_XD: Embeddings of the distances i - j from 1 - L to L - 1.
    """
    of_queries = _diagonals(q_NHLD @ distances_XD.flip(0).T)
    of_keys = _diagonals(k_NHLD @ distances_XD.T)
    return of_queries + of_keys.transpose(-1, -2)


def _diagonals(x_NHLX: Tensor) -> Tensor:
    """Return y[i, j] = x[i, j - i + L - 1], (N, H, L, L)."""
    length = x_NHLX.shape[-2]
    if length == 1:
        return x_NHLX
    flat = x_NHLX.flatten(-2)[..., length - 1 :]
    rows = flat[..., : length * (2 * length - 2)]
    return rows.view(*rows.shape[:-1], length, 2 * length - 2)[..., :length]
