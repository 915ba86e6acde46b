"""Locality-sensitive hashing of vectors by random rotations, and the order it gives to a row.

Shape letters: B batch, H heads, L length, D head width, R rounds, F directions (half the buckets).
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_rotations(
    num_rounds: int, head_width: int, num_buckets: int, *, generator: torch.Generator
) -> Tensor:
    """Directions of every round (R, D, F), N(0, 1) each."""
    return torch.randn(num_rounds, head_width, num_buckets // 2, generator=generator)


def hash_directions(num_real_B: Tensor, chunk: int, most: int) -> Tensor:
    """How many directions hash a row of so many real positions: half its chunks, rounded up."""
    return (num_real_B + 2 * chunk - 1).div(2 * chunk, rounding_mode="floor").clamp(1, most)


def directions_of(num_real: int, chunk: int, most: int) -> int:
    """The same of a row whose real positions are counted."""
    return min(max(-(-num_real // (2 * chunk)), 1), most)


def hash_buckets(
    x_BHLD: Tensor,
    rotation_DF: Tensor,
    num_directions_B: Tensor,
    extremes: tuple[int, int] | None = None,
) -> Tensor:
    """The bucket of every vector: the largest of [x R; -x R] over a row's first directions.

    Source: Andoni et al. 2015, "Practical and Optimal LSH for Angular Distance"; Kitaev et al.
        2020, "Reformer", section 2 (h(x) = argmax([xR; -xR])).

    Args:
        x_BHLD: The vectors.
        rotation_DF: Directions.
        num_directions_B: How many of them each row has.
        extremes: Fewest and most of them, if known: to ask a GPU is to wait for it.

    Returns:
        (B, H, L), below twice the row's directions; the first of equal ones.
    """
    fewest, most = extremes or _extremes(num_directions_B)
    projected_BHLF = x_BHLD @ rotation_DF[:, :most].to(x_BHLD.dtype)
    above_BHLF, below_BHLF = projected_BHLF, projected_BHLF
    if fewest < most:
        unused_BF = torch.arange(most, device=x_BHLD.device) >= num_directions_B[:, None]
        unused_B11F = unused_BF[:, None, None]
        above_BHLF = projected_BHLF.masked_fill(unused_B11F, float("-inf"))
        below_BHLF = projected_BHLF.masked_fill(unused_B11F, float("inf"))
    largest_BHL, along_BHL = above_BHLF.max(dim=-1)
    smallest_BHL, against_BHL = below_BHLF.min(dim=-1)
    against_BHL = against_BHL + num_directions_B[:, None, None]
    return torch.where(largest_BHL >= -smallest_BHL, along_BHL, against_BHL)


def _extremes(num_directions_B: Tensor) -> tuple[int, int]:
    return int(num_directions_B.min()), int(num_directions_B.max())


def sorted_rounds(
    x_BHLD: Tensor,
    real_BL: Tensor,
    rotations_RDF: Tensor,
    num_directions_B: Tensor,
    extremes: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Sort every round by bucket, then by position; positions that are not real come last.

    Returns:
        The sorted positions (R, B, H, L), and their buckets in that order.
    """
    padding_B1L = ~real_BL[:, None]
    extremes = extremes or _extremes(num_directions_B)
    beyond = 2 * extremes[1]
    rounds = []
    for rotation_DF in rotations_RDF:
        bucket_BHL = hash_buckets(x_BHLD, rotation_DF, num_directions_B, extremes)
        bucket_BHL = bucket_BHL.masked_fill(padding_B1L, beyond).to(torch.int32)
        rounds.append(bucket_BHL.sort(dim=-1, stable=True))
    return torch.stack([order for _, order in rounds]), torch.stack(
        [bucket for bucket, _ in rounds]
    )
