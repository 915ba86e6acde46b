"""An attention layer: projections, heads, normalisation, rotary positions, a mechanism within.

Shape letters: B batch, L length, E width, H heads, D head width (E = H D), R rotated pairs (D / 2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.registry import AttentionConfig, attention_entry


def rotary_angles(
    length: int, head_width: int, base: float, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine (L, R) of rotary positions: Su et al. 2021, "RoFormer", equation 15."""
    rates_R = base ** (
        -torch.arange(0, head_width, 2, dtype=torch.float64, device=device) / head_width
    )
    angles_LR = torch.arange(length, dtype=torch.float64, device=device)[:, None] * rates_R
    return angles_LR.cos().float(), angles_LR.sin().float()


def rotate(x_BHLD: Tensor, cos_LR: Tensor, sin_LR: Tensor) -> Tensor:
    """Turn the pairs (x_r, x_{r + D/2}) by their position's angles."""
    first_BHLR, second_BHLR = x_BHLD.chunk(2, dim=-1)
    return torch.cat(
        (first_BHLR * cos_LR - second_BHLR * sin_LR, second_BHLR * cos_LR + first_BHLR * sin_LR),
        dim=-1,
    )


class AttentionLayer(nn.Module):
    """Multi-head attention around any mechanism of the registry.

    Queries and keys are normalised per head (Henry et al. 2020, "Query-Key Normalization"), which
    bounds the scores of the exact mechanisms and the variance of those that estimate them by
    random features.

    Args:
        width: E.
        num_heads: H; must divide E into an even head width.
        config: The mechanism and its dials.
        generator: Draws what the mechanism draws (weights are initialised by the model).
    """

    def __init__(
        self, *, width: int, num_heads: int, config: AttentionConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        head_width = width // num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = nn.RMSNorm(head_width, eps=1e-6)
        self.key_norm = nn.RMSNorm(head_width, eps=1e-6)
        self.mechanism = attention_entry(config.name).build(config, head_width, generator)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x_BLE: Tensor, mask_BL: Tensor | None, cos_LR: Tensor, sin_LR: Tensor
    ) -> Tensor:
        """Attend over the positions where `mask_BL` is true (None: all)."""
        batch, length, width = x_BLE.shape
        qkv_BLHD = self.qkv(x_BLE).view(batch, length, 3, self.num_heads, width // self.num_heads)
        q_BHLD, k_BHLD, v_BHLD = (part.transpose(1, 2) for part in qkv_BLHD.unbind(dim=2))
        q_BHLD = rotate(self.query_norm(q_BHLD), cos_LR, sin_LR)
        k_BHLD = rotate(self.key_norm(k_BHLD), cos_LR, sin_LR)
        mixed_BHLD = self.mechanism(q_BHLD, k_BHLD, v_BHLD, mask_BL)
        return self.out(mixed_BHLD.transpose(1, 2).reshape(batch, length, width))
