"""Landmarks: means of consecutive segments of a sequence, over its real positions only.

Shape letters: B batch, H heads, L length, M landmarks, D head width.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


def segment_means(x_BHLD: Tensor, mask_BL: Tensor | None, num_segments: int) -> Tensor:
    """Return the mean of each of `num_segments` segments of the real positions.

    The segments of a row with n real positions have n // M or n // M + 1 positions, the longer ones
    first; where n < M the last M - n are empty and their mean is 0. Only real positions are
    counted, so that the landmarks of a row do not depend on padding or on other rows.

    Source: Xiong et al. 2021, "Nystromformer", section 3.2, equation 13 (there M divides L).

    Returns:
        (B, H, M, D), at least float32.
    """
    if mask_BL is None:
        return _means(x_BHLD, num_segments)
    rows = zip(x_BHLD.unbind(0), mask_BL.unbind(0), strict=True)
    return torch.stack([_means(_real(x_HLD, kept_L), num_segments) for x_HLD, kept_L in rows])


def filled_segments(mask_BL: Tensor, num_segments: int) -> Tensor:
    """Return (B, M) bool: True for segments that hold a position; the first always."""
    counts_B1 = mask_BL.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.arange(num_segments, device=mask_BL.device) < counts_B1


def _real(x_HLD: Tensor, kept_L: Tensor) -> Tensor:
    """Return the real positions of one row; a view where they come first."""
    count = int(kept_L.sum())
    return x_HLD[:, :count] if bool(kept_L[:count].all()) else x_HLD[:, kept_L]


def _means(x_xLD: Tensor, num_segments: int) -> Tensor:
    size, longer = divmod(x_xLD.shape[-2], num_segments)
    bounds = (0, longer * (size + 1), x_xLD.shape[-2])
    parts = [
        _split(x_xLD[..., start:end, :], step).mean(dim=-2, dtype=_summed(x_xLD))
        for (start, end), step in zip(pairwise(bounds), (size + 1, size), strict=True)
        if end > start
    ]
    if size == 0:
        empty = (*x_xLD.shape[:-2], num_segments - longer, x_xLD.shape[-1])
        parts.append(x_xLD.new_zeros(empty, dtype=_summed(x_xLD)))
    return torch.cat(parts, dim=-2)


def _split(x_xLD: Tensor, size: int) -> Tensor:
    return x_xLD.view(*x_xLD.shape[:-2], -1, size, x_xLD.shape[-1])


def _summed(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
