"""Hide bases for masked prediction: 80/10/10, random replacements from real bases only.

Devlin et al. 2019, section 3.1. Shape letters: B batch, L window length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.protocol import MASK_ID

NOT_A_TARGET = -100


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """How bases are hidden.

    Attributes:
        rate: Chance of each real base to become a target.
        mask_share: Part of the targets replaced by [MASK].
        random_share: Part of the targets replaced by a random base (A C G T); the rest stay as
            they are.
        soft_mask_weight: Weight of the loss at soft-masked (lower-case) bases; 1 treats them like
            the others.
    """

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    soft_mask_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ConfigError(
                f"the masking rate {self.rate} is not between 0 and 1", hint="0.15 is usual"
            )
        if (
            min(self.mask_share, self.random_share, self.soft_mask_weight) < 0
            or self.mask_share + self.random_share > 1
        ):
            raise ConfigError(
                "masking shares must be 0 or more and sum to at most 1",
                hint="0.8 and 0.1 are usual",
            )


@dataclass(frozen=True, kw_only=True)
class MaskedBatch:
    """Windows with bases hidden.

    Attributes:
        inputs_BL: Token ids as the model sees them.
        targets_BL: The true id where a base is to be predicted, else `NOT_A_TARGET`.
        weights_BL: Weight of each target's loss.
    """

    inputs_BL: npt.NDArray[np.int64]
    targets_BL: npt.NDArray[np.int64]
    weights_BL: npt.NDArray[np.float32]


def mask_windows(
    windows: Windows, real_ids: range, config: MaskingConfig, generator: np.random.Generator
) -> MaskedBatch:
    """Choose targets among the real bases of a batch and hide them."""
    tokens_BL = windows.tokens_BL
    real_BL = (tokens_BL >= real_ids.start) & (tokens_BL < real_ids.stop)
    target_BL = real_BL & (generator.random(tokens_BL.shape) < config.rate)
    fate_BL = generator.random(tokens_BL.shape)
    random_BL = generator.integers(real_ids.start, real_ids.stop, tokens_BL.shape)
    masked_BL = target_BL & (fate_BL < config.mask_share)
    replaced_BL = target_BL & ~masked_BL & (fate_BL < config.mask_share + config.random_share)
    inputs_BL = np.where(masked_BL, MASK_ID, np.where(replaced_BL, random_BL, tokens_BL))
    weights_BL = np.where(windows.soft_mask_BL, config.soft_mask_weight, 1.0) * target_BL
    return MaskedBatch(
        inputs_BL=inputs_BL,
        targets_BL=np.where(target_BL, tokens_BL, NOT_A_TARGET),
        weights_BL=weights_BL.astype(np.float32),
    )
