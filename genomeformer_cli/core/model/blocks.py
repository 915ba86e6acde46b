"""One block of the encoder: pre-norm attention and a gated MLP, each added to the residual stream.

Shape letters: B batch, L length, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.layer import AttentionLayer
from genomeformer_cli.core.model.config import ModelConfig


class GatedMLP(nn.Module):
    """SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BLE: Tensor) -> Tensor:
        """Mix the features of every position."""
        gate, up = self.gate_and_up(x_BLE).chunk(2, dim=-1)
        down: Tensor = self.out(functional.silu(gate) * up)
        return down


class ShortConvolution(nn.Module):
    """x plus a depthwise convolution over neighbouring positions; it starts near the identity.

    Used before attention as in Poli et al. 2023, "Hyena Hierarchy", section 3.2 (there causal).
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(kernel, width))

    def forward(self, x_BLE: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Mix every position with its neighbours; padding and what lies beyond the ends is 0."""
        if mask_BL is not None:
            x_BLE = x_BLE * mask_BL[..., None]
        reach = len(self.kernel) // 2
        padded_BLE = functional.pad(x_BLE, (0, 0, reach, reach))
        length = x_BLE.shape[1]
        for offset, weight_E in enumerate(self.kernel):
            x_BLE = torch.addcmul(x_BLE, padded_BLE[:, offset : offset + length], weight_E)
        return x_BLE


class Block(nn.Module):
    """x + attention(convolution(norm(x))), then x + mlp(norm(x))."""

    def __init__(self, config: ModelConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = AttentionLayer(
            width=config.width,
            num_heads=config.num_heads,
            config=config.attention,
            generator=generator,
        )
        self.convolution = (
            ShortConvolution(config.width, config.conv_width) if config.conv_width else None
        )
        self.mlp_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.mlp = GatedMLP(config.width, config.mlp_width)

    def forward(
        self, x_BLE: Tensor, mask_BL: Tensor | None, cos_LR: Tensor, sin_LR: Tensor
    ) -> Tensor:
        """Apply the block."""
        normed_BLE = self.attention_norm(x_BLE)
        if self.convolution is not None:
            normed_BLE = self.convolution(normed_BLE, mask_BL)
        x_BLE = x_BLE + self.attention(normed_BLE, mask_BL, cos_LR, sin_LR)
        mixed_BLE: Tensor = x_BLE + self.mlp(self.mlp_norm(x_BLE))
        return mixed_BLE
