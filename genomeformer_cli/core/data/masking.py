"""Hide bases for masked prediction: 80/10/10, random replacements from real bases only.

Devlin et al. 2019, section 3.1; spans as in Joshi et al. 2020, "SpanBERT", section 3.1, but of one
length. Shape letters: B batch, L window length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.protocol import MASK_ID

NOT_A_TARGET = -100


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """Masking of bases."""

    rate: float = 0.15  # Probability that a real base becomes a target.
    mask_share: float = 0.8  # Fraction of the targets replaced by [MASK].
    # Fraction of the targets replaced by a random base (A C G T); the others are unchanged.
    random_share: float = 0.1
    # Loss weight of soft-masked (lower-case) bases; 1 treats them like the others.
    soft_mask_weight: float = 1.0
    # Consecutive tokens hidden together, all in the same way. k-mers of stride 1 show each base k
    # times: k - 1 more of them are hidden.
    span: int = 1

    def __post_init__(self) -> None:
        check_range("masking.rate", self.rate, 0, 1, "both")
        check_range("masking.soft_mask_weight", self.soft_mask_weight, 0)
        check_range("masking.mask_share", self.mask_share, 0)
        check_range("masking.random_share", self.random_share, 0)
        if self.mask_share + self.random_share > 1:
            raise ConfigError(
                "`masking.mask_share` and `masking.random_share` sum to more than 1",
                hint="0.8 and 0.1 are usual",
            )
        check_range("masking.span", self.span, 1)


@dataclass(frozen=True, kw_only=True)
class MaskedBatch:
    """Windows with hidden bases."""

    inputs_BL: npt.NDArray[np.int64]  # Token ids given to the model.
    targets_BL: npt.NDArray[np.int64]  # True id at the positions to predict, else `NOT_A_TARGET`.
    weights_BL: npt.NDArray[np.float32]  # Loss weight of each target.


def mask_windows(
    windows: Windows, real_ids: range, config: MaskingConfig, generator: np.random.Generator
) -> MaskedBatch:
    """Choose targets among the real bases of a batch and hide them."""
    tokens_BL = windows.tokens_BL
    real_BL = (tokens_BL >= real_ids.start) & (tokens_BL < real_ids.stop)
    draw_BL = generator.random(tokens_BL.shape)
    fate_BL = generator.random(tokens_BL.shape)
    random_BL = generator.integers(real_ids.start, real_ids.stop, tokens_BL.shape)
    target_BL = real_BL & (draw_BL < config.rate)
    if config.span > 1:
        covered_BL = _spans(draw_BL, config.rate, config.span)
        target_BL, fate_BL = real_BL & covered_BL, _shared(fate_BL, covered_BL)
    masked_BL = target_BL & (fate_BL < config.mask_share)
    replaced_BL = target_BL & ~masked_BL & (fate_BL < config.mask_share + config.random_share)
    inputs_BL = np.where(masked_BL, MASK_ID, np.where(replaced_BL, random_BL, tokens_BL))
    weights_BL = np.where(windows.soft_mask_BL, config.soft_mask_weight, 1.0) * target_BL
    return MaskedBatch(
        inputs_BL=inputs_BL,
        targets_BL=np.where(target_BL, tokens_BL, NOT_A_TARGET),
        weights_BL=weights_BL.astype(np.float32),
    )


def _spans(draw_BL: npt.NDArray[np.float64], rate: float, span: int) -> npt.NDArray[np.bool_]:
    """Draw spans such that each position is covered with probability `rate`."""
    begins_BL = draw_BL < 1 - (1 - rate) ** (1 / span)
    count_BL = np.cumsum(begins_BL, axis=1)
    before_BL = np.zeros_like(count_BL)
    before_BL[:, span:] = count_BL[:, :-span]
    return count_BL > before_BL


def _shared(
    fate_BL: npt.NDArray[np.float64], covered_BL: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Spread the draw at the first position of each covered run over the run."""
    first_BL = covered_BL.copy()
    first_BL[:, 1:] &= ~covered_BL[:, :-1]
    place_BL = np.where(first_BL, np.arange(fate_BL.shape[1]), 0)
    return np.take_along_axis(fate_BL, np.maximum.accumulate(place_BL, axis=1), axis=1)
