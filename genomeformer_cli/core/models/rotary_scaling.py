"""Frequencies of rotary positions, as they are or rescaled to contexts longer than in pretraining.

All of it is computed in float32, as the published models were trained with these roundings.
Shape letters: L length, R rotated pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RotaryScaling:
    """Rotary frequencies and their rescaling."""

    base: float = 10_000.0  # Base of the wavelengths.
    # `none`. `linear`: every frequency divided by the factor (Chen et al. 2023, "Extending Context
    # Window of Large Language Models via Positional Interpolation"). `llama3`: only the low ones
    # (Llama team 2024, "The Llama 3 Herd of Models"). `yarn`: a ramp between both (Peng et al.
    # 2023, "YaRN", section 3.2).
    kind: Literal["none", "linear", "llama3", "yarn"] = "none"
    factor: float = 1.0  # Ratio of the new context to that of pretraining.
    original_context: int = 0  # Context of pretraining, for `llama3` and `yarn`.
    # Turns within the original context below which a frequency is divided (`beta_slow` of YaRN,
    # `low_freq_factor` of Llama 3).
    low_turns: float = 1.0
    # Turns above which a frequency is kept (`beta_fast`, `high_freq_factor`).
    high_turns: float = 32.0
    amplitude: float = 1.0  # Factor of cosines and sines (attention factor of YaRN).
    whole_pairs: bool = True  # Round the ends of the ramp of YaRN to whole pairs.

    def __post_init__(self) -> None:
        numbers = (self.base, self.factor, self.low_turns, self.high_turns, self.amplitude)
        needs_context = self.kind in ("llama3", "yarn")
        if not all(0 < number < math.inf for number in numbers) or (
            needs_context and (self.original_context < 1 or self.low_turns >= self.high_turns)
        ):
            raise ConfigError(
                f"invalid rotary positions: `{self.kind}` with base {self.base:g} and factor "
                f"{self.factor:g}",
                hint="numbers are positive, and the original context is at least 1",
            )

    def frequencies(self, head_width: int) -> Tensor:
        """Return the angle per position of every pair, (R)."""
        powers_R = torch.arange(0, head_width, 2, dtype=torch.float32) / head_width
        wavelengths_R = self.base**powers_R
        plain_R = 1.0 / wavelengths_R
        if self.kind == "none":
            return plain_R
        if self.kind == "linear":
            return plain_R / self.factor
        if self.kind == "llama3":
            turns_R = self.original_context / (2 * math.pi / plain_R)
            kept_R = (turns_R - self.low_turns) / (self.high_turns - self.low_turns)
            blended_R = (1 - kept_R) * plain_R / self.factor + kept_R * plain_R
            blended_R = torch.where(turns_R < self.low_turns, plain_R / self.factor, blended_R)
            return torch.where(turns_R > self.high_turns, plain_R, blended_R)
        start, stop = self._ramp(head_width)
        pair_R = torch.arange(head_width // 2, dtype=torch.float32)
        kept_R = 1 - ((pair_R - start) / (stop - start)).clamp(0, 1)
        return (1.0 / (self.factor * wavelengths_R)) * (1 - kept_R) + plain_R * kept_R

    def _ramp(self, head_width: int) -> tuple[float, float]:
        """Return the pairs between which YaRN passes from kept to divided frequencies."""

        def pair_of(turns: float) -> float:
            wavelength = self.original_context / (turns * 2 * math.pi)
            return head_width * math.log(wavelength) / (2 * math.log(self.base))

        start, stop = pair_of(self.high_turns), pair_of(self.low_turns)
        if self.whole_pairs:
            start, stop = math.floor(start), math.ceil(stop)
        start, stop = max(start, 0), min(stop, head_width - 1)
        return start, stop if stop != start else stop + 0.001

    def angles(
        self, length: int, head_width: int, device: torch.device, *, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (L, R) of the positions from `start` on."""
        positions_L = torch.arange(start, start + length, dtype=torch.float32, device=device)
        angles_LR = positions_L[:, None] * self.frequencies(head_width).to(device)
        return angles_LR.cos() * self.amplitude, angles_LR.sin() * self.amplitude
