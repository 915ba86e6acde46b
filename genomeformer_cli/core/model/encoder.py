"""The encoder: token embedding, blocks, final norm, and a head that predicts tokens.

Shape letters: B batch, L length, E width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.layer import rotary_angles
from genomeformer_cli.core.model.blocks import Block
from genomeformer_cli.core.model.config import ModelConfig

_SMALL_STD = 0.02


class Encoder(nn.Module):
    """A pre-norm transformer encoder with RMSNorm, rotary positions and gated MLPs.

    Args:
        config: Its sizes.
        seed: Of the initial weights and of whatever the attention mechanism draws.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.blocks = nn.ModuleList(Block(config, generator) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, config.vocabulary_size, bias=False)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Unit-variance features throughout; small where a block adds to the residual stream."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            if name == "embedding.weight":
                std = 1.0
            elif name == "head.weight" or name.endswith("convolution.kernel"):
                std = _SMALL_STD
            else:
                std = parameter.shape[1] ** -0.5
            if name.endswith("out.weight"):
                std /= (2 * self.config.depth) ** 0.5
            parameter.normal_(0.0, std, generator=generator)

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def hidden(self, tokens_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Features (B, L, E) of every position.

        Args:
            tokens_BL: Token ids.
            mask_BL: True at real tokens, False at padding; None if there is no padding. What
                stands at padded positions of the result means nothing.
        """
        head_width = self.config.width // self.config.num_heads
        cos_LR, sin_LR = rotary_angles(
            tokens_BL.shape[1], head_width, self.config.rotary_base, device=tokens_BL.device
        )
        x_BLE = self.embedding(tokens_BL)
        for block in self.blocks:
            x_BLE = block(x_BLE, mask_BL, cos_LR, sin_LR)
        normed_BLE: Tensor = self.norm(x_BLE)
        return normed_BLE

    def forward(self, tokens_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
        """Logits (B, L, V) of the token at every position."""
        logits_BLV: Tensor = self.head(self.hidden(tokens_BL, mask_BL))
        return logits_BLV


def padding_mask(tokens_BL: Tensor, pad_id: int) -> Tensor | None:
    """True at real tokens, None if no row is padded; an empty row sees its first position."""
    mask_BL = tokens_BL != pad_id
    if bool(mask_BL.all()):
        return None
    empty_B = ~mask_BL.any(dim=1)
    mask_BL[:, 0] |= empty_B
    return mask_BL
