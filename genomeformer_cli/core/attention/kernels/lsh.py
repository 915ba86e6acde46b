"""Locality-sensitive hashing of vectors by random rotations, and sorting of rows by bucket.

Shape letters: B batch, H heads, L length, D head width, R rounds, F directions (half the buckets).
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_rotations(
    num_rounds: int, head_width: int, num_buckets: int, *, generator: torch.Generator
) -> Tensor:
    """Draw the directions of every round (R, D, F), N(0, 1) each."""
    return torch.randn(num_rounds, head_width, num_buckets // 2, generator=generator)


def hash_directions(num_real_B: Tensor, chunk: int, most: int) -> Tensor:
    """Return the number of hash directions per row: half the number of its chunks, rounded up."""
    return (num_real_B + 2 * chunk - 1).div(2 * chunk, rounding_mode="floor").clamp(1, most)


def directions_of(num_real: int, chunk: int, most: int) -> int:
    """Return the number of hash directions of a row with `num_real` real positions."""
    return min(max(-(-num_real // (2 * chunk)), 1), most)


def hash_buckets(
    x_BHLD: Tensor,
    rotation_DF: Tensor,
    num_directions_B: Tensor,
    extremes: tuple[int, int] | None = None,
) -> Tensor:
    """Return the bucket of every vector: the argmax of [x R; -x R] over the directions of its row.

    Source: Andoni et al. 2015, "Practical and Optimal LSH for Angular Distance"; Kitaev et al.
        2020, "Reformer", section 2 (h(x) = argmax([xR; -xR])).

    Args:
        x_BHLD: Vectors to hash.
        rotation_DF: Directions.
        num_directions_B: Number of directions of each row.
        extremes: Smallest and largest of them, if known; reading them from a GPU synchronises it.

    Returns:
        Buckets (B, H, L), below twice the number of directions; ties take the first.
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
